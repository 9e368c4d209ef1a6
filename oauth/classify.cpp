#include "oauth/classify.h"

#include "net/http.h"
#include "oauth/answer_body.h"
#include "oauth/json_document.h"
#include "oauth/lifetime_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace claviger::oauth {
namespace {

using enum AnswerClass;
using nlohmann::json;

constexpr std::size_t kMaxCode = 64;
constexpr std::size_t kMaxDescription = 200;

struct KnownCode {
    std::string_view code;
    AnswerClass kind;
};

/// RFC 6749 5.2, 6750 3.1, 8628 3.5, 8693 2.2.2, 8707 2, 9449 5, OpenID Connect Core 3.1.2.6; GitHub's codes,
/// which no other provider uses for anything else.
constexpr KnownCode kKnownCodes[] = {
    {"invalid_grant", grant_dead},
    {"bad_refresh_token", grant_dead},
    {"bad_verification_code", grant_dead},
    {"interaction_required", grant_dead},
    {"login_required", grant_dead},
    {"consent_required", grant_dead},
    {"expired_token", grant_dead},
    {"invalid_client", client_dead},
    {"unauthorized_client", client_dead},
    {"incorrect_client_credentials", client_dead},
    {"invalid_scope", scope},
    {"insufficient_scope", scope},
    {"invalid_target", target},
    {"use_dpop_nonce", dpop_nonce},
    {"invalid_request", bug},
    {"unsupported_grant_type", bug},
    {"unsupported_token_type", bug},
    {"invalid_dpop_proof", bug},
    {"temporarily_unavailable", transient},
    {"server_error", transient},
    {"slow_down", transient},
    {"authorization_pending", transient},
};

/// Beside "ok": false, which is Slack's way.
constexpr KnownCode kSlackCodes[] = {
    {"invalid_refresh_token", grant_dead}, {"token_revoked", grant_dead},
    {"account_inactive", grant_dead},      {"bad_client_secret", client_dead},
    {"invalid_client_id", client_dead},    {"ratelimited", transient},
    {"internal_error", transient},         {"fatal_error", transient},
    {"service_unavailable", transient},
};

/// In "status", which is HubSpot's way.
constexpr KnownCode kHubSpotCodes[] = {{"bad_refresh_token", grant_dead}};

constexpr KnownCode kEntraNumbers[] = {
    {"7000215", client_dead}, {"7000222", client_dead},  // bad, expired client secret
    {"9010010", target},      {"901002", target},        // `resource` beside scopes
    {"70008", grant_dead},    {"700082", grant_dead},    // refresh token idle too long
    {"700084", grant_dead},                              // single page application: 24 h are over
    {"50173", grant_dead},                               // password changed
    {"50076", grant_dead},    {"50079", grant_dead},     // second factor wanted
};

std::optional<AnswerClass> kind_of(std::span<const KnownCode> table, std::string_view code) {
    const auto found =
        std::find_if(table.begin(), table.end(), [&](const auto& one) { return one.code == code; });
    if (found == table.end()) return std::nullopt;
    return found->kind;
}

/// The text as a code of ours; empty when it does not look like one.
std::string code_of(std::string_view text) {
    if (text.size() > kMaxCode) return {};
    std::string code(text);
    for (char& c : code) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
        const bool allowed =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!allowed) return {};
    }
    return scrubbed(code) == code ? code : std::string();  // a token in the wrong member is no code
}

std::string_view text_in(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string()) return {};
    return found->get_ref<const std::string&>();
}

bool contains_ignoring_case(std::string_view text, std::string_view part) {
    for (std::size_t at = 0; at + part.size() <= text.size(); ++at)
        if (net::equal_ignoring_case(text.substr(at, part.size()), part)) return true;
    return false;
}

bool fits(const RefusalMarker& marker, unsigned status, const json& fields) {
    if (marker.status && *marker.status != status) return false;
    const auto found = fields.find(marker.member);
    if (found == fields.end()) return false;
    if (found->is_boolean()) return marker.value == (found->get<bool>() ? "true" : "false");
    if (!found->is_string() || marker.value.empty()) return false;
    const std::string_view text = found->get_ref<const std::string&>();
    return marker.test == RefusalMarker::Test::equals ? text == marker.value
                                                      : contains_ignoring_case(text, marker.value);
}

/// "7000215", from error_codes or the text; empty when there is none.
std::string entra_number(const json& fields) {
    if (const auto found = fields.find("error_codes");
        found != fields.end() && found->is_array() && !found->empty() && found->front().is_number_unsigned())
        return std::to_string(found->front().get<std::uint64_t>());
    auto text = text_in(fields, "error_description");
    const auto at = text.find("AADSTS");
    if (at == std::string_view::npos) return {};
    text.remove_prefix(at + 6);
    return std::string(
        text.substr(0, std::min({text.find_first_not_of("0123456789"), text.size(), std::size_t{10}})));
}

std::string_view explanation(const json& fields) {
    for (const char* name : {"error_description", "message", "error_message", "hint", "detail"})
        if (const auto text = text_in(fields, name); !text.empty()) return text;
    if (const auto inner = fields.find("error"); inner != fields.end() && inner->is_object())
        return text_in(*inner, "message");
    return {};
}

std::string sub_code_of(const json& fields) {
    for (const char* name : {"error_subtype", "suberror"})
        if (auto code = code_of(text_in(fields, name)); !code.empty()) return code;
    return {};
}

struct Verdict {
    AnswerClass kind;
    std::string code;
};

std::optional<Verdict> verdict_of_provider(const json& fields, unsigned status, const RefusalRules& rules) {
    for (const auto& marker : rules.markers)
        if (fits(marker, status, fields))
            return Verdict{marker.kind, marker.code.empty() ? code_of(marker.value) : marker.code};
    return std::nullopt;
}

bool says_not_ok(const json& fields) { return bool_in(fields, "ok") == false; }

/// What the codes in the body say; only they can declare a grant or a client dead.
std::optional<Verdict> verdict_of_body(const json& fields) {
    auto code = code_of(text_in(fields, "error"));
    if (says_not_ok(fields))
        if (const auto kind = kind_of(kSlackCodes, code)) return Verdict{*kind, code};
    if (const auto kind = kind_of(kKnownCodes, code)) return Verdict{*kind, code};
    auto status_word = code_of(text_in(fields, "status"));
    if (const auto kind = kind_of(kHubSpotCodes, status_word)) return Verdict{*kind, status_word};
    return std::nullopt;
}

bool reports_an_error(const json& fields) {
    if (says_not_ok(fields)) return true;
    const auto found = fields.find("error");
    if (found == fields.end() || found->is_null()) return false;
    return !(found->is_string() && found->get_ref<const std::string&>().empty());
}

std::string http_code(unsigned status) { return "http_" + std::to_string(status); }

/// Told by the status alone: nothing in the body is known, or nothing could be read.
Verdict verdict_of_status(unsigned status) {
    if (status >= 500) {
        if (status == 500 || status == 501 || status == 503 || status == 505)
            return {transient, http_code(status)};
        return {unknown_outcome, "gateway"};  // 502, 504 and the likes: what stands behind may have acted
    }
    switch (status) {
        case 408:
        case 425:
        case 429:
            return {transient, http_code(status)};
        case 400:
        case 401:
        case 403:
        case 409:
        case 422:
            return {transient, "unrecognized"};
        default:
            return {bug, http_code(status)};  // 1xx, 3xx, 404, 405: not the endpoint that we took it for
    }
}

bool is_page(std::string_view content_type, std::string_view body) {
    const auto start = body.find_first_not_of(" \t\r\n\xef\xbb\xbf");
    return contains_ignoring_case(content_type, "html") ||
           (start != std::string_view::npos && body[start] == '<');
}

bool lasted(const UnrecognizedHistory& history, base::Time now) {
    return history.count + 1 >= kUnrecognizedTries && history.first_at &&
           now - *history.first_at >= kUnrecognizedSpan;
}

void settle_unrecognized(Classification& result, const TokenAnswer& answer,
                         const UnrecognizedHistory& history) {
    result.recognized = false;
    if (is_page(answer.content_type, answer.body)) {
        result.code = "gateway";
        result.recognized = true;  // recognised as nothing that counts
    } else if (lasted(history, answer.now)) {
        result.kind = grant_dead;
        result.code = "unrecognized_refusal";
    }
}

void describe(Classification& result, const json& fields, const RefusalRules& rules) {
    result.sub_code = sub_code_of(fields);
    if (rules.aadsts_codes)
        if (const auto number = entra_number(fields); !number.empty()) result.sub_code = "AADSTS" + number;
    result.description = scrubbed(explanation(fields));
}

/// What RFC 6749 would have called what an Entra number says.
std::string usual_code(AnswerClass kind) {
    return kind == client_dead ? "invalid_client" : kind == target ? "invalid_target" : "invalid_grant";
}

Verdict verdict_of_complete(const TokenAnswer& answer, const json* fields, const RefusalRules& rules) {
    const bool done = answer.status >= 200 && answer.status < 300;
    if (fields) {
        if (auto verdict = verdict_of_provider(*fields, answer.status, rules)) return *std::move(verdict);
        auto verdict = verdict_of_body(*fields);
        if (rules.aadsts_codes)
            if (const auto kind = kind_of(kEntraNumbers, entra_number(*fields)))
                if (!verdict || verdict->kind != *kind) verdict = Verdict{*kind, usual_code(*kind)};
        // A server that fails may say anything; only that the trouble passes is believed of it.
        if (verdict && (answer.status < 500 || verdict->kind == transient)) return *std::move(verdict);
        if (done)
            return reports_an_error(*fields) ? Verdict{transient, "unrecognized"} : Verdict{success, ""};
    } else if (done) {
        return {unknown_outcome, "unusable_answer"};
    }
    return verdict_of_status(answer.status);
}

/// A run of characters that could be a token, or a piece of one.
bool is_token_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

bool looks_secret(std::string_view run) {
    if (run.starts_with("AADSTS") && run.size() <= 16) return false;
    const bool digit = run.find_first_of("0123456789") != std::string_view::npos;
    return run.size() >= (digit ? 12 : 32);
}

}  // namespace

std::string_view to_text(AnswerClass kind) {
    switch (kind) {  // no default: a new class must be given its word here
        case success:
            return "success";
        case not_sent:
            return "not_sent";
        case unknown_outcome:
            return "unknown_outcome";
        case transient:
            return "transient";
        case grant_dead:
            return "grant_dead";
        case client_dead:
            return "client_dead";
        case scope:
            return "scope";
        case target:
            return "target";
        case dpop_nonce:
            return "dpop_nonce";
        case bug:
            return "bug";
    }
    return "unknown_outcome";
}

std::string scrubbed(std::string_view text) {
    std::string out;
    while (!text.empty() && out.size() < kMaxDescription) {
        std::size_t run = 0;
        while (run < text.size() && is_token_character(text[run])) ++run;
        if (run > 0) {
            out += looks_secret(text.substr(0, run)) ? std::string_view("[removed]") : text.substr(0, run);
            text.remove_prefix(run);
            continue;
        }
        const char c = text.front();
        const char shown = static_cast<unsigned char>(c) >= 0x7f ? '?' : c < 0x20 ? ' ' : c;
        if (!(shown == '?' && out.ends_with('?'))) out += shown;
        text.remove_prefix(1);
    }
    if (out.size() > kMaxDescription) out.resize(kMaxDescription);
    return out;
}

Classification classify(const TokenAnswer& answer, const RefusalRules& rules,
                        const UnrecognizedHistory& history) {
    switch (answer.delivery) {
        case Delivery::not_sent:
            return {.kind = not_sent, .code = "not_sent"};
        case Delivery::no_answer:
            return {.kind = unknown_outcome, .code = "no_answer"};
        case Delivery::truncated:
            return {.kind = unknown_outcome, .code = "truncated"};
        case Delivery::complete:
            break;
    }
    const auto body = AnswerBody::parse(answer.content_type, answer.body);
    const json* fields = body ? &body->fields() : nullptr;
    auto [kind, code] = verdict_of_complete(answer, fields, rules);
    Classification result{.kind = kind, .code = std::move(code)};
    if (result.kind != success && fields) describe(result, *fields, rules);
    if (result.code == "unrecognized") {
        if (fields && result.sub_code.empty()) result.sub_code = code_of(text_in(*fields, "error"));
        settle_unrecognized(result, answer, history);
    }
    if (result.kind == transient || result.kind == unknown_outcome)
        result.retry_after = retry_after(answer.retry_after, answer.now);
    return result;
}

TokenOutcome read_token_answer(const TokenAnswer& answer, const TokenShape& shape,
                               const TokenRequestFacts& request, const RefusalRules& rules,
                               const UnrecognizedHistory& history) {
    TokenOutcome outcome{.classification = classify(answer, rules, history)};
    const bool done = answer.delivery == Delivery::complete && answer.status >= 200 && answer.status < 300;
    if (!done) return outcome;
    // Tokens that came are kept, whatever strange members stand beside them.
    const bool refused = outcome.classification.kind != success && outcome.classification.recognized;
    if (refused) return outcome;
    auto tokens = parse_token_response(answer.content_type, answer.body, shape, request);
    if (tokens) {
        outcome.classification = {.kind = success, .code = ""};
        outcome.tokens.emplace(*std::move(tokens));
    } else if (outcome.classification.kind == success) {
        outcome.classification = {
            .kind = unknown_outcome, .code = "unusable_answer", .description = tokens.error().message};
    }
    return outcome;
}

}  // namespace claviger::oauth
