// What an answer of a token endpoint means for the grant: one pure function from what came to what to do.
#pragma once

#include "base/clock.h"
#include "oauth/token_response.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

enum class AnswerClass {
    success,          // the server did what was asked
    not_sent,         // nothing reached the server: retry freely
    unknown_outcome,  // the server may have acted: the refresh token may be spent
    transient,        // try later
    grant_dead,       // a person must connect again
    client_dead,      // id, secret or registration of the client are refused; says nothing of the grant
    scope,            // try once without scope, else ask for consent
    target,           // the `resource` parameter is refused
    dpop_nonce,       // repeat once, in the same attempt, with the nonce of the answer
    bug               // our request, or the endpoint's address, is wrong
};

/// "success", "not_sent", "unknown_outcome", … for logs and the API.
std::string_view to_text(AnswerClass kind);

enum class Delivery {
    not_sent,   // DNS, connect or TLS failed, or the first byte was never written
    no_answer,  // reset or timeout after something was written
    truncated,  // the head or a part of the body came
    complete
};

/// An answer as it came. Views are the caller's; the body is the caller's to wipe.
struct TokenAnswer {
    Delivery delivery = Delivery::complete;
    unsigned status = 0;  // of the answer, when there was one
    std::string_view content_type = {}, retry_after = {}, body = {};
    base::Time now{};  // when it came, for Retry-After dates and the history
};

/// A provider's own word for one of the classes.
struct RefusalMarker {
    enum class Test { equals, contains };  // contains: for descriptions, ignoring case

    std::string member;  // of the answer: "error", "status", "error_description"
    std::string value;
    Test test = Test::equals;
    std::optional<unsigned> status = {};  // only with this one
    AnswerClass kind = AnswerClass::transient;
    std::string code = {};  // what it is called from here on; empty: `value`
};

/// How a provider refuses where it departs from RFC 6749 5.2. The first marker that fits decides, before
/// anything else does.
struct RefusalRules {
    std::vector<RefusalMarker> markers = {};
    bool aadsts_codes = false;  // look for Microsoft Entra's "AADSTS…" numbers
};

/// The refusals in a row, before this one, that nobody recognised.
struct UnrecognizedHistory {
    unsigned count = 0;
    std::optional<base::Time> first_at = {};
    bool operator==(const UnrecognizedHistory&) const = default;
};

struct Classification {
    AnswerClass kind = AnswerClass::unknown_outcome;
    /// Lower case letters, digits, '_', '-' and '.', at most 64: the server's error code, or one of ours:
    /// "not_sent", "no_answer", "truncated", "unusable_answer", "gateway", "http_429", "unrecognized",
    /// "unrecognized_refusal". Empty on success.
    std::string code;
    /// "AADSTS7000215", "invalid_rapt"; of an unrecognized refusal the server's own code; may be empty.
    std::string sub_code = {};
    std::optional<std::chrono::seconds> retry_after = {};  // 0 s to 1 h
    /// The server's explanation for the log: printable ASCII, at most 200 characters, without anything that
    /// looks like a token.
    std::string description = {};
    bool recognized = true;  // false: `unrecognized` or `unrecognized_refusal`; counts in the history
};

/// A 400 that says nothing known is taken for a passing trouble until it came kUnrecognizedTries times over
/// at least kUnrecognizedSpan; then it is grant_dead, "unrecognized_refusal". A page of HTML never kills a
/// grant: it is a gateway's, not the authorization server's.
inline constexpr unsigned kUnrecognizedTries = 3;
inline constexpr std::chrono::minutes kUnrecognizedSpan{10};

/// Classifies by body first, then by status, because some providers refuse with 200. For a 2xx without any
/// sign of a refusal `success` only means that: see read_token_answer.
Classification classify(const TokenAnswer& answer, const RefusalRules& rules,
                        const UnrecognizedHistory& history);

/// `text` fit for a log: see Classification::description.
std::string scrubbed(std::string_view text);

struct TokenOutcome {
    Classification classification;
    std::optional<TokenSet> tokens = {};  // with success, and never otherwise
};

/// The whole reading of a token endpoint's answer: tokens, or why there are none. A 2xx with neither tokens
/// nor a known refusal is unknown_outcome "unusable_answer".
TokenOutcome read_token_answer(const TokenAnswer& answer, const TokenShape& shape,
                               const TokenRequestFacts& request, const RefusalRules& rules,
                               const UnrecognizedHistory& history);

}  // namespace claviger::oauth
