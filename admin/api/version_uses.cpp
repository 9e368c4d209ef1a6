#include "admin/api/version_uses.h"

#include "admin/api/credentials.h"
#include "admin/api/shown.h"
#include "vault/rotation.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>

namespace claviger::admin::api {
namespace {

constexpr std::size_t kUses = 1'000;  // of each version that are read for their sessions

/// `last` is absent for calls that began before the uses that are read.
void note_session(VersionUse& use, const base::SessionId& session, std::optional<base::Time> last) {
    const auto known = std::ranges::find(use.sessions, session, &VersionUse::Session::id);
    if (known == use.sessions.end()) {
        if (use.sessions.size() < VersionUse::kMostSessions) use.sessions.push_back({session, last});
    } else if (!known->last) {
        known->last = last;
    }
}

/// Who used the version, back from its last use, which is known.
base::Status read_sessions(const Call& call, const vault::Credential& credential, std::uint64_t version,
                           VersionUse& use) {
    vault::LogQuery query;
    query.workspace = call.workspace().raw;
    query.credential = credential.id.raw;
    query.kind = vault::EntryKind::use_intent;
    query.to = *use.last + std::chrono::milliseconds(1);
    query.limit = kUses;
    const auto found = call.records.access_log().query(query);
    if (!found) return std::unexpected(found.error());
    for (const auto& [entry, server, tool, method] : found->entries)
        if (entry.credential_version == version && entry.session != base::RawId{})
            note_session(use, base::SessionId{entry.session}, entry.time);
    return {};
}

void note_running(const Call& call, const vault::Credential& credential, std::uint64_t version,
                  VersionUse& use) {
    const auto calls = call.records.running_calls().find(credential.id, version);
    if (!calls) return;
    use.running = calls->running();
    for (const auto& session : calls->lasting()) note_session(use, session, std::nullopt);
}

/// A version as it is shown, before it is known who used it.
struct Version {
    std::uint64_t number = 0;
    std::string_view state;
    base::Time created{};
    base::RawId writer{};
    std::optional<base::Time> verified = {}, left = {}, kept_until = {}, ended = {};
};

std::vector<Version> versions_of(const vault::Catalog& catalog, const vault::Credential& credential) {
    std::vector<Version> versions;
    if (credential.version != 0)
        versions.push_back(
            {credential.version, "current", credential.value_created, credential.value_writer});
    if (const auto rotation = catalog.find<vault::Rotation>(credential.id)) {
        for (const auto& kept : rotation->kept)
            versions.push_back({.number = kept.version,
                                .state = kept.state == vault::ValueState::staged ? "staged" : "previous",
                                .created = kept.created,
                                .writer = kept.writer,
                                .verified = kept.verified,
                                .left = kept.left,
                                .kept_until = kept.kept_until});
        for (const auto& past : rotation->past)
            versions.push_back({.number = past.version,
                                .state = "retired",
                                .created = past.created,
                                .writer = past.writer,
                                .ended = past.ended});
        if (!versions.empty() && versions.front().state == "current")
            versions.front().verified = rotation->verified;
    }
    std::ranges::sort(versions, std::ranges::greater{}, &Version::number);
    return versions;
}

Json shown_version(const Version& version, const VersionUse& use) {
    auto sessions = Json::array();
    for (const auto& session : use.sessions)
        sessions.push_back({{"session_id", session.id.text()}, {"last_used_at", shown(session.last)}});
    const bool has_writer = version.writer != base::RawId{};
    return {{"type", "vault_credential_version"},
            {"version", version.number},
            {"state", version.state},
            {"created_at", shown(version.created)},
            {"created_by", has_writer ? Json(base::ApiKeyId{version.writer}.text()) : Json(nullptr)},
            {"verified_at", shown(version.verified)},
            {"replaced_at", shown(version.left)},
            {"kept_until", shown(version.kept_until)},
            {"ended_at", shown(version.ended)},
            {"last_used_at", shown(use.last)},
            {"running_calls", use.running},
            {"sessions", std::move(sessions)}};
}

}  // namespace

base::Result<VersionUse> use_of_version(const Call& call, const vault::Credential& credential,
                                        std::uint64_t version) {
    VersionUse use;
    note_running(call, credential, version, use);
    const auto uses = call.records.access_log().use_of(credential.id.raw);
    const auto used = std::ranges::find(uses.versions, version, &vault::CredentialUse::Version::number);
    if (used == uses.versions.end()) return use;
    use.last = used->last;
    if (auto read = read_sessions(call, credential, version, use); !read)
        return std::unexpected(std::move(read).error());
    return use;
}

base::Status check_unused(const Call& call, const vault::Credential& credential,
                          const vault::KeptValue& previous) {
    VersionUse use;
    note_running(call, credential, previous.version, use);
    if (use.running == 0) return {};
    auto message = "Version " + std::to_string(previous.version) + " of credential " + credential.id.text() +
                   " is still in use: " + std::to_string(use.running) +
                   (use.running == 1 ? " call runs" : " calls run") + " with it";
    for (const auto& session : use.sessions)
        message += (&session == &use.sessions.front() ? ", streams of session " : ", ") + session.id.text();
    return base::failure(base::ErrorKind::conflict, "credential.version_in_use", std::move(message) + ".",
                         "Wait until these calls have ended, or retire it all the same with \"force\": true, "
                         "which ends streams.");
}

net::awaitable<Answered> list_credential_versions(Call& call) {
    const auto credential = find_credential(call, call.catalog());
    if (!credential) co_return std::unexpected(credential.error());
    auto data = Json::array();
    for (const auto& version : versions_of(call.catalog(), **credential)) {
        const auto use = use_of_version(call, **credential, version.number);
        if (!use) co_return std::unexpected(use.error());
        data.push_back(shown_version(version, *use));
    }
    const auto rotation = call.catalog().find<vault::Rotation>((*credential)->id);
    co_return answer({{"type", "vault_credential_versions"},
                      {"credential_id", call.ids[1]},
                      {"vault_id", call.ids[0]},
                      {"rotate_by", rotation ? shown(rotation->rotate_by) : Json(nullptr)},
                      {"data", std::move(data)},
                      {"next_page", nullptr}});
}

}  // namespace claviger::admin::api
