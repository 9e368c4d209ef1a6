#include "admin/api/agents.h"

#include "admin/api/agent_fields.h"
#include "admin/api/announce.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;

constexpr TextLimits kName{1, 255}, kDescription{0, 2048, Lines::many};
constexpr std::uint64_t kMostVersions = 1'000'000'000;

Json shown_agent(const vault::Agent& agent) {
    auto json = shown_definition(agent);
    json["metadata"] = shown(agent.metadata);
    json["created_at"] = shown(agent.created);
    json["updated_at"] = shown(agent.updated);
    json["archived_at"] = shown(agent.archived);
    return json;
}

void read_definition(Fields& in, vault::Agent& agent, MetadataIs metadata) {
    in.update("description", agent.description, kDescription);
    in.update("system", agent.system, kSystem);
    in.update_metadata("metadata", agent.metadata, metadata);
    update_model(in, agent.model);
    update_servers(in, agent.mcp_servers);
    update_toolsets(in, agent.toolsets);
    if (in.has_value("execution_identity")) in.object("execution_identity").word("type", {"service_account"});
    refuse_loop_fields(in);
    check_servers_and_toolsets(in, in.has("tools") ? "tools" : "mcp_servers", agent);
}

bool same_definition(vault::Agent a, const vault::Agent& b) {
    a.updated = b.updated;
    a.version = b.version;
    return vault::encode_object(a) == vault::encode_object(b);
}

}  // namespace

net::awaitable<Answered> create_agent(Call& call) {
    vault::Agent agent;
    Fields in(call.body);
    agent.name = in.text("name", kName);
    if (!in.has_value("model")) in.refuse("model", "is required, a name or an object with an id");
    read_definition(in, agent, MetadataIs::whole);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    agent.id = crypto::random_id<base::AgentId>();
    agent.workspace = call.workspace();
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        agent.created = agent.updated = change.now();
        if (auto told = announce(change, Action::create, agent); !told) return told;
        return change.store(agent);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_agent(agent));
}

net::awaitable<Answered> list_agents(Call& call) {
    const auto bounds = call.query.times("created_at");
    if (!bounds) co_return std::unexpected(bounds.error());
    const auto page =
        page_of<vault::Agent>(call, {.name = {"agents", call.workspace().raw}, .created = *bounds});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& agent : page->objects) data.push_back(shown_agent(*agent));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_agent(Call& call) {
    const auto newest = find<vault::Agent>(call.catalog(), call.workspace(), call.ids[0]);
    if (!newest) co_return std::unexpected(newest.error());
    const auto version = call.query.number("version");
    if (!version) co_return std::unexpected(version.error());
    if (!*version) co_return answer(shown_agent(**newest));
    const auto agent = call.records.agent_version(**newest, **version);
    if (!agent) co_return std::unexpected(agent.error());
    co_return answer(shown_agent(*agent));
}

net::awaitable<Answered> update_agent(Call& call) {
    vault::Agent updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Agent>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        Fields in(call.body);
        const auto version = in.number_if_any("version", 1, kMostVersions);
        in.update("name", updated.name, kName);
        read_definition(in, updated, MetadataIs::patch);
        if (auto read = call.body.finish(); !read) return read;
        if (updated.archived)
            return base::failure(ErrorKind::invalid_request, "agent.archived",
                                 "Agent " + call.ids[0] + " is archived and cannot be changed.");
        if (version && *version != updated.version)
            return base::failure(
                ErrorKind::conflict, "agent.version_conflict",
                "Agent " + call.ids[0] + " is at version " + std::to_string(updated.version) + ", not " +
                    std::to_string(*version) + ".",
                "Somebody changed it since you read it; read it again and repeat the change.");
        if (same_definition(updated, **found)) return {};
        updated.version += 1;
        updated.updated = change.now();
        if (auto told = announce(change, Action::update, updated); !told) return told;
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_agent(updated));
}

net::awaitable<Answered> archive_agent(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Agent agent;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Agent>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        agent = **found;
        if (agent.archived) return {};
        agent.archived = agent.updated = change.now();
        if (auto told = announce(change, Action::archive, agent); !told) return told;
        return change.store(agent);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_agent(agent));
}

net::awaitable<Answered> list_agent_versions(Call& call) {
    const auto newest = find<vault::Agent>(call.catalog(), call.workspace(), call.ids[0]);
    if (!newest) co_return std::unexpected(newest.error());
    const auto limit = call.query.limit(20, 100);
    if (!limit) co_return std::unexpected(limit.error());
    const ListName list{"agent_versions", (*newest)->id.raw};
    const auto cursor = cursor_of(call, list);
    if (!cursor) co_return std::unexpected(cursor.error());

    auto version =
        *cursor ? (*cursor)->created_seq - 1 : (*newest)->version;  // cursors name the last one shown
    auto data = Json::array();
    std::optional<std::string> next;
    for (; version > 0 && data.size() < *limit; --version) {
        const auto agent = call.records.agent_version(**newest, version);
        if (!agent) co_return std::unexpected(agent.error());
        data.push_back(shown_agent(*agent));
    }
    if (version > 0) next = seal_cursor(call, list, {.created_seq = version + 1});
    co_return page_answer(std::move(data), next);
}

}  // namespace claviger::admin::api
