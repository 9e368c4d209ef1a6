// What a server says when it refuses a token: the WWW-Authenticate header fields (RFC 9110 11.6.1).
#pragma once

#include "base/result.h"
#include "net/http.h"
#include "oauth/scopes.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

struct ChallengeParameter {
    std::string name;  // lower case
    std::string value;
};

struct Challenge {
    std::string scheme;   // lower case: "bearer", "dpop", "basic", or one nobody knows
    std::string token68;  // "Negotiate abc=="; empty when the challenge has parameters or nothing
    std::vector<ChallengeParameter> parameters = {};

    /// The first parameter of that lower-case name. The view lives as long as the challenge.
    std::optional<std::string_view> find(std::string_view name) const;
};

/// All challenges of all fields, in order. Reads what servers really send: parameters without commas between
/// them, values with unquoted slashes and colons. What cannot be read at all (an unterminated string, a
/// control character) ends its challenge; what was read before and what follows the next comma stays.
/// Errors: invalid_request "challenge.too_large" above 32 KiB in all.
base::Result<std::vector<Challenge>> parse_challenges(std::span<const std::string_view> fields);
/// The same, of an answer's WWW-Authenticate fields.
base::Result<std::vector<Challenge>> parse_challenges(const net::Headers& headers);

/// What the Bearer and DPoP challenges ask of an OAuth client; where several say something, the first does.
/// Every member is the server's word and must be validated before use.
struct TokenChallenge {
    bool offered = false;           // there was a Bearer or DPoP challenge at all
    bool dpop = false;              // a DPoP challenge was among them (RFC 9449 7.1)
    std::string error;              // RFC 6750 3.1: "invalid_token", "insufficient_scope"; empty when absent
    std::string resource_metadata;  // RFC 9728 5.1: address of the document; empty when absent
    std::string claims;             // JSON of the claims a new token must have (Entra); empty when absent
    Scopes scopes = {};
};
TokenChallenge token_challenge(std::span<const Challenge> challenges);

/// The scopes that the refused operation needs, when the answer is 403 with error="insufficient_scope"
/// (RFC 6750 3.1); may be empty, as a server need not name them. Nothing when it is another refusal.
std::optional<Scopes> insufficient_scope(unsigned status, const TokenChallenge& challenge);

/// What the next token must have, when the answer is 401 with error="insufficient_claims" (oauth.md 1.15):
/// one JSON object, rewritten in ASCII, of at most 4 KiB and 8 levels. Nothing when it is another refusal, or
/// demands something else.
std::optional<std::string> insufficient_claims(unsigned status, const TokenChallenge& challenge);

}  // namespace claviger::oauth
