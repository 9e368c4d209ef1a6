#include "oauth/token_response.h"

#include "net/http.h"
#include "net/wiping.h"
#include "oauth/answer_body.h"
#include "oauth/json_document.h"
#include "oauth/lifetime_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <ostream>
#include <streambuf>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

std::unexpected<base::Error> refusal(std::string_view code, std::string message, std::string hint) {
    return base::failure(ErrorKind::invalid_request, code, std::move(message), std::move(hint));
}

std::unexpected<base::Error> unusable(const std::string& member) {
    return refusal("token_response.unusable_token",
                   "The token endpoint's answer has a " + member + " that is not plain visible text.",
                   "It cannot be sent in a header. Ask whoever runs the authorization server.");
}

/// Text that holds secrets while it grows.
class WipingText final : public std::streambuf {
public:
    WipingText() { text_.reserve(kMaxAnswer); }
    ~WipingText() override { net::wipe_and_clear(text_); }
    std::string_view view() const { return text_; }

private:
    std::streamsize xsputn(const char* bytes, std::streamsize count) override {
        net::append_wiping(text_, {bytes, static_cast<std::size_t>(count)});
        return count;
    }
    int_type overflow(int_type c) override {
        if (c != traits_type::eof()) {
            const char byte = traits_type::to_char_type(c);
            net::append_wiping(text_, {&byte, 1});
        }
        return traits_type::not_eof(c);
    }

    std::string text_;
};

crypto::Secret serialised(const json& object) {
    WipingText text;
    std::ostream out(&text);
    out << object;
    return crypto::Secret::copy_of(text.view());
}

/// The member's lifetime as a point in time after `sent_at`.
std::optional<base::Time> moment_in(const json& fields, const std::string& name, const TokenShape& shape,
                                    base::Time sent_at) {
    const auto found = fields.find(name);
    if (found == fields.end()) return std::nullopt;
    const auto amount = strict_integer(*found);
    if (!amount) return std::nullopt;
    return after(sent_at, *amount, shape.unit == TokenShape::Unit::milliseconds ? 1 : 1000);
}

std::optional<base::Time> expiry_in(const json& fields, const TokenShape& shape, base::Time sent_at) {
    if (const auto at = moment_in(fields, shape.expires_in, shape, sent_at)) return at;
    const auto found = fields.find(shape.expires_at);
    if (found == fields.end()) return std::nullopt;
    std::optional<base::Time> at;
    if (found->is_string()) at = base::from_rfc3339(found->get_ref<const std::string&>());
    if (const auto amount = strict_integer(*found); !at && amount)
        at = unix_time(*amount, shape.unit == TokenShape::Unit::milliseconds ? 1 : 1000);
    if (at && *at - sent_at > kLongestLifetime) return std::nullopt;
    return at;
}

std::optional<TokenType> type_in(const json& fields, const TokenShape& shape,
                                 const TokenRequestFacts& request) {
    const auto found = fields.find(shape.token_type);
    if (found == fields.end() || found->is_null()) return TokenType::bearer;
    if (!found->is_string()) return std::nullopt;
    const std::string_view name = found->get_ref<const std::string&>();
    if (name.empty() || net::equal_ignoring_case(name, "Bearer")) return TokenType::bearer;
    if (net::equal_ignoring_case(name, "DPoP") && request.has_dpop_key) return TokenType::dpop;
    if (net::equal_ignoring_case(name, "N_A") && request.asked_for_id_jag) return TokenType::not_applicable;
    const auto means_bearer = [&](const auto& alias) { return net::equal_ignoring_case(name, alias); };
    if (std::any_of(shape.bearer_aliases.begin(), shape.bearer_aliases.end(), means_bearer))
        return TokenType::bearer;
    return std::nullopt;
}

/// Space-separated text, or the list of texts that some providers send.
std::optional<Scopes> scopes_in(const json& fields, const TokenShape& shape) {
    const auto found = fields.find(shape.scope);
    if (found == fields.end()) return std::nullopt;
    if (found->is_string()) return split_scopes(found->get_ref<const std::string&>(), shape.scope_separators);
    if (found->is_array()) return strings_in(fields, shape.scope.c_str());
    return std::nullopt;
}

void forget(json& object, const std::string& name) {
    const auto found = object.find(name);
    if (found == object.end()) return;
    wipe_strings(*found);
    object.erase(found);
}

/// A secret copied into locked memory; `nothing` when the member is absent.
std::optional<crypto::Secret> kept(const SecretField& field) {
    if (field.text.empty()) return std::nullopt;
    return crypto::Secret::copy_of(field.text);
}

}  // namespace

base::Result<TokenSet> parse_token_response(std::string_view content_type, std::string_view body,
                                            const TokenShape& shape, const TokenRequestFacts& request) {
    auto answer = AnswerBody::parse(content_type, body);
    if (!answer) return std::unexpected(std::move(answer).error());
    json* holder = &answer->fields();
    if (!shape.nested.empty()) {
        const auto inner = holder->find(shape.nested);
        holder = inner != holder->end() && inner->is_object() ? &*inner : nullptr;
    }
    const auto access = holder ? secret_in(*holder, shape.access_token, Alphabet::visible) : SecretField{};
    if (access.unusable) return unusable(shape.access_token);
    if (access.text.empty())
        return refusal("token_response.no_access_token", "The token endpoint's answer has no access token.",
                       "Look at what it answers: it may report an error of its own kind. A provider profile "
                       "can say where the token stands.");
    const auto refresh = secret_in(*holder, shape.refresh_token, Alphabet::printable);
    if (refresh.unusable) return unusable(shape.refresh_token);
    const auto type = type_in(*holder, shape, request);
    if (!type)
        return refusal(
            "token_response.unknown_type", "The token endpoint's answer has a token of an unknown type.",
            "Only Bearer and DPoP tokens can be used; a provider profile can name others that mean "
            "Bearer.");
    const auto id_token = secret_in(*holder, "id_token", Alphabet::visible);
    auto refresh_secret = kept(refresh), id_secret = kept(id_token);
    const auto issued = string_in(*holder, "issued_token_type");
    TokenSet tokens{
        .access_token = crypto::Secret::copy_of(access.text),
        .refresh_token = std::move(refresh_secret),
        .id_token = std::move(id_secret),
        .type = *type,
        .expires_at = expiry_in(*holder, shape, request.sent_at),
        .refresh_expires_at = moment_in(*holder, shape.refresh_expires_in, shape, request.sent_at),
        .scopes = scopes_in(*holder, shape),
        .issued_token_type = issued.value_or(""),
        .rest = crypto::Secret::copy_of(std::string_view("{}"))};
    for (const auto& name : {shape.access_token, shape.refresh_token, shape.token_type, shape.scope,
                             shape.expires_in, shape.expires_at, shape.refresh_expires_in,
                             std::string("id_token"), std::string("issued_token_type")})
        forget(*holder, name);
    tokens.rest = serialised(answer->fields());
    return tokens;
}

}  // namespace claviger::oauth
