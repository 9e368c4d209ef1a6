#include "admin/api/access_log.h"

#include "admin/api/page.h"
#include "admin/api/shown.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include <arpa/inet.h>

namespace claviger::admin::api {
namespace {

using base::RawId;
using vault::EntryKind;
using vault::ObjectKind;
using vault::Verdict;

template <class Id>
Json id_text(const RawId& raw) {
    return raw == RawId{} ? Json(nullptr) : Json(Id{raw}.text());
}

std::string hex(const RawId& bytes) {
    return base::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Json text_of(ObjectKind kind, const RawId& id) {
    switch (kind) {
        case ObjectKind::none:
            return nullptr;
        case ObjectKind::instance:
        case ObjectKind::seal_slot:
            return hex(id);
        case ObjectKind::workspace:
            return id_text<base::WorkspaceId>(id);
        case ObjectKind::api_key:
            return id_text<base::ApiKeyId>(id);
        case ObjectKind::vault:
            return id_text<base::VaultId>(id);
        case ObjectKind::credential:
            return id_text<base::CredentialId>(id);
        case ObjectKind::environment:
            return id_text<base::EnvironmentId>(id);
        case ObjectKind::agent:
            return id_text<base::AgentId>(id);
        case ObjectKind::session:
            return id_text<base::SessionId>(id);
        case ObjectKind::session_token:
            return id_text<base::SessionTokenId>(id);
        case ObjectKind::connect_link:
            return id_text<base::ConnectLinkId>(id);
        case ObjectKind::oauth_client:
            return id_text<base::OauthClientId>(id);
        case ObjectKind::webhook_endpoint:
            return id_text<base::WebhookEndpointId>(id);
        case ObjectKind::operation:
            return id_text<base::OperationId>(id);
    }
    return nullptr;
}

Json actor_of(const vault::LogEntry& entry) {
    Json id = nullptr;
    if (entry.actor == vault::ActorKind::api_key) id = id_text<base::ApiKeyId>(entry.actor_id);
    if (entry.actor == vault::ActorKind::session) id = id_text<base::SessionId>(entry.actor_id);
    return {{"type", vault::name_of(entry.actor)}, {"id", std::move(id)}};
}

/// The address in its usual spelling.
Json source_of(const std::array<unsigned char, 16>& source) {
    if (source == std::array<unsigned char, 16>{}) return nullptr;
    constexpr std::array<unsigned char, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN] = {};
    if (std::ranges::equal(std::span(source).first(12), mapped)) {
        inet_ntop(AF_INET, source.data() + 12, text, sizeof text);
    } else {
        inet_ntop(AF_INET6, source.data(), text, sizeof text);
    }
    return text;
}

/// A name the log never learnt shows as its fingerprint.
Json name_of(const vault::Fingerprint& fingerprint, const std::string& name) {
    if (fingerprint == vault::Fingerprint{}) return nullptr;
    return name.empty() ? "fingerprint:" + hex(fingerprint) : name;
}

/// What the object is called now; nothing when it is gone.
template <class T, class Name>
Json name_in(const vault::Catalog& catalog, const RawId& raw, Name name) {
    if (raw == RawId{}) return nullptr;
    const auto object = catalog.find<T>(decltype(T::id){raw});
    return object ? name(*object) : Json(nullptr);
}

Json shown_entry(const vault::Catalog& catalog, const vault::NamedEntry& named) {
    const auto& entry = named.entry;
    const auto verdict = vault::name_of(entry.verdict);
    const auto reason = vault::reason_code(entry.reason);
    return {
        {"type", "access_log_entry"},
        {"position", entry.position},
        {"created_at", shown(entry.time)},
        {"kind", vault::name_of(entry.kind)},
        {"action", vault::name_of(entry.action)},
        {"decision", verdict.empty() ? Json(nullptr) : Json(verdict)},
        {"reason", reason.empty() ? Json(nullptr) : Json(reason)},
        {"actor", actor_of(entry)},
        {"source", source_of(entry.source)},
        {"workspace_id", id_text<base::WorkspaceId>(entry.workspace)},
        {"environment_id", id_text<base::EnvironmentId>(entry.environment)},
        {"environment_name",
         name_in<vault::Environment>(catalog, entry.environment,
                                     [](const auto& object) { return Json(object.name); })},
        {"agent_id", id_text<base::AgentId>(entry.agent)},
        {"agent_name",
         name_in<vault::Agent>(catalog, entry.agent, [](const auto& object) { return Json(object.name); })},
        {"session_id", id_text<base::SessionId>(entry.session)},
        {"session_title", name_in<vault::Session>(catalog, entry.session,
                                                  [](const auto& object) { return shown(object.title); })},
        {"vault_id", id_text<base::VaultId>(entry.vault)},
        {"vault_name", name_in<vault::Vault>(catalog, entry.vault,
                                             [](const auto& object) { return Json(object.display_name); })},
        {"credential_id", id_text<base::CredentialId>(entry.credential)},
        {"credential_name",
         name_in<vault::Credential>(catalog, entry.credential,
                                    [](const auto& object) { return shown(object.display_name); })},
        {"credential_version",
         entry.credential_version == 0 ? Json(nullptr) : Json(entry.credential_version)},
        {"object", entry.object == ObjectKind::none ? Json(nullptr)
                                                    : Json{{"type", vault::name_of(entry.object)},
                                                           {"id", text_of(entry.object, entry.object_id)}}},
        {"server", name_of(entry.server, named.server)},
        {"method", name_of(entry.method, named.method)},
        {"tool", name_of(entry.tool, named.tool)},
        {"intent_position", entry.intent == 0 ? Json(nullptr) : Json(entry.intent - 1)},
        {"status", entry.status == 0 ? Json(nullptr) : Json(entry.status)},
        {"request_bytes", entry.request_bytes},
        {"response_bytes", entry.response_bytes},
        {"duration_ms", static_cast<double>(entry.duration_us) / 1000},
        {"redactions", entry.redactions},
        {"request_digest",
         entry.request_digest == RawId{} ? Json(nullptr) : Json(hex(entry.request_digest))}};
}

std::unexpected<base::Error> refuse(std::string message) {
    return base::failure(base::ErrorKind::invalid_request, "query.invalid", std::move(message));
}

template <class Id>
base::Status read_id(const Query& query, std::string_view name, std::optional<RawId>& out) {
    const auto text = query.text(name);
    if (!text) return {};
    const auto id = Id::parse(*text);
    if (!id)
        return refuse(std::string(name) + ": is not an id that begins with " + std::string(Id::prefix()));
    out = id->raw;
    return {};
}

base::Status read_words(const Query& query, vault::LogQuery& log) {
    if (const auto decision = query.text("decision")) {
        for (const auto verdict : {Verdict::allowed, Verdict::denied})
            if (vault::name_of(verdict) == *decision) log.verdict = verdict;
        if (!log.verdict) return refuse("decision: must be allowed or denied");
    }
    if (const auto kind = query.text("kind")) {
        std::string known;
        for (int number = 1; number <= static_cast<int>(EntryKind::sink); ++number) {
            const auto candidate = static_cast<EntryKind>(number);
            if (vault::name_of(candidate) == *kind) log.kind = candidate;
            known += (known.empty() ? "" : ", ") + std::string(vault::name_of(candidate));
        }
        if (!log.kind) return refuse("kind: must be one of " + known);
    }
    return {};
}

base::Result<vault::LogQuery> log_query(const Call& call) {
    vault::LogQuery log;
    log.workspace = call.workspace().raw;
    const auto& query = call.query;
    if (auto read = read_id<base::VaultId>(query, "vault_id", log.vault); !read)
        return std::unexpected(read.error());
    if (auto read = read_id<base::CredentialId>(query, "credential_id", log.credential); !read)
        return std::unexpected(read.error());
    if (auto read = read_id<base::SessionId>(query, "session_id", log.session); !read)
        return std::unexpected(read.error());
    if (auto read = read_id<base::AgentId>(query, "agent_id", log.agent); !read)
        return std::unexpected(read.error());
    if (auto read = read_id<base::EnvironmentId>(query, "environment_id", log.environment); !read)
        return std::unexpected(read.error());
    if (auto read = read_words(query, log); !read) return std::unexpected(read.error());
    log.server = query.text("server");
    log.tool = query.text("tool");
    const auto bounds = query.times("created_at");
    if (!bounds) return std::unexpected(bounds.error());
    log.from = bounds->from;
    log.to = bounds->to;
    const auto of_instance = query.flag("instance");
    if (!of_instance) return std::unexpected(of_instance.error());
    if (*of_instance && call.key.role != vault::Role::admin)
        return base::failure(base::ErrorKind::denied, "api_key.role",
                             "instance: only keys with the role 'admin' see what is of no workspace.",
                             "Leave it out, or use another key.");
    if (*of_instance) log.scope = vault::LogQuery::Scope::all_workspaces;  // others are left out of the page
    const auto limit = query.limit(20, 1000);
    if (!limit) return std::unexpected(limit.error());
    log.limit = *limit;
    return log;
}

}  // namespace

net::awaitable<Answered> read_access_log(Call& call) {
    auto query = log_query(call);
    if (!query) co_return std::unexpected(query.error());
    const bool of_instance = query->scope == vault::LogQuery::Scope::all_workspaces;
    const ListName list{of_instance ? "access_log_of_instance" : "access_log", call.workspace().raw};
    const auto cursor = cursor_of(call, list);
    if (!cursor) co_return std::unexpected(cursor.error());
    if (*cursor) query->below = (*cursor)->created_seq;

    const auto page = call.records.access_log().query(*query);
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& entry : page->entries)
        if (!of_instance || entry.entry.workspace == RawId{})
            data.push_back(shown_entry(call.catalog(), entry));
    std::optional<std::string> next;
    if (page->next_below) next = seal_cursor(call, list, {.created_seq = *page->next_below});
    co_return page_answer(std::move(data), next);
}

}  // namespace claviger::admin::api
