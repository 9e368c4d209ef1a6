#include "admin/cli/objects.h"
#include "base/clock.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kFollowPause{1};

const std::vector<Column>& columns() {
    static const std::vector<Column> all = {
        {"TIME", "/created_at"}, {"KIND", "/kind"},   {"ACTION", "/action"}, {"DECISION", "/decision"},
        {"AGENT", "/agent"},     {"WHERE", "/where"}, {"STATUS", "/status"}, {"ABOUT", "/about"},
    };
    return all;
}

/// Names where there are any, else ids; a line has no room for everything that --json shows.
json for_people(json entry) {
    const auto first_of = [&entry](std::initializer_list<const char*> pointers) {
        for (const auto* pointer : pointers)
            if (const json::json_pointer at(pointer); entry.contains(at) && entry.at(at).is_string())
                return entry.at(at);
        return json();
    };
    const auto server = first_of({"/server"}), call = first_of({"/tool", "/method"});
    entry["agent"] = first_of({"/agent_name", "/agent_id"});
    if (!server.is_null()) entry["where"] = cell_text(server) + "/" + cell_text(call);
    const auto reason = first_of({"/reason"}),
               subject = first_of({"/credential_name", "/object/id", "/credential_id"});
    entry["about"] = reason.is_null() || subject.is_null()
                         ? (reason.is_null() ? subject : reason)
                         : json(cell_text(subject) + ": " + cell_text(reason));
    return entry;
}

/// Words for ids: --vault and the others take names as well.
base::Status add_ids(Context& context, Query& query) {
    struct Filter {
        std::string_view flag, field;
        Kind kind;
    };
    for (const auto& [flag, field, kind] : {Filter{"--vault", "vault_id", kVaults},
                                            {"--session", "session_id", kSessions},
                                            {"--agent", "agent_id", kAgents},
                                            {"--environment", "environment_id", kEnvironments}}) {
        const auto name = context.arguments.value(flag);
        if (!name) continue;
        const auto id = id_of(context.api, kind, *name);
        if (!id) return std::unexpected(id.error());
        query.add(field, *id);
    }
    return {};
}

base::Status check_time(const Arguments& arguments, std::string_view flag) {
    const auto text = arguments.value(flag);
    if (!text || base::from_rfc3339(*text)) return {};
    return usage(std::string(flag) + " must be a time such as 2026-11-21T10:00:00Z, but is '" + *text + "'.");
}

/// All filters but --from.
base::Result<Query> filters(Context& context) {
    const auto& arguments = context.arguments;
    for (const auto flag : {"--from", "--to"})
        if (auto good = check_time(arguments, flag); !good) return std::unexpected(std::move(good).error());
    Query query;
    if (auto added = add_ids(context, query); !added) return std::unexpected(std::move(added).error());
    for (const auto& [flag, field] : {std::pair{"--credential", "credential_id"},
                                      {"--server", "server"},
                                      {"--tool", "tool"},
                                      {"--decision", "decision"},
                                      {"--kind", "kind"},
                                      {"--to", "created_at[lt]"}})
        query.add(field, arguments.value(flag));
    if (arguments.has("--instance")) query.add("instance", "true");
    return query;
}

/// The newest entry that was shown.
struct Newest {
    std::optional<std::uint64_t> position;
    std::optional<std::string> time;

    void take(const json& entry) {
        position = entry.value("position", std::uint64_t{0});
        time = entry.value("created_at", "");
    }
};

/// Prints what came after `newest`, oldest first.
base::Status print_newer(Context& context, Query query, Newest& newest, std::vector<std::size_t>& widths) {
    query.add("created_at[gte]", newest.time);
    auto page = list_objects(context.api, "/v1/access_log", query, 0);
    if (!page) return std::unexpected(std::move(page).error());
    auto& entries = (*page)["data"];
    std::reverse(entries.begin(), entries.end());
    for (const auto& entry : entries) {
        if (newest.position && entry.value("position", std::uint64_t{0}) <= *newest.position) continue;
        newest.take(entry);
        context.screen.row(context.screen.json() ? entry : for_people(entry), columns(), widths);
    }
    return {};
}

/// Runs until it is interrupted or the server goes away.
base::Status follow(Context& context, const Query& query, Newest newest) {
    std::vector<std::size_t> widths;
    for (;;) {
        if (auto printed = print_newer(context, query, newest, widths); !printed) return printed;
        std::this_thread::sleep_for(kFollowPause);
    }
}

base::Status list(Context& context) {
    const auto query = filters(context);
    if (!query) return std::unexpected(query.error());
    auto first = *query;
    const auto from = context.arguments.value("--from");
    first.add("created_at[gte]", from);
    auto page = list_as_asked(context, "/v1/access_log", first);
    if (!page) return std::unexpected(std::move(page).error());
    auto& entries = (*page)["data"];
    Newest newest{.position = std::nullopt, .time = from};
    if (!entries.empty()) newest.take(entries.front());
    if (!context.screen.json())
        for (auto& entry : entries) entry = for_people(std::move(entry));
    if (!context.arguments.has("--follow")) {
        context.screen.list(*page, columns(), "No entry in the access log matches.");
        return {};
    }
    std::reverse(entries.begin(), entries.end());
    std::vector<std::size_t> none;
    if (!context.screen.json())
        context.screen.list(*page, columns(), "No entry in the access log matches yet.");
    else
        for (const auto& entry : entries) context.screen.row(entry, columns(), none);
    return follow(context, *query, newest);
}

}  // namespace

std::vector<Command> log_commands() {
    return {
        {"log list",
         "List entries of the access log, newest first: every use of a credential, every refusal, every "
         "change.",
         {},
         {{"--vault", "VAULT", "about this vault"},
          {"--credential", "ID", "about this credential"},
          {"--session", "SESSION", "of this session"},
          {"--agent", "AGENT", "of this agent"},
          {"--environment", "ENVIRONMENT", "in this environment"},
          {"--server", "NAME", "calls to the server that agents call NAME"},
          {"--tool", "NAME", "calls of this tool"},
          {"--decision", "WORD", "allowed or denied"},
          {"--kind", "WORD", "use_intent, use_outcome, deny, write, seal, admin, ..."},
          {"--instance", "", "what belongs to no workspace instead: unsealing, restores (role admin)"},
          {"--from", "TIME", "from this time on, such as 2026-11-21T10:00:00Z"},
          {"--to", "TIME", "before this time"},
          limit_flag(),
          {"--follow", "", "then go on showing new entries, oldest first, until interrupted"}},
         "claviger log list --vault alice --decision denied --limit 20",
         list},
    };
}

}  // namespace claviger::admin::cli
