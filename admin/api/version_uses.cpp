#include "admin/api/version_uses.h"

#include "admin/api/credentials.h"
#include "admin/api/shown.h"
#include "vault/rotation.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace claviger::admin::api {
namespace {

constexpr std::size_t kEntries = 1'000;  // of one page
constexpr int kMostPages = 4;

/// Adds one entry; entries come newest first, so an outcome is seen before its intent. What began before
/// `opened` is over, with or without an outcome.
void count(const vault::LogEntry& entry, base::Time opened, std::set<std::uint64_t>& ended,
           VersionUses& uses) {
    if (entry.kind == vault::EntryKind::use_outcome && entry.intent != 0) ended.insert(entry.intent - 1);
    if (entry.kind != vault::EntryKind::use_intent || entry.credential_version == 0) return;
    auto& use = uses.by_version[entry.credential_version];
    if (!use.last) use.last = entry.time;
    if (ended.erase(entry.position) == 0 && entry.time >= opened) ++use.running;
    if (entry.session == base::RawId{} || use.sessions.size() == VersionUse::kMostSessions) return;
    const base::SessionId session{entry.session};
    if (std::ranges::find(use.sessions, session, &VersionUse::Session::id) == use.sessions.end())
        use.sessions.push_back({session, entry.time});
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

Json shown_version(const Version& version, const VersionUses& uses) {
    const auto found = uses.by_version.find(version.number);
    const auto use = found == uses.by_version.end() ? VersionUse{} : found->second;
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

base::Result<VersionUses> uses_of_versions(const Call& call, const vault::Credential& credential) {
    VersionUses uses;
    std::set<std::uint64_t> ended;
    vault::LogQuery query;
    query.workspace = call.workspace().raw;
    query.credential = credential.id.raw;
    query.limit = kEntries;
    for (int page = 0; page < kMostPages; ++page) {
        const auto found = call.records.access_log().query(query);
        if (!found) return std::unexpected(found.error());
        for (const auto& named : found->entries) {
            count(named.entry, call.records.opened(), ended, uses);
            uses.since = named.entry.time;
        }
        if (!found->next_below) {
            uses.since.reset();
            break;
        }
        query.below = found->next_below;
    }
    return uses;
}

base::Status check_unused(const vault::Credential& credential, const vault::KeptValue& previous,
                          const VersionUses& uses) {
    const auto found = uses.by_version.find(previous.version);
    if (found == uses.by_version.end()) return {};
    const auto& use = found->second;
    const bool used_since = use.last && previous.left && *use.last > *previous.left;
    if (use.running == 0 && !used_since) return {};
    auto message = "Version " + std::to_string(previous.version) + " of credential " + credential.id.text() +
                   " is still in use: ";
    if (use.running != 0)
        message +=
            std::to_string(use.running) + (use.running == 1 ? " call runs" : " calls run") + " with it";
    if (used_since)
        message += std::string(use.running != 0 ? ", and " : "") + "it was last used at " +
                   base::to_rfc3339(*use.last) + ", after it was replaced";
    if (!use.sessions.empty()) message += ", by session " + use.sessions.front().id.text();
    return base::failure(
        base::ErrorKind::conflict, "credential.version_in_use", std::move(message) + ".",
        "Wait until these calls have ended, or retire it all the same with \"force\": true.");
}

net::awaitable<Answered> list_credential_versions(Call& call) {
    const auto credential = find_credential(call, call.catalog());
    if (!credential) co_return std::unexpected(credential.error());
    const auto uses = uses_of_versions(call, **credential);
    if (!uses) co_return std::unexpected(uses.error());
    auto data = Json::array();
    for (const auto& version : versions_of(call.catalog(), **credential))
        data.push_back(shown_version(version, *uses));
    const auto rotation = call.catalog().find<vault::Rotation>((*credential)->id);
    co_return answer({{"type", "vault_credential_versions"},
                      {"credential_id", call.ids[1]},
                      {"vault_id", call.ids[0]},
                      {"rotate_by", rotation ? shown(rotation->rotate_by) : Json(nullptr)},
                      {"uses_since", shown(uses->since)},
                      {"data", std::move(data)},
                      {"next_page", nullptr}});
}

}  // namespace claviger::admin::api
