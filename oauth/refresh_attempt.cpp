#include "oauth/refresh_attempt.h"

#include "oauth/act_chain.h"
#include "oauth/grant_client.h"
#include "oauth/lifetime.h"
#include "oauth/token_call.h"

#include <utility>

namespace claviger::oauth {
namespace {

enum class SendScope { yes, no };

/// Some servers want the scope, some take it for a wish to have less (oauth.md 2.1): as the profile says, or
/// as the administrator who brought the tokens wrote it down.
bool sends_scope(const RefreshCall& call) {
    return call.credential.refresh->scope &&
           (call.profile.refresh_request.send_scope || call.grant.issuer.empty());
}

/// What the server wants to find in the next token; borrowed from the call, empty when nothing.
std::string_view claims_of(const RefreshCall& call) {
    const auto& demand = call.grant.claims;
    return demand && !demand->met ? std::string_view(demand->claims) : std::string_view();
}

base::Result<TokenRequest> request_of(const RefreshCall& call, SendScope send_scope, base::Time now) {
    const auto& refresh = *call.credential.refresh;
    const auto& profile = call.profile;
    if (minting_grant(refresh))
        return mint_request(refresh, call.parts.client_secret ? &*call.parts.client_secret : nullptr, profile,
                            call.grant.issuer, now, call.presented, claims_of(call));
    Wanted wanted{.claims = claims_of(call)};
    if (send_scope == SendScope::yes && sends_scope(call)) wanted.scope = *refresh.scope;
    wanted.resources = resources_of(refresh, profile);
    auto fields = refresh_token_grant(*call.parts.refresh_token, wanted);
    for (const auto& [name, value] : profile.refresh_request.parameters) fields.add(name, value);
    const auto* secret = call.parts.client_secret ? &*call.parts.client_secret : nullptr;
    const auto client = client_of(refresh, secret, profile, call.grant.issuer);
    if (!client) return std::unexpected(client.error());
    return token_request(std::move(fields), *client, profile, now);
}

/// The proof that binds the new tokens to the credential's key. `nonce` may be empty.
base::Status prove(TokenRequest& request, const RefreshCall& call, std::string_view nonce, base::Time now) {
    if (!call.parts.dpop_key) return {};
    const auto key = DpopKey::import(*call.parts.dpop_key);
    if (!key) return std::unexpected(key.error());
    return add_proof(request, *key, call.credential.refresh->token_endpoint, nonce, now);
}

net::awaitable<RefreshOutcome> send_once(net::Worker& worker, net::ClientPool& pool, const base::Clock& clock,
                                         const RefreshCall& call, SendScope send_scope,
                                         std::string_view nonce, const AttemptJournal& journal) {
    auto request = request_of(call, send_scope, clock.now());
    if (request)
        if (auto proven = prove(*request, call, nonce, clock.now()); !proven)
            request = std::unexpected(std::move(proven).error());
    if (!request) {
        auto outcome = refused_here(AnswerClass::bug, "request_invalid", clock.now());
        outcome.classification.description = request.error().message;
        co_return outcome;
    }
    if (const auto room = co_await journal.before_sending(); !room) {
        auto outcome = refused_here(AnswerClass::not_sent, std::string(kNoJournal), clock.now());
        outcome.classification.description = room.error().message;
        co_return outcome;
    }
    const auto partition = "token " + call.credential.id.text();
    auto answer = co_await exchange(worker, pool, clock,
                                    {.method = "POST",
                                     .url = call.credential.refresh->token_endpoint,
                                     .payload = &*request,
                                     .accept = call.profile.token_request.accept,
                                     .partition = partition,
                                     .private_addresses = call.private_addresses,
                                     .timeout = call.timeout});
    if (answer.complete()) co_await journal.before_reading(answer);
    auto outcome = read_refresh_answer(answer.token_answer(),
                                       {.sent_at = answer.sent_at, .has_dpop_key = is_bound(call.credential)},
                                       call.profile, call.grant.unrecognized);
    if (!answer.complete() && outcome.classification.description.empty())
        outcome.classification.description = answer.error.message;
    if (!outcome.tokens && answer.status != 0) outcome.refusal = std::move(answer);
    co_return outcome;
}

}  // namespace

RefreshOutcome refused_here(AnswerClass kind, std::string code, base::Time now) {
    RefreshOutcome outcome;
    outcome.classification.kind = kind;
    outcome.classification.code = std::move(code);
    outcome.sent_at = now;
    return outcome;
}

bool is_bound(const vault::Credential& credential) { return credential.injection.scheme == "DPoP"; }

RefreshOutcome read_refresh_answer(const TokenAnswer& answer, const TokenRequestFacts& request,
                                   const ProviderProfile& profile, const UnrecognizedHistory& history) {
    RefreshOutcome outcome;
    outcome.sent_at = request.sent_at;
    for (const auto& shape : token_shapes(profile.response)) {
        auto read = read_token_answer(answer, shape, request, profile.errors, history);
        outcome.classification = std::move(read.classification);
        outcome.tokens = std::move(read.tokens);
        if (outcome.classification.code != "unusable_answer") break;
    }
    if (!outcome.tokens) return outcome;
    outcome.act_chain = act_chain_of(outcome.tokens->access_token);
    outcome.lifetime = lifetime_of({.sent_at = request.sent_at,
                                    .response = outcome.tokens->expires_at,
                                    .jwt = jwt_expiry(outcome.tokens->access_token),
                                    .profile = profile.lifetime.fixed});
    return outcome;
}

net::awaitable<RefreshOutcome> send_refresh(net::Worker& worker, net::ClientPool& pool,
                                            const base::Clock& clock, const RefreshCall& call,
                                            const AttemptJournal& journal) {
    const bool minted = minting_grant(*call.credential.refresh).has_value();
    if (!minted && !call.parts.refresh_token)
        co_return refused_here(AnswerClass::grant_dead, "no_refresh_token", clock.now());
    auto scope = SendScope::yes;
    std::string nonce;
    auto outcome = co_await send_once(worker, pool, clock, call, scope, nonce, journal);
    for (int repeats = 0; repeats < 2 && outcome.refusal; ++repeats) {  // a nonce, and less scope
        const auto kind = outcome.classification.kind;
        const std::string given(outcome.refusal->header("DPoP-Nonce"));
        const bool for_nonce =
            kind == AnswerClass::dpop_nonce && call.parts.dpop_key && !given.empty() && given != nonce;
        const bool for_scope =
            kind == AnswerClass::scope && !minted && scope == SendScope::yes && sends_scope(call);
        if (!for_nonce && !for_scope) break;
        if (!given.empty()) nonce = given;
        if (for_scope) scope = SendScope::no;
        co_await journal.before_repeating();  // what was refused is not what comes of the attempt
        outcome = co_await send_once(worker, pool, clock, call, scope, nonce, journal);
    }
    co_return outcome;
}

}  // namespace claviger::oauth
