#include "oauth/introspection.h"

#include "net/http.h"
#include "oauth/grant_client.h"
#include "oauth/json_document.h"
#include "oauth/lifetime_text.h"
#include "oauth/token_call.h"

#include <nlohmann/json.hpp>

#include <array>
#include <string>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr std::size_t kMaxBody = 16 * 1024;
constexpr std::size_t kMaxText = 4 * 1024;  // of any member that counts

std::unexpected<base::Error> malformed(std::string message) {
    return base::failure(ErrorKind::invalid_request, "introspection.malformed",
                         "What the authorization server says of a token cannot be read: " + message,
                         "Leave the introspection endpoint out of the provider's profile.");
}

/// "application/json; charset=utf-8" as "application/json"; another case counts as the same.
bool is_media_type(std::string_view content_type, std::string_view wanted) {
    auto type = content_type.substr(0, content_type.find(';'));
    while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
    return net::equal_ignoring_case(type, wanted);
}

base::Status check_type(std::string_view content_type) {
    if (is_media_type(content_type, "application/json")) return {};
    if (is_media_type(content_type, "application/token-introspection+jwt") ||
        is_media_type(content_type, "application/jwt"))
        return base::failure(ErrorKind::invalid_request, "introspection.signed",
                             "The authorization server answers about tokens with signed JWTs, although plain "
                             "JSON was asked for; they are not read.",
                             "Register the client without introspection_signed_response_alg.");
    return base::failure(ErrorKind::invalid_request, "introspection.not_json",
                         "The authorization server's answer about a token is no JSON.",
                         "Check the introspection endpoint in the provider's profile.");
}

/// Texts that are there are texts, and not too long (RFC 7662 2.2). Null counts as absent.
base::Status check_texts(const json& object) {
    constexpr std::array<const char*, 6> texts{"scope", "client_id", "sub", "username", "token_type", "iss"};
    for (const auto* name : texts) {
        const auto found = object.find(name);
        if (found == object.end() || found->is_null()) continue;
        if (!found->is_string()) return malformed(std::string("'") + name + "' is no text.");
        if (found->get_ref<const std::string&>().size() > kMaxText)
            return malformed(std::string("'") + name + "' is too long.");
    }
    return {};
}

/// Sends it as the grant's client. Errors: as introspect() has them, but for what the answer says.
net::awaitable<base::Result<ExchangeAnswer>> ask_endpoint(const Outbound& out, const IntrospectionCall& call,
                                                          const crypto::Secret& token,
                                                          std::string_view type_hint) {
    const auto& refresh = *call.credential.refresh;
    const auto* secret = call.parts.client_secret ? &*call.parts.client_secret : nullptr;
    const auto client = client_of(refresh, secret, call.profile, call.grant.issuer);
    if (!client) co_return std::unexpected(client.error());
    std::optional<DpopKey> key;
    if (call.parts.dpop_key) {
        auto imported = DpopKey::import(*call.parts.dpop_key);
        if (!imported) co_return std::unexpected(std::move(imported).error());
        key = std::move(*imported);
    }
    const TokenCall request{.url = call.endpoint,
                            .profile = call.profile,
                            .key = key,
                            .make =
                                [&] {
                                    return authenticated(introspection(token, type_hint), client->identity,
                                                         BodyFormat::form, out.clock.now());
                                },
                            .partition = "introspection",
                            .timeout = call.timeout};
    co_return co_await call_token_endpoint(out, request);
}

}  // namespace

base::Result<TokenState> parse_introspection(std::string_view content_type, std::string_view body) {
    if (auto type = check_type(content_type); !type) return std::unexpected(std::move(type).error());
    const auto object = parse_object(body, {.bytes = kMaxBody, .depth = 8});
    if (!object) return std::unexpected(object.error());
    const auto active = bool_in(*object, "active");
    if (!active) return malformed("'active' is neither true nor false.");
    if (!*active) return TokenState{};
    if (auto texts = check_texts(*object); !texts) return std::unexpected(std::move(texts).error());
    TokenState state{.active = true};
    if (const auto exp = object->find("exp"); exp != object->end() && !exp->is_null()) {
        state.expires_at = numeric_date(*exp);
        if (!state.expires_at) return malformed("'exp' is no moment.");
    }
    if (const auto scope = string_in(*object, "scope")) state.scopes = split_scopes(*scope);
    return state;
}

net::awaitable<base::Result<TokenState>> introspect(const Outbound& out, const IntrospectionCall& call,
                                                    const crypto::Secret& token, std::string_view type_hint) {
    const auto answer = co_await ask_endpoint(out, call, token, type_hint);
    if (!answer) co_return std::unexpected(answer.error());
    if (!answer->complete())
        co_return base::failure(ErrorKind::unavailable, "introspection.no_answer",
                                "The authorization server gave no answer about a token.", "Try again later.",
                                answer->error.message);
    if (answer->status != 200)
        co_return base::failure(
            ErrorKind::denied, "introspection.refused",
            "The authorization server does not answer this client's questions about its tokens (status " +
                std::to_string(answer->status) + ").",
            "Nothing depends on it: without an answer the server that refuses a token has the last word.");
    co_return parse_introspection(answer->header("Content-Type"), answer->body);
}

}  // namespace claviger::oauth
