#include "admin/api/session_fields.h"

#include "admin/api/agent_fields.h"
#include "admin/api/routes.h"
#include "admin/api/shown.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

constexpr std::size_t kVaults = 50;

base::Result<vault::Agent> agent_at(const Call& call, std::string_view id,
                                    std::optional<std::uint64_t> version) {
    auto newest = find<vault::Agent>(call.catalog(), call.workspace(), id);
    if (!newest) {
        newest.error().message = "agent: " + newest.error().message;
        return std::unexpected(std::move(newest).error());
    }
    if ((*newest)->archived)
        return base::failure(base::ErrorKind::invalid_request, "agent.archived",
                             "agent: " + (*newest)->id.text() + " is archived and starts no sessions");
    if (!version) return **newest;
    auto agent = call.records.agent_version(**newest, *version);
    if (!agent) agent.error().message = "agent.version: " + agent.error().message;
    return agent;
}

std::int64_t age_seconds(const Call& call, const vault::Session& session) {
    const auto end = session.archived.value_or(call.records.clock().now());
    return std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::seconds>(end - session.created).count());
}

}  // namespace

base::Result<vault::Agent> read_session_agent(const Call& call, Fields& in) {
    if (in.is_text("agent")) return agent_at(call, in.text("agent", {1, 64}), std::nullopt);
    if (!in.has_value("agent")) in.refuse("agent", "is required, an agent's id or an object");
    auto given = in.object("agent");
    if (!in.is_object("agent")) return vault::Agent{};

    const bool overrides = given.word("type", {"agent", "agent_with_overrides"}) == 1;
    const auto id = given.text("id", {1, 64});
    const auto version = given.number_if_any("version", 1, 1'000'000'000);
    if (auto agent = id.empty() ? base::Result<vault::Agent>(vault::Agent{}) : agent_at(call, id, version);
        !agent || !overrides) {
        return agent;
    } else {
        // Who may only run agents must not decide what they may reach and do.
        if (!may(call.key.role, Access::write_objects) && (given.has("mcp_servers") || given.has("tools")))
            return base::failure(base::ErrorKind::denied, "api_key.role",
                                 "agent: this API key has the role '" +
                                     std::string(vault::name_of(call.key.role)) +
                                     "'; overriding an agent's mcp_servers or tools needs " +
                                     roles_with(Access::write_objects) + ".",
                                 "Leave them out, or have an operator change the agent.");
        update_servers(given, agent->mcp_servers);
        update_toolsets(given, agent->toolsets);
        update_model(given, agent->model);
        given.update("system", agent->system, kSystem);
        refuse_loop_fields(given);
        check_servers_and_toolsets(given, given.has("tools") ? "tools" : "mcp_servers", *agent);
        return agent;
    }
}

std::vector<base::VaultId> read_vault_ids(Fields& in) {
    std::vector<base::VaultId> vaults;
    const auto ids = in.texts("vault_ids", kVaults, {1, 64});
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto place = "vault_ids[" + std::to_string(i) + "]";
        const auto id = base::VaultId::parse(ids[i]);
        if (!id)
            in.refuse(place, "is not a vault id");
        else if (std::ranges::find(vaults, *id) != vaults.end())
            in.refuse(place, "names the same vault twice");
        else
            vaults.push_back(*id);
    }
    return vaults;
}

void refuse_session_loop_fields(Fields& in) {
    constexpr std::string_view why = "needs an agent loop, which Claviger has not; leave it out";
    for (const auto* name : {"resources", "initial_events", "budget"}) in.must_be_empty(name, why);
}

Json shown(const Call& call, const vault::Session& session) {
    auto vaults = Json::array();
    for (const auto& id : session.vaults) vaults.push_back(id.text());
    auto endpoints = Json::object();
    for (const auto& server : session.agent.mcp_servers)
        endpoints[server.name] = call.agents_url + "/mcp/" + percent_encoded(server.name);
    return {{"id", session.id.text()},
            {"type", "session"},
            {"status", session.archived ? "terminated" : "idle"},
            {"title", shown(session.title)},
            {"metadata", shown(session.metadata)},
            {"agent", shown_definition(session.agent)},
            {"environment_id", session.environment.text()},
            {"vault_ids", std::move(vaults)},
            {"deployment_id", nullptr},
            {"resources", Json::array()},
            {"outcome_evaluations", Json::array()},
            {"budget", nullptr},
            {"stats", {{"active_seconds", 0}, {"duration_seconds", age_seconds(call, session)}}},
            {"usage", {{"input_tokens", 0}, {"output_tokens", 0}, {"cache_read_input_tokens", 0}}},
            {"parent_session_id", session.parent ? Json(session.parent->text()) : Json(nullptr)},
            {"source", shown(session.source)},
            {"mcp_endpoints", std::move(endpoints)},
            {"created_at", shown(session.created)},
            {"updated_at", shown(session.updated)},
            {"archived_at", shown(session.archived)}};
}

}  // namespace claviger::admin::api
