#include "oauth/connect_finish.h"

#include "base/bytes.h"
#include "base/log.h"
#include "oauth/connect_secrets.h"
#include "oauth/connect_store.h"
#include "oauth/grant_client.h"
#include "oauth/identity.h"
#include "oauth/pkce.h"
#include "oauth/refresh_attempt.h"
#include "oauth/token_call.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;
using vault::ConnectState;

constexpr std::string_view kStartAgain = "Ask whoever sent you the link for a new one, and start again.";

std::unexpected<base::Error> ended() {
    return base::failure(ErrorKind::conflict, "connect.ended",
                         "This way back was used already, or it took too long.", std::string(kStartAgain));
}

/// Names of errors are the provider's; ours are made of harmless characters only.
std::string harmless(std::string_view code) {
    std::string out;
    for (const char c : code.substr(0, 64))
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') out += c;
    return out;
}

/// The error that ends this flow, and the word for it in the log.
struct End {
    base::Error error;
    std::string_view reason;
};

End end_of(ErrorKind kind, std::string_view code, std::string message, std::string hint,
           std::string detail = {}) {
    return {{kind, code, std::move(message), std::move(hint), std::move(detail)}, code};
}

/// RFC 9207, byte by byte. An error of somebody else is not even shown.
std::optional<End> check_issuer(const vault::ConnectTerms& terms, const Arrival& arrival) {
    if (arrival.has_issuer && arrival.issuer != terms.issuer)
        return end_of(ErrorKind::denied, "connect.wrong_issuer",
                      "The answer came from another authorization server than the one you were sent to.",
                      "Somebody may be trying to mix up two servers. Tell whoever runs this Claviger.");
    if (!arrival.has_issuer && terms.names_issuer)
        return end_of(ErrorKind::denied, "connect.no_issuer",
                      "The answer does not say which authorization server it comes from, though that server "
                      "always says so.",
                      "Somebody may be trying to mix up two servers. Tell whoever runs this Claviger.");
    return std::nullopt;
}

std::optional<End> check_error(const Arrival& arrival) {
    if (arrival.error.empty()) return std::nullopt;
    if (arrival.error == "access_denied")
        return end_of(ErrorKind::denied, "connect.denied", "Access was denied at the provider.",
                      "Nothing was connected. " + std::string(kStartAgain));
    return end_of(ErrorKind::invalid_request, "connect.refused",
                  "The provider refused: " + harmless(arrival.error) + ".",
                  arrival.error == "invalid_scope" ? "Ask for other scopes."
                                                   : "Check the client and the scopes, then start again.");
}

/// Closes the flow with it and gives the error back.
awaitable<std::unexpected<base::Error>> end(const ConnectWorld& world, net::Worker& worker,
                                            const vault::Actor& actor, base::ConnectLinkId id, End with) {
    if (with.error.kind == ErrorKind::unavailable || with.error.kind == ErrorKind::internal ||
        with.error.kind == ErrorKind::corrupt)
        base::log_error("connect.failed", with.error);
    else  // somebody's decision, or a setting: no fault of this machine
        base::log(base::LogLevel::info, "connect.failed",
                  {{"connect_link", id.text()}, {"code", with.error.code}, {"detail", with.error.detail}});
    const auto closed = co_await close_flow(world, worker, actor, id, problem_of(with.error), with.reason);
    if (!closed) base::log_error("connect.not_closed", closed.error());
    co_return std::unexpected(std::move(with.error));
}

/// From here on this code belongs to us; whoever comes second finds the flow exchanging.
base::Status consume(vault::Change& change, const base::ConnectLinkId& id, const crypto::Digest& state) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || found->state != ConnectState::started || found->state_digest != state ||
        !is_open(*found, change.now()))
        return ended();
    auto flow = *found;
    flow.state = ConnectState::exchanging;
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

struct Sent {
    ExchangeAnswer answer;
    Proofs proofs;
};

/// The code goes out.
awaitable<base::Result<Sent>> send_code(const ConnectWorld& world, const Outbound& out,
                                        const vault::ConnectFlow& flow, const crypto::Secret& code) {
    const auto profile = profile_of(world, flow.wish);
    if (!profile) co_return std::unexpected(profile.error());
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) co_return std::unexpected(std::move(secrets).error());
    if (!secrets->verifier) co_return ended();
    const auto& terms = *flow.terms;
    auto block = refresh_block(flow.wish, terms, *profile);
    block.token_endpoint = terms.token_endpoint;
    Wanted wanted;
    if (!terms.resource.empty()) wanted.resources = {terms.resource};
    const crypto::Secret none = crypto::Secret::copy_of(std::string_view());
    const bool with_pkce = profile->authorization.pkce == PkceUse::s256;
    Proofs proofs{.client_secret = std::move(secrets->client_secret)};
    if (secrets->dpop_key) {
        auto key = DpopKey::import(*secrets->dpop_key);
        if (!key) co_return std::unexpected(std::move(key).error());
        proofs.key = std::move(*key);
    }
    const auto client =
        client_of(block, proofs.client_secret ? &*proofs.client_secret : nullptr, *profile, terms.issuer);
    if (!client) co_return std::unexpected(client.error());
    const TokenCall call{.url = terms.token_endpoint, .profile = *profile, .key = proofs.key, .make = [&] {
                             return token_request(
                                 authorization_code_grant(code, terms.redirect_uri,
                                                          with_pkce ? *secrets->verifier : none, wanted),
                                 *client, *profile, out.clock.now());
                         }};
    auto answer = co_await call_token_endpoint(out, call);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    co_return Sent{std::move(*answer), std::move(proofs)};
}

End end_without_tokens(const Classification& said, const vault::ConnectTerms& terms) {
    auto detail = said.code + " " + said.sub_code + " " + said.description;
    switch (said.kind) {
        case AnswerClass::client_dead:
            return end_of(ErrorKind::invalid_request, "connect.client_refused",
                          "The provider does not accept Claviger's client (" + said.code + ").",
                          terms.client_from == "dynamic"
                              ? "It has forgotten the registration; a new link registers anew."
                              : "Check client_id, client secret and how the client proves itself.",
                          std::move(detail));
        case AnswerClass::unknown_outcome:
            return end_of(ErrorKind::unavailable, "connect.outcome_unknown",
                          "The provider may have granted access, but its answer did not arrive whole.",
                          "A code must never be sent twice. " + std::string(kStartAgain), std::move(detail));
        case AnswerClass::not_sent:
        case AnswerClass::transient:
        case AnswerClass::dpop_nonce:
            return end_of(ErrorKind::unavailable, "connect.outcome_unknown",
                          "The provider did not exchange the code (" + said.code + ").",
                          "A code must never be sent twice. " + std::string(kStartAgain), std::move(detail));
        case AnswerClass::success:
        case AnswerClass::grant_dead:
        case AnswerClass::scope:
        case AnswerClass::target:
        case AnswerClass::bug:
            break;
    }
    return end_of(ErrorKind::invalid_request, "connect.refused",
                  "The provider refused to exchange the code (" + said.code + ").",
                  "Check the client, its redirect URI and the scopes, then start again.", std::move(detail));
}

/// A dynamic client that its server has forgotten must not be used by the next link.
awaitable<void> forget(const ConnectWorld& world, net::Worker& worker, const vault::Actor& actor,
                       const vault::ConnectTerms& terms) {
    if (terms.client_from != "dynamic" || !terms.client) co_return;
    const auto forgotten = co_await commit(worker, world.records, actor, [&](vault::Change& change) {
        return forget_client(change, *terms.client);
    });
    if (!forgotten) base::log_error("connect.client_not_forgotten", forgotten.error());
}

/// Tokens that nobody will use are given back, once; what comes of it changes nothing.
awaitable<void> give_back(const Outbound& out, const vault::ConnectFlow& flow, const ProviderProfile& profile,
                          const TokenSet& tokens, const std::optional<crypto::Secret>& client_secret) {
    const auto& terms = *flow.terms;
    if (terms.revocation_endpoint.empty() || profile.revocation != RevocationStyle::rfc7009) co_return;
    const auto block = refresh_block(flow.wish, terms, profile);
    const auto client = client_of(block, client_secret ? &*client_secret : nullptr, profile, terms.issuer);
    if (!client) co_return;
    const bool has_refresh = tokens.refresh_token.has_value();
    const auto request = token_request(revocation(has_refresh ? *tokens.refresh_token : tokens.access_token,
                                                  has_refresh ? "refresh_token" : "access_token"),
                                       *client, profile, out.clock.now());
    if (!request) co_return;
    const auto answer = co_await ask(out, {.method = "POST",
                                           .url = terms.revocation_endpoint,
                                           .payload = &*request,
                                           .timeout = std::chrono::seconds(10)});
    base::log(base::LogLevel::info, "connect.gave_back", {{"status", answer.status}});
}

}  // namespace

vault::Ref<vault::ConnectFlow> flow_of_arrival(const ConnectWorld& world, std::string_view state) {
    return flow_by_state(world.records.catalog(), state);
}

awaitable<base::Result<Finished>> take_answer(const ConnectWorld& world, const Outbound& out,
                                              const vault::Actor& actor, vault::Ref<vault::ConnectFlow> flow,
                                              const ExchangeAnswer& answer, const Proofs& proofs,
                                              std::optional<std::string> nonce) {
    const auto id = flow->id;
    const auto& terms = *flow->terms;
    const auto profile = profile_of(world, flow->wish);
    if (!profile) co_return std::unexpected(profile.error());
    auto read = read_refresh_answer(answer.token_answer(),
                                    {.sent_at = answer.sent_at, .has_dpop_key = proofs.key.has_value()},
                                    *profile, {});
    if (!read.tokens) {
        if (read.classification.kind == AnswerClass::client_dead)
            co_await forget(world, out.worker, actor, terms);
        if (!answer.complete() && read.classification.description.empty())
            read.classification.description = answer.error.message;
        co_return co_await end(world, out.worker, actor, id, end_without_tokens(read.classification, terms));
    }
    if (auto known = co_await check_identity(out, terms, *profile, *read.tokens, nonce); !known) {
        co_await give_back(out, *flow, *profile, *read.tokens, proofs.client_secret);
        co_return co_await end(world, out.worker, actor, id,
                               {std::move(known).error(), "connect.unusable_answer"});
    }
    auto lifetime = read.lifetime;
    if (proofs.good_until && (!lifetime.expires_at || *proofs.good_until < *lifetime.expires_at))
        lifetime.expires_at = proofs.good_until;
    Finished finished{.credential = {}, .server_url = flow->wish.server_url};
    const Connected connected{.tokens = *read.tokens,
                              .lifetime = lifetime,
                              .client_secret = proofs.client_secret,
                              .subject_token = proofs.subject_token,
                              .key = proofs.key,
                              .account = account_of(*profile, terms.issuer, *read.tokens)};
    auto stored = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        const auto kept = store_connected(world, change, id, *profile, connected);
        if (kept) finished.credential = *kept;
        return kept ? base::Status() : base::Status(std::unexpected(kept.error()));
    });
    if (stored) {
        if (world.grants != nullptr) world.grants->touched(finished.credential);
        co_return finished;
    }
    co_await give_back(out, *flow, *profile, *read.tokens, proofs.client_secret);
    const bool named = vault::reason_number(stored.error().code) != 0;
    const std::string_view reason = named ? stored.error().code : "connect.target_gone";
    co_return co_await end(world, out.worker, actor, id, {std::move(stored).error(), reason});
}

awaitable<base::Result<Finished>> arrive(const ConnectWorld& world, const Outbound& out,
                                         const vault::Actor& actor, const Arrival& arrival) {
    const auto flow = flow_of_arrival(world, arrival.state);
    if (!flow || !flow->terms)
        co_return base::failure(ErrorKind::not_found, "connect.unknown_state",
                                "Nobody was sent to a provider with this address.",
                                "Open the connect link again, and do not use addresses from a history.");
    const auto id = flow->id;
    const auto state = flow->state_digest;
    if (flow->state != ConnectState::started || !is_open(*flow, out.clock.now())) co_return ended();
    const auto browser = arrival.cookie.expose(
        [](std::span<const std::byte> bytes) { return state_digest(base::as_view(bytes)); });
    if (!crypto::equal(crypto::view(browser), crypto::view(flow->browser)))
        co_return base::failure(
            ErrorKind::denied, "connect.other_browser",
            "You come back with another browser than the one in which the connect link was opened.",
            "Open the link in the browser in which you are signed in at the provider, and stay in it.");
    if (auto wrong = check_issuer(*flow->terms, arrival))
        co_return co_await end(world, out.worker, actor, id, std::move(*wrong));
    if (auto refused = check_error(arrival))
        co_return co_await end(world, out.worker, actor, id, std::move(*refused));
    if (arrival.code.size() == 0)
        co_return co_await end(world, out.worker, actor, id,
                               {{ErrorKind::invalid_request, "connect.no_code",
                                 "The provider sent you back without a code.", std::string(kStartAgain)},
                                "connect.unusable_answer"});

    const auto consumed = co_await commit(out.worker, world.records, actor,
                                          [&](vault::Change& change) { return consume(change, id, state); });
    if (!consumed) co_return std::unexpected(consumed.error());
    auto sent = co_await send_code(world, out, *flow, arrival.code);
    if (!sent)
        co_return co_await end(world, out.worker, actor, id, {std::move(sent).error(), "connect.refused"});
    std::optional<std::string> nonce;
    if (contains_all(flow->terms->scopes, {"openid"})) nonce = base::to_hex(crypto::view(state));
    co_return co_await take_answer(world, out, actor, flow, sent->answer, sent->proofs, std::move(nonce));
}

}  // namespace claviger::oauth
