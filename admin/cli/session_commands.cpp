#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

/// Shows a token once, or puts it into the file that --save-token names.
base::Status hand_over(Context& context, std::optional<PrivateFile>& file, json answer, const char* field,
                       std::string sentence) {
    const auto token = answer.value(field, std::string());
    if (file) {
        if (auto saved = file->write_line(token); !saved) return saved;
        answer.erase(field);
        sentence += "\nIts token is in " + file->path() + ".";
    } else {
        sentence += "\nIts token, shown only now: " + token;
    }
    for (const auto& [name, url] : answer.value("mcp_endpoints", json::object()).items())
        sentence += "\nMCP endpoint of '" + name + "': " + cell_text(url);
    context.screen.done(answer, sentence);
    return {};
}

base::Status take_lifetime(const Arguments& arguments, json& body, const char* field) {
    if (!arguments.has("--expires-in")) return {};
    const auto seconds = arguments.number_or("--expires-in", 0);
    if (!seconds) return std::unexpected(seconds.error());
    body[field] = *seconds;
    return {};
}

constexpr std::size_t kMostVaults = 50;  // of a session

/// What the environment binds, in its order, without what is archived.
base::Result<json> bound_vaults(Context& context, const std::string& environment) {
    const auto bound = context.api.get("/v1/environments/" + environment);
    if (!bound) return bound;
    auto vaults = json::array();
    for (const auto& id : bound->value("vault_bindings", json::array())) {
        const auto vault = context.api.get(std::string(kVaults.path) + "/" + id.get<std::string>());
        if (!vault) return vault;
        if (vault->value("archived_at", json()).is_null())
            vaults.push_back(id);
        else
            context.screen.err() << "Vault " << cell_text(vault->at("display_name")) << " (" << cell_text(id)
                                 << ") is archived, so the session goes without it.\n";
    }
    if (vaults.size() > kMostVaults)
        return usage("The environment binds " + std::to_string(vaults.size()) +
                         " vaults, and a session takes at most " + std::to_string(kMostVaults) + ".",
                     "Name those that this run needs with --vault, in order of priority.");
    return vaults;
}

base::Result<json> body_from(Context& context) {
    const auto& arguments = context.arguments;
    json body = json::object();
    const auto agent = id_of(context.api, kAgents, *arguments.value("--agent"));
    if (!agent) return std::unexpected(agent.error());
    body["agent"] = *agent;
    const auto environment = id_of(context.api, kEnvironments, *arguments.value("--environment"));
    if (!environment) return std::unexpected(environment.error());
    body["environment_id"] = *environment;
    if (arguments.has("--vault")) {
        const auto vaults = ids_of(context.api, kVaults, arguments.values("--vault"));
        if (!vaults) return std::unexpected(vaults.error());
        body["vault_ids"] = *vaults;
    } else {
        auto bound = bound_vaults(context, *environment);
        if (!bound) return bound;
        body["vault_ids"] = *std::move(bound);
    }
    if (const auto title = arguments.value("--title")) body["title"] = *title;
    if (const auto source = arguments.value("--source")) body["source"] = *source;
    if (const auto parent = arguments.value("--parent")) {
        const auto id = id_of(context.api, kSessions, *parent);
        if (!id) return std::unexpected(id.error());
        body["parent_session_id"] = *id;
    }
    if (auto taken = take_lifetime(arguments, body, "session_token_expires_in"); !taken)
        return std::unexpected(std::move(taken).error());
    auto metadata = metadata_patch(arguments);
    if (!metadata) return metadata;
    if (!metadata->is_null()) body["metadata"] = *std::move(metadata);
    return body;
}

base::Status create(Context& context) {
    const auto body = body_from(context);
    if (!body) return std::unexpected(body.error());
    auto file = PrivateFile::named_by(context.arguments, "--save-token");
    if (!file) return std::unexpected(std::move(file).error());
    auto made = context.api.post("/v1/sessions", *body);
    if (!made) return std::unexpected(made.error());
    const auto id = made->value("id", "");
    return hand_over(context, *file, *std::move(made), "session_token", "Opened session " + id + ".");
}

base::Status list(Context& context) {
    Query filters;
    if (const auto name = context.arguments.value("--agent")) {
        const auto id = id_of(context.api, kAgents, *name);
        if (!id) return std::unexpected(id.error());
        filters.add("agent_id", *id);
    }
    const auto page = list_as_asked(context, "/v1/sessions", filters);
    if (!page) return std::unexpected(page.error());
    context.screen.list(
        *page,
        {{"ID", "/id"},
         {"STATUS", "/status"},
         {"AGENT", "/agent/name"},
         {"ENVIRONMENT", "/environment_id"},
         {"TITLE", "/title"},
         {"CREATED", "/created_at"}},
        "No sessions. `claviger session create --agent AGENT --environment ENVIRONMENT` opens one.");
    return {};
}

base::Status get(Context& context) { return get_object(context, kSessions); }
base::Status archive(Context& context) { return archive_object(context, kSessions); }
base::Status erase(Context& context) { return delete_object(context, kSessions); }

base::Status create_token(Context& context) {
    const auto path = path_of(context.api, kSessions, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    json body = json::object();
    if (auto taken = take_lifetime(context.arguments, body, "expires_in"); !taken) return taken;
    auto file = PrivateFile::named_by(context.arguments, "--save-token");
    if (!file) return std::unexpected(std::move(file).error());
    auto made = context.api.post(*path + "/tokens", body);
    if (!made) return std::unexpected(made.error());
    const auto id = made->value("id", "");
    return hand_over(context, *file, *std::move(made), "token", "Made token " + id + ".");
}

base::Status list_tokens(Context& context) {
    const auto path = path_of(context.api, kSessions, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto page = list_as_asked(context, *path + "/tokens");
    if (!page) return std::unexpected(page.error());
    context.screen.list(
        *page,
        {{"ID", "/id"}, {"CREATED", "/created_at"}, {"EXPIRES", "/expires_at"}, {"REVOKED", "/revoked_at"}},
        "This session has no tokens.");
    return {};
}

base::Status revoke_token(Context& context) {
    const auto& words = context.arguments.operands();
    const auto path = path_of(context.api, kSessions, words[0]);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.erase(*path + "/tokens/" + words[1]);
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "Revoked token " + words[1] + "; calls with it are refused from now on.");
    return {};
}

Flag expires_in_flag() {
    return {"--expires-in", "SECONDS", "how long the token works (default: the server's setting)"};
}

Flag save_token_flag() {
    return {"--save-token", "FILE", "write the token into this new file (mode 600) and not on the screen"};
}

}  // namespace

std::vector<Command> session_commands() {
    const Operand session{"SESSION", "id or title of the session"};
    return {
        {"session create",
         "Open a session: one run of an agent in an environment. Its token is all the agent holds.",
         {},
         {{"--agent", "AGENT", "id or name of the agent", false, true},
          {"--environment", "ENVIRONMENT", "id or name of the environment", false, true},
          {"--vault", "VAULT",
           "vault to use, in order of priority (default: all that the environment binds, without archived "
           "ones)",
           true},
          {"--title", "TEXT", "what the run is about"},
          {"--parent", "SESSION", "session that started this one"},
          {"--source", "TEXT", "what started it, such as a job's name"},
          metadata_flag(),
          expires_in_flag(),
          save_token_flag()},
         "claviger session create --agent triage --environment prod --save-token run.token",
         create},
        {"session list",
         "List sessions, newest first.",
         {},
         {{"--agent", "AGENT", "only sessions of this agent"}, limit_flag(), archived_flag()},
         "claviger session list --agent triage",
         list},
        {"session get", "Show one session.", {session}, {}, "claviger session get nightly", get},
        {"session archive",
         "End a session: its tokens stop working, its record stays.",
         {session},
         {},
         "claviger session archive nightly",
         archive},
        {"session delete",
         "Delete a session's record; its log entries stay.",
         {session},
         {yes_flag()},
         "claviger session delete nightly --yes",
         erase},
        {"session token create",
         "Make another token for a session.",
         {session},
         {expires_in_flag(), save_token_flag()},
         "claviger session token create nightly --save-token second.token",
         create_token},
        {"session token list",
         "List a session's tokens, without their text.",
         {session},
         {limit_flag()},
         "claviger session token list nightly",
         list_tokens},
        {"session token revoke",
         "Revoke one token of a session, at once.",
         {session, {"TOKEN_ID", "id of the token, stok_…"}},
         {},
         "claviger session token revoke nightly stok_01Mq8mFyMBdmFHZTRNVSG5QH",
         revoke_token},
    };
}

}  // namespace claviger::admin::cli
