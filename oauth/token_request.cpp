#include "oauth/token_request.h"

#include "base/bytes.h"
#include "net/token.h"
#include "net/wiping.h"

#include <algorithm>
#include <set>
#include <span>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using crypto::Secret;

constexpr std::size_t kMostFieldBytes = 64 * 1024;
constexpr std::string_view kHex = "0123456789ABCDEF";
constexpr std::string_view kTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange";
constexpr std::string_view kJwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr std::string_view kIdJag = "urn:ietf:params:oauth:token-type:id-jag";
constexpr std::string_view kAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Text under construction that may hold a secret; wiped when it goes.
class Draft {
public:
    Draft() = default;
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() { crypto::wipe(std::span<char>(text_)); }

    void add(std::string_view piece) { net::append_wiping(text_, piece); }
    void add(char c) { net::append_wiping(text_, {&c, 1}); }
    std::string_view view() const { return text_; }
    Secret secret() const { return Secret::copy_of(std::string_view(text_)); }

private:
    std::string text_;
};

bool is_ascii(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool has_line_break(std::string_view text) {
    return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

template <class Use>
void look(const Secret& secret, Use&& use) {
    secret.expose([&](std::span<const std::byte> bytes) { use(base::as_view(bytes)); });
}

/// RFC 6749 appendix B: what WHATWG calls application/x-www-form-urlencoded.
void add_form_encoded(Draft& out, std::string_view text) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == ' ') {
            out.add('+');
        } else if (kPlain.find(c) != std::string_view::npos) {
            out.add(c);
        } else {
            out.add('%');
            out.add(kHex[byte >> 4]);
            out.add(kHex[byte & 15]);
        }
    }
}

void add_json_text(Draft& out, std::string_view text) {
    out.add('"');
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out.add('\\');
            out.add(c);
        } else if (byte < 0x20) {
            out.add("\\u00");
            out.add(kHex[byte >> 4]);
            out.add(kHex[byte & 15]);
        } else {
            out.add(c);
        }
    }
    out.add('"');
}

void add_wanted(RequestFields& fields, const Wanted& wanted) {
    fields.add("scope", wanted.scope);
    for (const auto& resource : wanted.resources) fields.add("resource", resource);
    fields.add("audience", wanted.audience);
    fields.add("claims", wanted.claims);
}

void add_base64(Draft& out, std::string_view text) {
    auto encoded = base::to_base64(text);
    out.add(encoded);
    crypto::wipe(std::span<char>(encoded));
}

Secret basic_credentials(std::string_view user, std::string_view password, BasicEncoding encoding) {
    Draft plain;
    const auto add = [&](std::string_view text) {
        encoding == BasicEncoding::rfc ? add_form_encoded(plain, text) : plain.add(text);
    };
    add(user);
    plain.add(':');
    add(password);
    Draft header;
    header.add("Basic ");
    add_base64(header, plain.view());
    return header.secret();
}

base::Status check_client(const ClientIdentity& client) {
    bool broken = has_line_break(client.client_id);
    if (client.secret) look(*client.secret, [&](std::string_view text) { broken |= has_line_break(text); });
    if (broken)
        return base::failure(ErrorKind::invalid_request, "client_auth.control_character",
                             "The client id or the client secret holds a line break or a zero byte.",
                             "Enter it again without the line break at its end.");
    using enum ClientAuthMethod;
    const bool needs_secret = client.method == client_secret_basic || client.method == client_secret_post ||
                              client.method == secret_as_user_name;
    if (needs_secret && (!client.secret || client.secret->size() == 0))
        return base::failure(ErrorKind::invalid_request, "client_auth.no_secret",
                             "The client is to show a secret but has none.",
                             "Give the client its secret, or choose another method.");
    const bool raw = client.method == client_secret_basic && client.basic_encoding == BasicEncoding::raw;
    if (raw && client.client_id.find(':') != std::string::npos)
        return base::failure(ErrorKind::invalid_request, "client_auth.colon_in_id",
                             "The client id holds a colon, where raw Basic credentials would be cut.",
                             "Use the encoding of RFC 6749 for this client, or client_secret_post.");
    return {};
}

/// A pushed authorization request brings its own.
RequestFields& add_client_id(RequestFields& fields, const ClientIdentity& client) {
    return fields.has("client_id") ? fields : fields.add("client_id", client.client_id);
}

base::Status add_proof(RequestFields& fields, std::vector<RequestHeader>& headers,
                       const ClientIdentity& client, base::Time now) {
    switch (client.method) {
        case ClientAuthMethod::none:
        case ClientAuthMethod::tls_client_auth:
        case ClientAuthMethod::self_signed_tls_client_auth:
            add_client_id(fields, client);
            return {};
        case ClientAuthMethod::client_secret_post:
            add_client_id(fields, client).add("client_secret", *client.secret);
            return {};
        case ClientAuthMethod::client_secret_basic:
            look(*client.secret, [&](std::string_view secret) {
                headers.push_back(
                    {"Authorization", basic_credentials(client.client_id, secret, client.basic_encoding)});
            });
            return {};
        case ClientAuthMethod::secret_as_user_name:
            look(*client.secret, [&](std::string_view secret) {
                headers.push_back({"Authorization", basic_credentials(secret, "", BasicEncoding::raw)});
            });
            return {};
        case ClientAuthMethod::private_key_jwt: {
            const auto assertion = client_assertion(client.client_id, client.signer, now);
            if (!assertion) return std::unexpected(assertion.error());
            add_client_id(fields, client)
                .add("client_assertion_type", kAssertionType)
                .add("client_assertion", *assertion);
            return {};
        }
    }
    return {};
}

}  // namespace

RequestFields& RequestFields::add(std::string_view name, std::string_view value) {
    if (!value.empty()) fields_.emplace_back(name, Secret::copy_of(value));
    return *this;
}

RequestFields& RequestFields::add(std::string_view name, const Secret& value) {
    look(value, [&](std::string_view text) { add(name, text); });
    return *this;
}

bool RequestFields::has(std::string_view name) const {
    return std::ranges::find(fields_, name, &std::pair<std::string, Secret>::first) != fields_.end();
}

Secret RequestFields::form() const {
    Draft out;
    for (const auto& [name, value] : fields_) {
        if (!out.view().empty()) out.add('&');
        add_form_encoded(out, name);
        out.add('=');
        look(value, [&](std::string_view text) { add_form_encoded(out, text); });
    }
    return out.secret();
}

Secret RequestFields::json() const {
    Draft out;
    std::set<std::string_view> written;
    out.add('{');
    for (const auto& [name, unused] : fields_) {
        if (!written.insert(name).second) continue;
        if (written.size() > 1) out.add(',');
        add_json_text(out, name);
        out.add(':');
        const bool repeated = std::ranges::count(fields_, name, &std::pair<std::string, Secret>::first) > 1;
        if (repeated) out.add('[');
        bool first = true;
        for (const auto& [other, value] : fields_) {
            if (other != name) continue;
            if (!first) out.add(',');
            first = false;
            look(value, [&](std::string_view text) { add_json_text(out, text); });
        }
        if (repeated) out.add(']');
    }
    out.add('}');
    return out.secret();
}

base::Status RequestFields::check(BodyFormat format) const {
    std::size_t bytes = 0;
    for (const auto& [name, value] : fields_) {
        bool broken = has_line_break(name), ascii = is_ascii(name);
        look(value, [&](std::string_view text) {
            broken |= has_line_break(text);
            ascii &= is_ascii(text);
        });
        if (broken)
            return base::failure(ErrorKind::invalid_request, "token_request.control_character",
                                 "A field of the token request holds a line break or a zero byte.",
                                 "Check what was entered for the client and for the provider.");
        if (format == BodyFormat::json && !ascii)
            return base::failure(ErrorKind::invalid_request, "token_request.not_ascii",
                                 "A field of the token request holds more than ASCII, and its body is JSON.",
                                 "Check what was entered for the client and for the provider.");
        bytes += name.size() + value.size();
    }
    if (bytes > kMostFieldBytes)
        return base::failure(
            ErrorKind::invalid_request, "token_request.too_large",
            "The token request is larger than " + std::to_string(kMostFieldBytes) + " bytes.",
            "Ask for fewer scopes or resources at once.");
    return {};
}

RequestFields authorization_code_grant(const Secret& code, std::string_view redirect_uri,
                                       const Secret& verifier, const Wanted& wanted) {
    RequestFields fields;
    fields.add("grant_type", "authorization_code")
        .add("code", code)
        .add("redirect_uri", redirect_uri)
        .add("code_verifier", verifier);
    add_wanted(fields, wanted);
    return fields;
}

RequestFields refresh_token_grant(const Secret& refresh_token, const Wanted& wanted) {
    RequestFields fields;
    fields.add("grant_type", "refresh_token").add("refresh_token", refresh_token);
    add_wanted(fields, wanted);
    return fields;
}

RequestFields client_credentials_grant(const Wanted& wanted) {
    RequestFields fields;
    fields.add("grant_type", "client_credentials");
    add_wanted(fields, wanted);
    return fields;
}

RequestFields device_code_grant(const Secret& device_code) {
    RequestFields fields;
    fields.add("grant_type", "urn:ietf:params:oauth:grant-type:device_code").add("device_code", device_code);
    return fields;
}

RequestFields jwt_bearer_grant(const Secret& assertion, const Wanted& wanted) {
    RequestFields fields;
    fields.add("grant_type", kJwtBearer).add("assertion", assertion);
    add_wanted(fields, wanted);
    return fields;
}

RequestFields token_exchange_grant(const TokenExchange& exchange) {
    RequestFields fields;
    fields.add("grant_type", kTokenExchange)
        .add("subject_token", exchange.subject_token)
        .add("subject_token_type", exchange.subject_token_type);
    if (exchange.actor_token)
        fields.add("actor_token", *exchange.actor_token).add("actor_token_type", exchange.actor_token_type);
    fields.add("requested_token_type", exchange.requested_token_type);
    add_wanted(fields, exchange.wanted);
    return fields;
}

RequestFields id_jag_grant(const Secret& subject_token, std::string_view subject_token_type,
                           std::string_view audience, const Wanted& wanted) {
    TokenExchange exchange{.subject_token = subject_token,
                           .subject_token_type = subject_token_type,
                           .requested_token_type = kIdJag,
                           .wanted = wanted};
    exchange.wanted.audience = audience;
    return token_exchange_grant(exchange);
}

RequestFields revocation(const Secret& token, std::string_view type_hint) {
    RequestFields fields;
    fields.add("token", token).add("token_type_hint", type_hint);
    return fields;
}

RequestFields introspection(const Secret& token, std::string_view type_hint) {
    return revocation(token, type_hint);  // the same two fields
}

RequestFields device_authorization(const Wanted& wanted) {
    RequestFields fields;
    add_wanted(fields, wanted);
    return fields;
}

RequestFields pushed_authorization(const std::vector<std::pair<std::string, std::string>>& parameters) {
    RequestFields fields;
    for (const auto& [name, value] : parameters) fields.add(name, value);
    return fields;
}

base::Result<TokenRequest> authenticated(RequestFields fields, const ClientIdentity& client,
                                         BodyFormat format, base::Time now) {
    if (auto status = check_client(client); !status) return std::unexpected(status.error());
    std::vector<RequestHeader> headers;
    headers.push_back({"Accept", Secret::copy_of(std::string_view("application/json"))});
    if (auto status = add_proof(fields, headers, client, now); !status)
        return std::unexpected(status.error());
    if (auto status = fields.check(format); !status) return std::unexpected(status.error());
    const bool as_json = format == BodyFormat::json;
    return TokenRequest{as_json ? "application/json" : "application/x-www-form-urlencoded",
                        as_json ? fields.json() : fields.form(), std::move(headers), client.certificate};
}

base::Status add_header(TokenRequest& request, std::string_view name, std::string_view value) {
    if (name.empty() || !std::ranges::all_of(name, net::is_token) ||
        std::ranges::any_of(value, net::is_control))
        return base::failure(ErrorKind::invalid_request, "token_request.header_invalid",
                             "A header of the token request has characters that HTTP does not allow.",
                             "Check the headers in the provider's profile.");
    request.headers.push_back({std::string(name), Secret::copy_of(value)});
    return {};
}

bool basic_is_ambiguous(const ClientIdentity& client) {
    if (client.method != ClientAuthMethod::client_secret_basic || !client.secret) return false;
    bool ambiguous = false;
    look(*client.secret, [&](std::string_view secret) {
        ambiguous = basic_credentials(client.client_id, secret, BasicEncoding::rfc) !=
                    basic_credentials(client.client_id, secret, BasicEncoding::raw);
    });
    return ambiguous;
}

}  // namespace claviger::oauth
