// The answer of a token endpoint: tokens go straight into locked memory.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/scopes.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// Where a provider's answer departs from RFC 6749 5.1. Every name is a member of the object that holds the
/// tokens; the defaults are the RFC's.
struct TokenShape {
    enum class Unit { seconds, milliseconds };

    std::string nested =
        {};  // the top-level member that holds that object: Slack's "authed_user"; empty: none
    std::string access_token = "access_token";
    std::string refresh_token = "refresh_token";
    std::string token_type = "token_type";
    std::string scope = "scope";
    std::string expires_in = "expires_in";
    /// A point in time, RFC 3339 text or Unix time in `unit`; used when expires_in says nothing.
    std::string expires_at = "expires_at";
    std::string refresh_expires_in = "refresh_token_expires_in";
    std::vector<std::string> bearer_aliases = {};  // token types that mean Bearer: "bot", "user"
    std::string scope_separators = " ";
    Unit unit = Unit::seconds;
};

/// What the request that is answered was like.
struct TokenRequestFacts {
    base::Time sent_at;             // just before the first byte left: lifetimes count from here
    bool has_dpop_key = false;      // a "DPoP" token is usable (RFC 9449)
    bool asked_for_id_jag = false;  // an "N_A" token is what was asked for (RFC 8693 2.2.1)
};

enum class TokenType { bearer, dpop, not_applicable };

struct TokenSet {
    crypto::Secret access_token;
    /// Nothing: the answer brought none, so on a refresh the one in use stays valid.
    std::optional<crypto::Secret> refresh_token;
    std::optional<crypto::Secret> id_token;
    TokenType type = TokenType::bearer;
    /// Nothing: the answer does not say, says it unreadably ("3600abc", 3600.5) or says more than 10 years.
    /// Zero and negative lifetimes are expired when they arrive. Never later than the server meant.
    std::optional<base::Time> expires_at;
    std::optional<base::Time> refresh_expires_at;
    /// Nothing: as requested.
    std::optional<Scopes> scopes;
    std::string issued_token_type;  // RFC 8693; empty when absent
    /// Every other member of the answer, as a JSON object: instance_url, team, bot_user_id. A secret, as
    /// providers put secrets there too.
    crypto::Secret rest;
};

/// A lifetime that nobody means: above it the answer counts as saying nothing.
inline constexpr std::chrono::seconds kLongestLifetime = std::chrono::hours(24 * 3650);

/// Reads a successful answer (RFC 6749 5.1), JSON or form. The caller wipes `body`. An unreadable lifetime
/// never refuses the tokens, because a rotated refresh token that is thrown away is lost for good.
/// Errors: invalid_request "json.*", "answer.*", "token_response.no_access_token",
/// "token_response.unusable_token" (a line break or another character that cannot be sent),
/// "token_response.unknown_type".
base::Result<TokenSet> parse_token_response(std::string_view content_type, std::string_view body,
                                            const TokenShape& shape, const TokenRequestFacts& request);

}  // namespace claviger::oauth
