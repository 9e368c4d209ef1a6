#include "admin/api/sessions.h"

#include "admin/api/agent_fields.h"
#include "admin/api/announce.h"
#include "admin/api/page.h"
#include "admin/api/session_fields.h"
#include "admin/api/session_tokens.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;

constexpr TextLimits kTitle{0, 500}, kSource{1, 255};

/// What the session names exists, is active, and is of the same workspace.
base::Status check_references(const vault::Catalog& catalog, const vault::Session& session) {
    const auto named = [](std::string_view field, base::Error error) {
        error.message = std::string(field) + ": " + error.message;
        return std::unexpected(std::move(error));
    };
    const auto agent = find<vault::Agent>(catalog, session.workspace, session.agent.id.text());
    if (!agent) return named("agent", agent.error());
    if ((*agent)->archived)
        return base::failure(ErrorKind::invalid_request, "agent.archived",
                             "agent: " + (*agent)->id.text() + " is archived and starts no sessions");
    const auto environment = find<vault::Environment>(catalog, session.workspace, session.environment.text());
    if (!environment) return named("environment_id", environment.error());
    if ((*environment)->archived)
        return base::failure(ErrorKind::invalid_request, "environment_archived",
                             "environment_id: " + session.environment.text() + " is archived");
    for (std::size_t i = 0; i < session.vaults.size(); ++i) {
        const auto place = "vault_ids[" + std::to_string(i) + "]";
        const auto vault = find<vault::Vault>(catalog, session.workspace, session.vaults[i].text());
        if (!vault) return named(place, vault.error());
        if ((*vault)->archived)
            return base::failure(ErrorKind::invalid_request, "vault.archived",
                                 place + ": vault " + session.vaults[i].text() + " is archived");
    }
    if (session.parent)
        if (const auto parent = find<vault::Session>(catalog, session.workspace, session.parent->text());
            !parent)
            return named("parent_session_id", parent.error());
    return {};
}

template <class Id>
std::optional<Id> read_id(Fields& in, std::string_view name, std::string_view what) {
    const auto text = in.text_if_any(name, {1, 64});
    if (!text) return std::nullopt;
    const auto id = Id::parse(*text);
    if (!id) in.refuse(name, "is not " + std::string(what));
    return id;
}

/// A filter by id: nothing when absent, an error when it cannot be one.
template <class Id>
base::Result<std::optional<Id>> id_filter(const Query& query, std::string_view name) {
    const auto text = query.text(name);
    if (!text) return std::nullopt;
    const auto id = Id::parse(*text);
    if (!id)
        return base::failure(
            ErrorKind::invalid_request, "query.invalid",
            std::string(name) + ": is not an id that begins with " + std::string(Id::prefix()));
    return id;
}

struct Filters {
    std::optional<base::AgentId> agent;
    std::optional<base::EnvironmentId> environment;
    std::optional<std::uint64_t> version;
    bool idle = true, terminated = false, asked_for_status = false;
    bool nothing = false;  // a filter by what no session here has
    std::string order = "desc";

    bool wants(const vault::Session& session) const {
        if (nothing || (agent && session.agent.id != *agent) ||
            (version && session.agent.version != *version) ||
            (environment && session.environment != *environment))
            return false;
        return !asked_for_status || (session.archived ? terminated : idle);
    }
};

base::Result<Filters> filters_of(const Query& query) {
    const auto refuse = [](std::string message) {
        return base::failure(ErrorKind::invalid_request, "query.invalid", std::move(message));
    };
    Filters filters;
    const auto agent = id_filter<base::AgentId>(query, "agent_id");
    if (!agent) return std::unexpected(agent.error());
    const auto environment = id_filter<base::EnvironmentId>(query, "environment_id");
    if (!environment) return std::unexpected(environment.error());
    const auto version = query.number("agent_version");
    if (!version) return std::unexpected(version.error());
    if (*version && !*agent) return refuse("agent_version: is allowed only together with agent_id");
    filters.agent = *agent;
    filters.environment = *environment;
    filters.version = *version;
    filters.order = query.text("order").value_or("desc");
    if (filters.order != "desc" && filters.order != "asc") return refuse("order: must be asc or desc");
    filters.nothing = query.text("deployment_id") || query.text("memory_store_id");
    const auto statuses = query.texts("statuses");
    filters.asked_for_status = !statuses.empty();
    filters.idle = std::ranges::count(statuses, "idle") != 0;
    filters.terminated = std::ranges::count(statuses, "terminated") != 0;
    for (const auto& status : statuses)
        if (status != "idle" && status != "running" && status != "rescheduling" && status != "terminated")
            return refuse("statuses: must be idle, running, rescheduling or terminated");
    return filters;
}

}  // namespace

net::awaitable<Answered> create_session(Call& call) {
    vault::Session session;
    Fields in(call.body);
    auto agent = read_session_agent(call, in);
    if (!in.has_value("environment_id")) in.refuse("environment_id", "is required, an environment's id");
    const auto environment = read_id<base::EnvironmentId>(in, "environment_id", "an environment id");
    session.vaults = read_vault_ids(in);
    session.title = in.text_if_any("title", kTitle);
    in.update_metadata("metadata", session.metadata, MetadataIs::whole);
    session.parent = read_id<base::SessionId>(in, "parent_session_id", "a session id");
    session.source = in.text_if_any("source", kSource);
    const auto lifetime = read_lifetime(in, "session_token_expires_in", call.settings);
    refuse_session_loop_fields(in);
    if (!agent) co_return std::unexpected(std::move(agent).error());
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    session.id = crypto::random_id<base::SessionId>();
    session.workspace = call.workspace();
    session.agent = std::move(*agent);
    session.environment = *environment;
    auto token = new_session_token(call, session.id, lifetime);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        if (auto fine = check_references(change.catalog(), session); !fine) return fine;
        session.created = session.updated = change.now();
        if (auto told = announce(change, Action::create, session); !told) return told;
        if (auto made = change.store(session); !made) return made;
        return store(change, token);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer(shown(call, session));
    made.shown_once = std::move(token.text);
    made.shown_as = "session_token";
    co_return made;
}

net::awaitable<Answered> list_sessions(Call& call) {
    const auto filters = filters_of(call.query);
    if (!filters) co_return std::unexpected(filters.error());
    const auto bounds = call.query.times("created_at");
    if (!bounds) co_return std::unexpected(bounds.error());
    using Archived = Listing<vault::Session>::Archived;
    const auto page = page_of<vault::Session>(
        call, {.name = {"sessions", call.workspace().raw, filters->order},
               .most = 1000,
               .created = *bounds,
               .archived = filters->terminated ? Archived::shown : Archived::as_asked,
               .wanted = [&](const vault::Session& session) { return filters->wants(session); }});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& session : page->objects) data.push_back(shown(call, *session));
    const auto cursor = [](const std::optional<std::string>& text) {
        return text ? Json(*text) : Json(nullptr);
    };
    co_return answer({{"data", std::move(data)},
                      {"next_page", cursor(page->next)},
                      {"prev_page", cursor(page->previous)}});
}

net::awaitable<Answered> retrieve_session(Call& call) {
    const auto session = find<vault::Session>(call.catalog(), call.workspace(), call.ids[0]);
    if (!session) co_return std::unexpected(session.error());
    co_return answer(shown(call, **session));
}

net::awaitable<Answered> update_session(Call& call) {
    vault::Session updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Session>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        Fields in(call.body);
        in.update("title", updated.title, kTitle);
        in.update_metadata("metadata", updated.metadata, MetadataIs::patch);
        if (in.has("vault_ids"))
            in.refuse("vault_ids", "cannot change; create a new session with the vaults it is to use");
        if (in.has_value("agent")) {
            auto agent = in.object("agent");
            update_servers(agent, updated.agent.mcp_servers);
            update_toolsets(agent, updated.agent.toolsets);
            check_servers_and_toolsets(agent, agent.has("tools") ? "tools" : "mcp_servers", updated.agent);
        }
        in.must_be_empty("budget", "needs an agent loop, which Claviger has not; leave it out");
        if (auto read = call.body.finish(); !read) return read;
        if (updated.archived)
            return base::failure(ErrorKind::invalid_request, "session.archived",
                                 "Session " + call.ids[0] + " is archived and cannot be changed.");
        if (vault::encode_object(updated) == vault::encode_object(**found)) return {};
        updated.updated = change.now();
        if (auto told = announce(change, Action::update, updated); !told) return told;
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(call, updated));
}

net::awaitable<Answered> archive_session(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Session session;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Session>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        session = **found;
        if (session.archived) return {};
        session.archived = session.updated = change.now();
        if (auto told = announce(change, Action::archive, session); !told) return told;
        return change.store(session);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(call, session));
}

net::awaitable<Answered> delete_session(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Session>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        const auto tokens = change.catalog().page<vault::SessionToken>(
            {.scope = (*found)->id.raw, .after = {}, .limit = ~std::size_t{0} >> 1, .wanted = {}});
        for (const auto& token : tokens)
            if (auto erased = change.erase(*token); !erased) return erased;
        if (auto told = announce(change, Action::erase, **found); !told) return told;
        return change.erase(**found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[0]}, {"type", "session_deleted"}});
}

}  // namespace claviger::admin::api
