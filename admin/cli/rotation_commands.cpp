#include "admin/cli/credential_body.h"
#include "admin/cli/credential_lookup.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

std::string number_in(const json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() ? "-" : cell_text(*found);
}

/// "; version 2 is kept until 2026-…", or nothing.
std::string kept_text(const json& rotation) {
    const auto& previous = rotation.value("previous", json());
    if (!previous.is_object()) return "";
    return "; version " + number_in(previous, "version") + " is kept until " +
           number_in(previous, "kept_until");
}

/// Says what came of it. A value that its server does not take is a failure of the command.
base::Status tell(Context& context, const json& answer) {
    const auto status = answer.value("status", "");
    const auto id = answer.value("credential_id", "");
    const auto& rotation = answer.value("rotation", json());
    const auto verified = answer.value("verification", json::object()).value("status", "");
    const auto kept = rotation.is_object() ? kept_text(rotation) : "";
    const auto version = number_in(answer, "version");
    if (status == "promoted")
        context.screen.done(answer, "Credential " + id + " now uses version " + version +
                                        (verified == "valid" ? ", which its server takes" : "") + kept + ".");
    else if (status == "rolled_back")
        context.screen.done(answer, "Credential " + id + " uses the value from before again, as version " +
                                        version + kept + ".");
    else if (status == "retired")
        context.screen.done(answer, "Erased. Credential " + id + " goes on with version " + version + ".");
    else
        context.screen.done(answer, "Staged version " +
                                        number_in(rotation.value("staged", json::object()), "version") +
                                        " of credential " + id + "; version " + version + " stays in use.");
    if (status != "staged" || verified == "skipped") return {};
    return base::failure(base::ErrorKind::conflict, "credential.not_taken",
                         "The server does not take the new value (" + verified + "), so it is not used.",
                         "Rotate once more with another value, or use it all the same: `claviger credential "
                         "promote " +
                             id + " --no-verify`.");
}

base::Status rotate(Context& context) {
    const auto found = find_credential(context);
    if (!found) return std::unexpected(found.error());
    const auto type = found->at("auth").value("type", "");
    if (type == "mcp_oauth")
        return base::failure(base::ErrorKind::invalid_request, "credential.rotates_itself",
                             "The tokens of an mcp_oauth credential are renewed whenever that is due.",
                             "`claviger credential connect --credential` replaces the grant.");
    const auto body = next_value_body(context, type);
    if (!body) return std::unexpected(body.error());
    const auto answer = context.api.post(path_of_credential(*found) + "/rotate", *body);
    if (!answer) return std::unexpected(answer.error());
    return tell(context, *answer);
}

/// The steps whose request holds no secret.
base::Status take_step(Context& context, const std::string& step, const json& body) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.post(*path + "/" + step, body);
    if (!answer) return std::unexpected(answer.error());
    return tell(context, *answer);
}

base::Result<json> overlap_body(const Arguments& arguments) {
    json body = json::object();
    if (!arguments.has("--overlap")) return body;
    const auto seconds = arguments.number_or("--overlap", 0);
    if (!seconds) return std::unexpected(seconds.error());
    body["overlap_seconds"] = *seconds;
    return body;
}

base::Status promote(Context& context) {
    auto body = overlap_body(context.arguments);
    if (!body) return std::unexpected(std::move(body).error());
    if (context.arguments.has("--no-verify")) (*body)["verify"] = false;
    return take_step(context, "promote", *body);
}

base::Status roll_back(Context& context) {
    const auto body = overlap_body(context.arguments);
    if (!body) return std::unexpected(body.error());
    return take_step(context, "roll_back", *body);
}

base::Status retire(Context& context) {
    return take_step(context, "retire",
                     {{"state", context.arguments.has("--staged") ? "staged" : "previous"},
                      {"force", context.arguments.has("--force")}});
}

base::Status versions(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.get(*path + "/versions");
    if (!answer) return std::unexpected(answer.error());
    auto shown = *answer;
    for (auto& version : shown["data"]) {
        json sessions = json::array();
        for (const auto& session : version["sessions"]) sessions.push_back(session["session_id"]);
        version["used_by"] =
            sessions.size() > 2 ? json(std::to_string(sessions.size()) + " sessions") : sessions;
    }
    context.screen.list(context.screen.json() ? *answer : shown,
                        {{"VERSION", "/version"},
                         {"STATE", "/state"},
                         {"CREATED", "/created_at"},
                         {"VERIFIED", "/verified_at"},
                         {"KEPT UNTIL", "/kept_until"},
                         {"LAST USED", "/last_used_at"},
                         {"RUNNING", "/running_calls"},
                         {"USED BY", "/used_by"}},
                        "This credential holds no value any more.");
    return {};
}

base::Status stale(Context& context) {
    Query query;
    for (const auto& [flag, name] : {std::pair{"--unused-days", "unused_days"},
                                     {"--unrotated-days", "unrotated_days"},
                                     {"--expiring-days", "expiring_days"},
                                     {"--limit", "limit"}})
        if (context.arguments.has(flag)) {
            const auto number = context.arguments.number_or(flag, 0);
            if (!number) return std::unexpected(number.error());
            query.add(name, std::to_string(*number));
        }
    const auto answer = context.api.get("/v1/stale_credentials" + query.text());
    if (!answer) return std::unexpected(answer.error());
    auto shown = *answer;
    for (auto& each : shown["data"]) {
        json codes = json::array();
        for (const auto& finding : each["findings"]) {
            const auto at =
                finding.value("at", json()).is_null() ? "" : " (" + cell_text(finding["at"]) + ")";
            codes.push_back(finding.value("code", "") + at);
        }
        each["why"] = std::move(codes);
    }
    context.screen.list(context.screen.json() ? *answer : shown,
                        {{"CREDENTIAL", "/credential_id"},
                         {"NAME", "/display_name"},
                         {"VAULT", "/vault_name"},
                         {"TYPE", "/auth_type"},
                         {"WHY", "/why"}},
                        "None of " + number_in(*answer, "examined") + " credentials wants attention.");
    return {};
}

}  // namespace

std::vector<Command> rotation_commands() {
    const Operand credential{"CREDENTIAL", "id or name of the credential"};
    const Flag vault{"--vault", "VAULT", "look in this vault only (default: in all)"};
    const Flag overlap{"--overlap", "SECONDS",
                       "how long the value that leaves can be rolled back to (default: 86400)"};
    return {
        {"credential rotate",
         "Replace a credential's value safely: the new one is stored, tried at its server, and only then "
         "used; "
         "the one before is kept for a while.",
         {credential},
         next_value_flags(),
         "claviger credential rotate github --vault alice < new-token.txt",
         rotate},
        {"credential promote",
         "Use the value that is staged.",
         {credential},
         {vault, {"--no-verify", "", "use it without asking the server whether it takes it"}, overlap},
         "claviger credential promote github --vault alice",
         promote},
        {"credential rollback",
         "Use the value from before the last rotation again, as long as it is kept.",
         {credential},
         {vault, overlap},
         "claviger credential rollback github --vault alice",
         roll_back},
        {"credential retire",
         "Erase the value from before now, instead of when its overlap ends. Refused while calls still use "
         "it.",
         {credential},
         {vault,
          {"--staged", "", "erase the value that is staged instead"},
          {"--force", "", "even while it is in use"}},
         "claviger credential retire github --vault alice",
         retire},
        {"credential versions",
         "List the versions of a credential's value: which one is used, which are kept, and who used them "
         "when.",
         {credential},
         {vault},
         "claviger credential versions github --vault alice",
         versions},
        {"credential stale",
         "List the credentials that want attention: unused, never used, never rotated, due, expiring or "
         "failing.",
         {},
         {{"--unused-days", "N", "unused for so many days (default: 90)"},
          {"--unrotated-days", "N", "not rotated for so many days (default: 180)"},
          {"--expiring-days", "N", "ending or due within so many days (default: 14)"},
          {"--limit", "N", "how many to show (default: 100, at most 1000)"}},
         "claviger credential stale --unused-days 30",
         stale},
    };
}

}  // namespace claviger::admin::cli
