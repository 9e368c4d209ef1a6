#include "admin/cli/grant_status.h"

#include "base/clock.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kLabel = 14;

std::string text_in(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// "3 h 20 min", "45 s".
std::string span_text(std::chrono::milliseconds span) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
    const auto two = [](std::int64_t large, const char* unit, std::int64_t small, const char* smaller) {
        auto text = std::to_string(large) + " " + unit;
        return small == 0 ? text : text + " " + std::to_string(small) + " " + smaller;
    };
    if (seconds < 120) return std::to_string(seconds) + " s";
    if (seconds < 7'200) return std::to_string(seconds / 60) + " min";
    if (seconds < 2 * 86'400) return two(seconds / 3'600, "h", seconds / 60 % 60, "min");
    return two(seconds / 86'400, "d", seconds / 3'600 % 24, "h");
}

/// "in 3 min (2026-…)", "2 h ago (2026-…)"; empty for no time.
std::string told(const json& grant, const std::string& time_text) {
    const auto time = base::from_rfc3339(time_text), now = base::from_rfc3339(text_in(grant, "as_of"));
    if (!time) return {};
    if (!now) return time_text;
    const auto when = *time > *now ? "in " + span_text(*time - *now) : span_text(*now - *time) + " ago";
    return when + " (" + time_text + ")";
}

/// Wrapped at 100 columns under its label; nothing for an empty text.
void show(Screen& screen, std::string label, std::string_view text) {
    constexpr std::size_t room = 100 - kLabel;
    while (!text.empty()) {
        auto end = std::min(room, text.size());
        if (end < text.size())
            if (const auto space = text.rfind(' ', end); space != text.npos && space != 0) end = space;
        label.resize(kLabel, ' ');
        screen.line(label + cell_text(json(std::string(text.substr(0, end)))));
        text.remove_prefix(end);
        if (text.starts_with(' ')) text.remove_prefix(1);
        label.clear();
    }
}

void show_token(Screen& screen, const json& grant) {
    auto token = text_in(grant, "token_fingerprint");
    if (token.empty()) return show(screen, "access token", "none");
    if (const auto at = told(grant, text_in(grant, "obtained_at")); !at.empty()) token += ", obtained " + at;
    const auto end = text_in(grant, "expires_at");
    const auto known = text_in(grant, "expiry_known_from");
    if (end.empty()) {
        token += ", lifetime not known";
    } else {
        const bool over = base::from_rfc3339(end) <= base::from_rfc3339(text_in(grant, "as_of"));
        token += (over ? ", ran out " : ", runs out ") + told(grant, end);
        if (!known.empty() && known != "unknown") token += ", says the " + known;
    }
    show(screen, "access token", token);
    auto refresh = text_in(grant, "refresh_token_fingerprint");
    if (refresh.empty())
        refresh = grant.value("renewable", false) ? "none; a new token is asked for" : "none";
    const auto reuse = text_in(grant, "refresh_token_reuse");
    if (reuse == "strict") refresh += ", good for one use";
    if (reuse == "grace") refresh += ", replaced at each use, with a grace";
    if (reuse == "reusable") refresh += ", stays the same";
    if (const auto dies = told(grant, text_in(grant, "refresh_token_expires_at")); !dies.empty())
        refresh += ", dies " + dies;
    show(screen, "refresh token", refresh);
    if (const auto last = told(grant, text_in(grant, "ends_at")); !last.empty())
        show(screen, "grant", "ends " + last + ", however often it is renewed");
}

void show_trouble(Screen& screen, const json& grant) {
    if (const auto failures = grant.value("failures_in_a_row", 0U); failures != 0)
        show(screen, "failures", std::to_string(failures) + " in a row");
    if (const auto cooldown = told(grant, text_in(grant, "cooldown_until")); !cooldown.empty())
        show(screen, "not before", cooldown);
    if (const auto& attempt = grant.value("attempt", json()); attempt.is_object())
        show(screen, "attempt",
             std::string(attempt.value("is_retry", false) ? "repeated " : "sent ") +
                 told(grant, text_in(attempt, "started_at")) + ", answer awaited until " +
                 text_in(attempt, "lease_until"));
    if (const auto& lost = grant.value("unresolved_attempt", json()); lost.is_object())
        show(screen, "unresolved",
             "an attempt of " + told(grant, text_in(lost, "started_at")) + " never got its answer");
    if (const auto& asked = grant.value("introspection", json()); asked.is_object())
        show(screen, "introspection",
             std::string("the authorization server called the token ") +
                 (asked.value("active", false) ? "active " : "inactive ") +
                 told(grant, text_in(asked, "asked_at")));
    if (const auto& demand = grant.value("claims_challenge", json());
        demand.is_object() && demand.value("pending", false))
        show(screen, "claims",
             "demanded " + told(grant, text_in(demand, "demanded_at")) +
                 ", by the server of the calls; no token has them yet");
    for (const auto& step : grant.value("step_ups", json::array()))
        if (step.value("pending", false))
            show(screen, "scopes missing",
                 cell_text(step["scopes"]) + " for " + text_in(step, "operation") + ", asked " +
                     std::to_string(step.value("times_asked", 0U)) + " times");
}

/// One line per entry, with what came of it.
json for_people(json entry) {
    const auto reason = text_in(entry, "reason"), decision = text_in(entry, "decision");
    std::string result = !reason.empty() ? reason : decision == "denied" ? "denied" : "ok";
    if (entry["status"].is_number()) result += " (" + entry["status"].dump() + ")";
    entry["result"] = result;
    const auto id = entry.contains("actor") ? text_in(entry["actor"], "id") : std::string();
    entry["by"] = id.empty() ? "claviger" : id;
    return entry;
}

}  // namespace

void show_grant(Screen& screen, const json& grant) {
    const auto name = text_in(grant, "display_name");
    screen.line((name.empty() ? std::string() : cell_text(json(name)) + "  ") +
                text_in(grant, "credential_id") + "  " + cell_text(grant.value("mcp_server_url", json())));
    screen.line("");
    const auto reason = text_in(grant, "reason");
    show(screen, "state", text_in(grant, "state") + (reason.empty() ? "" : " (" + reason + ")"));
    show(screen, "", text_in(grant, "meaning"));
    show(screen, "to do", text_in(grant, "what_to_do").empty() ? "nothing" : text_in(grant, "what_to_do"));
    show(screen, "calls", grant.value("token_is_served", false) ? "get the access token" : "are refused");
    if (const auto& blocked = grant.value("renewal_blocked", json()); blocked.is_object())
        show(screen, "blocked", text_in(blocked, "message") + " " + text_in(blocked, "hint"));
    if (const auto& next = grant.value("next", json()); next.is_object()) {
        const auto at = told(grant, text_in(next, "at"));
        show(screen, "next", (at.empty() ? "" : at + ": ") + text_in(next, "meaning"));
    }
    screen.line("");
    show_trouble(screen, grant);
    show_token(screen, grant);
    show(screen, "set",
         "number " + std::to_string(grant.value("generation", 0U)) + " of consent " +
             std::to_string(grant.value("epoch", 0U)));
    const auto& granted = grant.value("scopes_granted", json::array());
    const auto& scopes = granted.empty() ? grant.value("scopes_requested", json::array()) : granted;
    if (!scopes.empty()) show(screen, "scopes", cell_text(scopes));
    show(screen, "provider", text_in(grant, "provider"));
    show(screen, "issuer", text_in(grant, "issuer"));
    show(screen, "exchanges", text_in(grant, "subject_credential_id"));
    show(screen, "actor", text_in(grant, "actor_credential_id"));
    if (const auto& chain = grant.value("act_chain", json::array()); !chain.empty())
        show(screen, "acts", cell_text(chain));
    screen.line("");
    json rows = {{"data", json::array()}};
    for (const auto& entry : grant.value("timeline", json::array()))
        rows["data"].push_back(for_people(entry));
    screen.list(rows, {{"TIME", "/created_at"}, {"WHAT", "/action"}, {"RESULT", "/result"}, {"BY", "/by"}},
                "Nothing has happened to it yet.");
    if (!text_in(grant, "next_page").empty())
        screen.line("There is more; --limit shows it, and so does `claviger log list --credential " +
                    text_in(grant, "credential_id") + "`.");
}

}  // namespace claviger::admin::cli
