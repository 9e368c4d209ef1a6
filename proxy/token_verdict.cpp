#include "proxy/token_verdict.h"

#include "oauth/challenge.h"
#include "oauth/scope_need.h"
#include "proxy/answer_read_ahead.h"
#include "proxy/error_reply.h"
#include "proxy/media_type.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

constexpr std::size_t kShortBody = 16 * 1024;  // an error that a provider sends instead of an answer

base::Error unauthorized() {
    return {ErrorKind::unavailable, "upstream.unauthorized",
            "The server did not accept the stored credential.",
            "An administrator has to store a valid credential for this server."};
}

TokenVerdict refused(const TokenUse& use, const base::Error& error) {
    return {.failure = error.code, .refusal = error_reply(use.id, error)};
}

/// What the server wants to find in another token; empty when it does not say (oauth.md 1.15).
std::string claims_wanted(const net::ResponseHead& head) {
    const auto challenges = oauth::parse_challenges(head.headers);
    if (!challenges) return {};
    return oauth::insufficient_claims(head.status, oauth::token_challenge(*challenges)).value_or("");
}

/// A call that went out with another token already does not go out again; then there is only to find out
/// whether the grant has ended.
net::awaitable<TokenVerdict> refused_token(Lane& lane, const TokenUse& use, const net::ResponseHead& head) {
    constexpr std::string_view failure = "upstream.unauthorized";
    if (!is_granted(lane, use.server) || use.client_gone) co_return refused(use, unauthorized());
    const bool for_nonce = wants_nonce(head);
    if (for_nonce && !use.proven) co_return TokenVerdict{.failure = failure, .again = Again::with_nonce};
    if (for_nonce) co_return refused(use, unauthorized());
    if (!use.retried)
        co_return TokenVerdict{
            .failure = failure, .again = Again::with_other_token, .claims = claims_wanted(head)};
    const auto& credential = *use.server.credential;
    const auto told = co_await lane.grants->refused_again(lane.worker, credential.id, credential.version);
    co_return TokenVerdict{.failure = failure, .refusal = error_reply(use.id, told)};
}

/// A refusal for want of scopes is something that people can grant.
TokenVerdict forbidden(Lane& lane, const TokenUse& use, const net::ResponseHead& head, Redactor& redactor) {
    const auto challenges = is_granted(lane, use.server) ? oauth::parse_challenges(head.headers)
                                                         : base::Result<std::vector<oauth::Challenge>>();
    const auto challenged = challenges
                                ? oauth::insufficient_scope(head.status, oauth::token_challenge(*challenges))
                                : std::nullopt;
    if (!challenged)
        return refused(use, {ErrorKind::unavailable, "upstream.forbidden",
                             "The server refused this call to the stored credential.",
                             "The credential may lack a permission for this operation."});
    auto need = lane.grants->scope_refused(use.server.credential->id, use.operation, *challenged);
    for (auto& scope : need.missing) redactor.redact(scope);
    return {.failure = "upstream.insufficient_scope",
            .refusal = scopes_reply(use.id, oauth::why_out_of_scope(need), need.missing)};
}

/// Whether the body is one of the profile's errors that mean a refused token.
net::awaitable<bool> body_rejects(Lane& lane, const TokenUse& use, std::unique_ptr<net::Answer>& answer) {
    if (!is_granted(lane, use.server)) co_return false;
    const auto* rule = lane.grants->rejections_of(*use.server.credential);
    if (rule == nullptr || media_type(answer->head()) != MediaType::json) co_return false;
    if (answer->declared_length().value_or(0) > kShortBody) co_return false;
    answer->idle_limit(lane.settings.stream_idle);
    auto ahead = std::make_unique<AnswerReadAhead>(std::move(answer));
    const auto body = co_await ahead->read_whole(kShortBody);
    bool rejects = false;
    if (body) {
        const auto document = nlohmann::json::parse(*body, nullptr, false);
        rejects = !document.is_discarded() && oauth::rejects_token(*rule, ahead->head().status, document);
    }
    answer = std::move(ahead);
    co_return rejects;
}

}  // namespace

bool is_granted(const Lane& lane, const ServerContext& server) {
    return lane.grants != nullptr && server.credential &&
           server.credential->type == vault::AuthType::mcp_oauth;
}

base::Status still_allowed(const Lane& lane, const SessionContext& context, const ServerContext& server,
                           std::chrono::milliseconds grace) {
    if (auto stands = lane.contexts.still_stands(context, server, grace); !stands) return stands;
    return is_granted(lane, server) ? lane.grants->not_held(*server.credential) : base::Status();
}

bool may_tell_of_token(const Lane& lane, const ServerContext& server, unsigned status) {
    return status == 401 || status == 403 || is_granted(lane, server);
}

net::awaitable<TokenVerdict> judge_token(Lane& lane, const TokenUse& use,
                                         std::unique_ptr<net::Answer>& answer, Redactor& redactor) {
    const auto status = answer->head().status;
    if (status == 401) co_return co_await refused_token(lane, use, answer->head());
    const bool rejected = co_await body_rejects(lane, use, answer);
    if (rejected) co_return co_await refused_token(lane, use, answer->head());
    if (status == 403) co_return forbidden(lane, use, answer->head(), redactor);
    co_return TokenVerdict{};
}

}  // namespace claviger::proxy
