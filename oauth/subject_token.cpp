#include "oauth/subject_token.h"

#include "oauth/connect_secrets.h"
#include "oauth/grant_client.h"
#include "oauth/lifetime.h"
#include "oauth/mint.h"
#include "oauth/refresh_commit.h"
#include "oauth/stored_grant.h"
#include "oauth/token_request.h"

#include <algorithm>
#include <array>
#include <utility>

namespace claviger::oauth {
namespace {

using net::awaitable;
using Fetched = std::expected<SubjectToken, SubjectRefusal>;
using FetchedAll = std::expected<ExchangedTokens, SubjectRefusal>;

constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTypes{{
    {"access_token", "urn:ietf:params:oauth:token-type:access_token"},
    {"refresh_token", "urn:ietf:params:oauth:token-type:refresh_token"},
    {"id_token", "urn:ietf:params:oauth:token-type:id_token"},
    {"jwt", "urn:ietf:params:oauth:token-type:jwt"},
    {"saml2", "urn:ietf:params:oauth:token-type:saml2"},
}};
constexpr std::string_view kRefreshTokenType = kTypes[1].second;
constexpr std::string_view kIdJagType = "urn:ietf:params:oauth:token-type:id-jag";

std::unexpected<SubjectRefusal> refusal(AnswerClass kind, std::string_view code,
                                        std::string description = {}) {
    return std::unexpected(SubjectRefusal{kind, std::string(code), std::move(description)});
}

/// The subject token, and with which client at which endpoint it may be exchanged.
struct Subject {
    SubjectToken token;
    vault::Refresh client;  // of that endpoint
    std::optional<crypto::Secret> client_secret = {};
    std::string issuer = {};  // of that endpoint
    const ProviderProfile* profile = nullptr;
};

/// Which token of another credential is wanted, and in which words there is none.
struct Lender {
    const base::CredentialId& id;
    std::string_view token_type;  // its URN
    std::string_view gone, unusable;
};

awaitable<std::expected<Subject, SubjectRefusal>> stored_token(const SubjectMeans& means,
                                                               const base::VaultId& vault,
                                                               const Lender& lender) {
    const auto& catalog = means.records.catalog();
    const auto found = catalog.find<vault::Credential>(lender.id);
    if (!found || found->archived || found->vault != vault || !found->refresh || found->refresh->exchange)
        co_return refusal(AnswerClass::target, lender.gone);
    if (const auto usable = co_await means.make_usable(lender.id); !usable)
        co_return refusal(AnswerClass::not_sent, lender.unusable, usable.error().message);
    const auto current = means.records.current_secret(lender.id);
    if (!current && current.error().kind != base::ErrorKind::not_found)
        co_return refusal(AnswerClass::not_sent, lender.unusable, current.error().message);
    if (!current || current->credential->version == 0 || !current->credential->refresh)
        co_return refusal(AnswerClass::target, lender.gone);
    const auto& credential = *current->credential;
    const auto grant = grant_of(catalog, credential);
    auto parts = means.records.open_parts(current->sealed);
    if (!grant || !parts)
        co_return refusal(AnswerClass::not_sent, lender.unusable,
                          grant ? parts.error().message : grant.error().message);
    const bool refresh_token = lender.token_type == kRefreshTokenType;
    auto& token = refresh_token ? parts->refresh_token : parts->token;
    if (!token) co_return refusal(AnswerClass::target, lender.gone);
    co_return Subject{
        .token = {std::move(*token), refresh_token ? grant->refresh_expires_at : grant->facts.expires_at,
                  LentToken{credential.id, credential.version}},
        .client = *credential.refresh,
        .client_secret = std::move(parts->client_secret),
        .issuer = grant->issuer,
        .profile = &profile_of(means.providers, credential, *grant)};
}

/// The workspace's own client at the identity provider, which says itself where its token endpoint is.
awaitable<std::expected<Subject, SubjectRefusal>> given_subject(const SubjectMeans& means,
                                                                const SubjectSought& sought) {
    if (sought.given == nullptr) co_return refusal(AnswerClass::target, "subject_gone");
    Subject subject{.token = {crypto::Secret::copy_of(std::string_view()), jwt_expiry(*sought.given)},
                    .client = {}};
    subject.token.token =
        sought.given->expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
    subject.issuer = sought.block.exchange->issuer;
    subject.profile = means.providers.find("generic");
    if (subject.issuer.empty()) co_return std::move(subject);
    auto server = co_await find_authorization_server(means.out, subject.issuer, IssuerMatch::exact);
    if (!server)
        co_return refusal(
            server.error().kind == base::ErrorKind::unavailable ? AnswerClass::not_sent : AnswerClass::target,
            server.error().code, server.error().message);
    subject.client.token_endpoint = server->token_endpoint;
    const auto known = means.records.catalog().page<vault::OauthClient>(
        {.scope = sought.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& client) {
             return !client.dynamic && client.issuer == subject.issuer;
         }});
    if (known.empty()) co_return refusal(AnswerClass::target, "no_client_at_issuer");
    subject.client.client_id = known.front()->client_id;
    subject.client.auth = known.front()->auth;
    auto secrets = open_secrets(means.records.keys(), known.front()->id.raw, known.front()->secrets);
    if (!secrets) co_return refusal(AnswerClass::target, secrets.error().code, secrets.error().message);
    subject.client_secret = std::move(secrets->client_secret);
    co_return std::move(subject);
}

/// What the identity provider's answer means for the attempt: its client is not the attempt's client, and
/// asking it again costs nothing.
AnswerClass as_subject(AnswerClass kind) {
    switch (kind) {
        case AnswerClass::grant_dead:
        case AnswerClass::transient:
            return kind;
        case AnswerClass::not_sent:
        case AnswerClass::unknown_outcome:
        case AnswerClass::dpop_nonce:
            return AnswerClass::not_sent;
        case AnswerClass::success:
        case AnswerClass::client_dead:
        case AnswerClass::scope:
        case AnswerClass::target:
        case AnswerClass::bug:
            break;
    }
    return AnswerClass::target;
}

/// The first step of ID-JAG: an identity assertion for the resource's authorization server.
awaitable<Fetched> identity_assertion(const SubjectMeans& means, const SubjectSought& sought,
                                      const Subject& subject) {
    Wanted wanted;
    if (sought.block.scope) wanted.scope = *sought.block.scope;
    if (sought.block.resource) wanted.resources = {*sought.block.resource};
    auto fields = id_jag_grant(subject.token.token, sought.block.exchange->token_type, sought.issuer, wanted);
    const auto client = client_of(subject.client, subject.client_secret ? &*subject.client_secret : nullptr,
                                  *subject.profile, subject.issuer);
    if (!client) co_return refusal(AnswerClass::target, client.error().code, client.error().message);
    const auto request = token_request(std::move(fields), *client, *subject.profile, means.out.clock.now());
    if (!request) co_return refusal(AnswerClass::target, request.error().code, request.error().message);
    const auto answer = co_await ask(means.out, {.method = "POST",
                                                 .url = subject.client.token_endpoint,
                                                 .payload = &*request,
                                                 .partition = "identity",
                                                 .timeout = std::chrono::seconds(15)});
    auto read =
        read_token_answer(answer.token_answer(), {}, {.sent_at = answer.sent_at, .asked_for_id_jag = true},
                          subject.profile->errors, {});
    const auto& said = read.classification;
    if (!read.tokens) {
        auto refused = refusal(as_subject(said.kind), said.code,
                               said.description.empty() ? answer.error.message : said.description);
        if (may_refuse_subject(said)) refused.error().refused = subject.token.lent;
        co_return refused;
    }
    if (read.tokens->issued_token_type != kIdJagType)
        co_return refusal(AnswerClass::target, "no_id_jag",
                          "the identity provider gave a token of another type");
    co_return SubjectToken{std::move(read.tokens->access_token), subject.token.good_until,
                           subject.token.lent};
}

awaitable<Fetched> fetch_subject(const SubjectMeans& means, const SubjectSought& sought) {
    const auto& exchange = *sought.block.exchange;
    std::expected<Subject, SubjectRefusal> subject = refusal(AnswerClass::target, "subject_gone");
    if (exchange.credential) {
        const Lender lender{*exchange.credential, exchange.token_type, "subject_gone", "subject_unusable"};
        subject = co_await stored_token(means, sought.vault, lender);
    } else {
        subject = co_await given_subject(means, sought);
    }
    if (!subject) co_return std::unexpected(std::move(subject).error());
    if (minting_grant(sought.block) == GrantType::id_jag)
        co_return co_await identity_assertion(means, sought, *subject);
    if (exchange.credential && subject->client.token_endpoint != sought.block.token_endpoint)
        co_return refusal(AnswerClass::target, "subject_elsewhere");
    co_return std::move(subject->token);
}

awaitable<Fetched> fetch_actor(const SubjectMeans& means, const SubjectSought& sought) {
    const auto& exchange = *sought.block.exchange;
    auto actor = co_await stored_token(
        means, sought.vault, {*exchange.actor, exchange.actor_type, "actor_gone", "actor_unusable"});
    if (!actor) co_return std::unexpected(std::move(actor).error());
    if (actor->client.token_endpoint != sought.block.token_endpoint)
        co_return refusal(AnswerClass::target, "actor_elsewhere");
    co_return std::move(actor->token);
}

}  // namespace

PresentedTokens ExchangedTokens::presented() const {
    return {.subject = &subject.token, .actor = actor ? &actor->token : nullptr};
}

std::optional<base::Time> ExchangedTokens::good_until() const {
    if (!actor || !actor->good_until) return subject.good_until;
    if (!subject.good_until) return actor->good_until;
    return std::min(*subject.good_until, *actor->good_until);
}

std::vector<LentToken> ExchangedTokens::lent() const {
    std::vector<LentToken> all;
    if (subject.lent) all.push_back(*subject.lent);
    if (actor && actor->lent) all.push_back(*actor->lent);
    return all;
}

std::optional<std::string_view> token_type_urn(std::string_view word) {
    for (const auto& [name, urn] : kTypes)
        if (name == word) return urn;
    return std::nullopt;
}

bool may_refuse_subject(const Classification& said) {
    return said.kind == AnswerClass::grant_dead || said.code == "invalid_request";
}

void note_exchange(vault::Change& change, const vault::Refresh& block) {
    if (!block.exchange) return;
    const auto note = [&](const std::optional<base::CredentialId>& id, std::string_view reason) {
        const auto lender = id ? change.catalog().find<vault::Credential>(*id) : nullptr;
        if (lender) change.note_grant(vault::Action::refresh, *lender, reason);
    };
    note(block.exchange->credential, "grant.exchanged");
    note(block.exchange->actor, "grant.exchanged_as_actor");
}

awaitable<FetchedAll> fetch_exchanged(const SubjectMeans& means, const SubjectSought& sought) {
    auto subject = co_await fetch_subject(means, sought);
    if (!subject) co_return std::unexpected(std::move(subject).error());
    ExchangedTokens tokens{.subject = std::move(*subject)};
    if (!sought.block.exchange->actor) co_return std::move(tokens);
    auto actor = co_await fetch_actor(means, sought);
    if (!actor) co_return std::unexpected(std::move(actor).error());
    tokens.actor = std::move(*actor);
    co_return std::move(tokens);
}

}  // namespace claviger::oauth
