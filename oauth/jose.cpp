#include "oauth/jose.h"

#include "base/bytes.h"
#include "net/wiping.h"
#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr double kEndOfTime = 253'402'300'800.0;  // the year 10000

struct Parts {
    std::string_view header, payload, signature, signed_text;
};

std::unexpected<base::Error> malformed(std::string what) {
    return base::failure(ErrorKind::invalid_request, "jwt.malformed", std::move(what),
                         "Send the token exactly as it was issued.");
}
std::unexpected<base::Error> too_large() {
    return base::failure(ErrorKind::invalid_request, "jwt.too_large",
                         "The token is larger than " + std::to_string(kMostTokenBytes) + " bytes.",
                         "Ask the issuer for a token with fewer claims.");
}
std::unexpected<base::Error> refused(std::string_view code, std::string message, std::string hint) {
    return base::failure(ErrorKind::unauthenticated, code, std::move(message), std::move(hint));
}

base::Result<Parts> split(std::string_view token) {
    if (token.size() > kMostTokenBytes) return too_large();
    const auto first = token.find('.');
    const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
    if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
        return malformed("The token does not have the three parts of a signed token.");
    return Parts{token.substr(0, first), token.substr(first + 1, second - first - 1),
                 token.substr(second + 1), token.substr(0, second)};
}

base::Result<json> object_of(std::string_view encoded) {
    auto text = base::from_base64url(encoded);
    if (!text) return malformed("A part of the token is not base64url.");
    auto object = parse_object(*text, {.bytes = kMostTokenBytes});
    crypto::wipe(std::span<char>(*text));
    if (!object) return malformed("A part of the token is not a JSON object.");
    return object;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

/// RFC 7515 section 4.1.9: "application/" may be left out when no other slash is there.
std::string plain_type(std::string_view type) {
    constexpr std::string_view kPrefix = "application/";
    auto plain = lower(type);
    if (plain.starts_with(kPrefix)) plain.erase(0, kPrefix.size());
    return plain;
}

base::Result<VerifiedJws> accepted_header(const json& header, const JwsRules& rules) {
    for (const char* name : {"alg", "kid", "typ"})
        if (header.contains(name) && !header.at(name).is_string())
            return malformed("The token's header has a member of the wrong type.");
    const auto algorithm = algorithm_named(string_in(header, "alg").value_or(""));
    if (!algorithm || std::ranges::find(rules.algorithms, *algorithm) == rules.algorithms.end())
        return refused("jwt.algorithm_refused",
                       "The token is signed with an algorithm that is not allowed here.",
                       "Let the issuer sign with one of the allowed algorithms.");
    if (header.contains("crit"))  // no extension is known here, so every one that is critical is unknown
        return refused("jwt.critical_unknown", "The token demands an extension that is not supported.",
                       "Let the issuer leave out the \"crit\" header.");
    auto type = string_in(header, "typ").value_or("");
    const auto same = [&](std::string_view allowed) { return plain_type(allowed) == plain_type(type); };
    if (!rules.types.empty() && std::ranges::none_of(rules.types, same))
        return refused("jwt.type_refused", "The token is of another type than the one expected here.",
                       "Check that it is the right token: an ID token is no access token.");
    return VerifiedJws{*algorithm, string_in(header, "kid").value_or(""), std::move(type), {}};
}

base::Result<std::vector<const PublicKey*>> candidates(const KeySet& keys, const VerifiedJws& jws) {
    std::vector<const PublicKey*> fitting;
    for (const auto& key : keys.keys())
        if (key.fits(jws.algorithm) && (jws.key_id.empty() || key.id() == jws.key_id))
            fitting.push_back(&key);
    if (fitting.empty())
        return refused("jwt.key_unknown", "No key of the issuer fits the token.",
                       "The issuer may have changed its keys: fetch its key set anew.");
    if (jws.key_id.empty() && fitting.size() > 1)
        return refused("jwt.key_ambiguous", "The token does not say which of the issuer's keys signed it.",
                       "Let the issuer name the key in the \"kid\" header.");
    return fitting;
}

base::Result<std::string> text_of(const json& value) {
    auto text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (json::parse(text, nullptr, false) != value)
        return base::failure(ErrorKind::invalid_request, "jwt.not_utf8",
                             "A claim of the token to be signed is not UTF-8 text.",
                             "Check the client id, the audience and the key id.");
    return text;
}

}  // namespace

base::Result<VerifiedJws> verify_jws(std::string_view token, const KeySet& keys, const JwsRules& rules) {
    const auto parts = split(token);
    if (!parts) return std::unexpected(parts.error());
    const auto header = object_of(parts->header);
    if (!header) return std::unexpected(header.error());
    auto jws = accepted_header(*header, rules);
    if (!jws) return jws;
    auto payload = base::from_base64url(parts->payload);
    const auto signature = base::from_base64url(parts->signature);
    if (!payload || !signature) return malformed("A part of the token is not base64url.");
    const auto fitting = candidates(keys, *jws);
    if (!fitting) return std::unexpected(fitting.error());
    const auto verifies = [&](const PublicKey* key) {
        return key->verifies(jws->algorithm, parts->signed_text, *signature);
    };
    if (std::ranges::none_of(*fitting, verifies))
        return refused("jwt.signature_wrong", "The token's signature does not hold.",
                       "Get a new token from the issuer.");
    jws->payload = std::move(*payload);
    return jws;
}

base::Result<json> claims_of(const VerifiedJws& jws) {
    auto claims = parse_object(jws.payload, {.bytes = kMostTokenBytes});
    if (!claims) return malformed("The token's claims are not a JSON object.");
    return claims;
}

base::Result<crypto::Secret> sign_jwt(const SigningKey& key, Algorithm algorithm, json header,
                                      const json& claims) {
    header["alg"] = name_of(algorithm);
    const auto header_text = text_of(header);
    if (!header_text) return std::unexpected(header_text.error());
    const auto claims_text = text_of(claims);
    if (!claims_text) return std::unexpected(claims_text.error());
    if (header_text->size() + claims_text->size() > kMostTokenBytes / 2) return too_large();
    std::string token = base::to_base64url(*header_text) + "." + base::to_base64url(*claims_text);
    const auto signature = key.sign(algorithm, token);
    if (!signature) return std::unexpected(signature.error());
    net::append_wiping(token, "." + base::to_base64url(*signature));
    auto secret = crypto::Secret::copy_of(token);
    crypto::wipe(std::span<char>(token));
    return secret;
}

base::Result<json> unverified_claims(std::string_view token) {
    const auto parts = split(token);
    if (!parts) return std::unexpected(parts.error());
    return object_of(parts->payload);
}

base::Result<std::string> unverified_algorithm(std::string_view token) {
    const auto parts = split(token);
    if (!parts) return std::unexpected(parts.error());
    const auto header = object_of(parts->header);
    if (!header) return std::unexpected(header.error());
    auto algorithm = string_in(*header, "alg").value_or("");
    if (header->contains("crit") || lower(algorithm) == "none") return std::string();
    return algorithm;
}

std::optional<base::Time> unverified_expiry(std::string_view token) {
    const auto claims = unverified_claims(token);
    if (!claims) return std::nullopt;
    return time_in(*claims, "exp");
}

std::optional<base::Time> time_in(const json& claims, const char* name) {
    const auto found = claims.find(name);
    if (found == claims.end() || !found->is_number()) return std::nullopt;
    const auto seconds = found->get<double>();
    if (!(seconds >= 0 && seconds < kEndOfTime)) return std::nullopt;
    return base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(std::floor(seconds * 1000))));
}

std::int64_t numeric_date(base::Time time) {
    return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

}  // namespace claviger::oauth
