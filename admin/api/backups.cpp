#include "admin/api/backups.h"

#include "admin/api/beside.h"
#include "admin/api/fields.h"
#include "admin/api/shown.h"
#include "vault/backup_room.h"
#include "vault/fence.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::BackupRoom;

Json shown_head(const vault::LogHead& head) {
    return {{"commit_seq", head.commit_seq},
            {"log_size", head.size},
            {"log_root", base::to_hex(crypto::view(head.root))}};
}

Json shown_backup(const std::string& name, const vault::BackupHeader& header) {
    Json json{{"type", "backup"},        {"name", name},
              {"state", "done"},         {"made_at", shown(header.made)},
              {"bytes", header.bytes()}, {"files", header.files.size()}};
    json.update(shown_head(header.head));
    return json;
}

Json shown_run(const BackupRoom::Run& run) {
    if (run.header) return shown_backup(run.name, *run.header);
    Json json{{"type", "backup"},
              {"name", run.name},
              {"state", run.error ? "failed" : "running"},
              {"started_at", shown(run.started)},
              {"bytes_done", run.bytes_done},
              {"bytes_total", run.bytes_total}};
    if (run.error)
        json["error"] = {
            {"type", run.error->code}, {"message", run.error->message}, {"hint", run.error->hint}};
    return json;
}

base::Result<BackupRoom*> room_of(const Call& call) {
    if (call.settings.backups != nullptr) return call.settings.backups;
    return base::failure(ErrorKind::invalid_request, "backup.not_configured",
                         "This server has no folder for backups.",
                         "Set backup.dir in its config, to a folder on another disk, and restart it.");
}

/// Names of backups from before the restore that hold more than the one that was restored.
base::Result<Json> newer_backups(Call& call, const vault::Fence& fence) {
    if (call.settings.backups == nullptr) return Json();
    auto found = call.settings.backups->list();
    if (!found) return std::unexpected(std::move(found).error());
    auto names = Json::array();
    for (const auto& [name, header] :
         vault::longer_than(std::move(*found), call.records.keys().instance(), fence.backup.size))
        if (header.made <= fence.fenced) names.push_back(name);
    return names;
}

Json not_fenced() { return {{"type", "fence"}, {"fenced", false}}; }

Json shown_fence(const vault::Fence& fence, Json newer_backups) {
    Json json{{"type", "fence"},
              {"fenced", true},
              {"fenced_at", shown(fence.fenced)},
              {"backup_made_at", shown(fence.made)},
              {"backup", shown_head(fence.backup)},
              {"session_tokens_voided", fence.voided},
              {"newer_elsewhere", fence.pinned == 0 ? Json() : Json(fence.lost())},
              {"newer_backups", std::move(newer_backups)}};
    json["meaning"] = fence.pinned == 0
                          ? "Nothing says what was written after the backup: the access log was not pinned."
                      : fence.lost() == 0 ? "The backup holds everything that was pinned."
                                          : std::to_string(fence.lost()) +
                                                " entries of the access log, and what they did, were "
                                                "written after the backup and are not here.";
    return json;
}

}  // namespace

net::awaitable<Answered> create_backup(Call& call) {
    Fields in(call.body);
    const auto given = in.text_if_any("name", {1, 64});
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto room = room_of(call);
    if (!room) co_return std::unexpected(room.error());
    auto name = given.value_or("claviger-" + base::to_rfc3339(call.records.clock().now()));
    if (!given) std::ranges::replace(name, ':', '-');

    // On record before a byte is copied: a backup is everything that the store holds.
    const auto noted = co_await change(call, [&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::admin, vault::Action::back_up, vault::ObjectKind::instance,
                    change.keys().instance());
        return (*room)->may_start(name);
    });
    if (!noted) co_return std::unexpected(noted.error());
    if (auto started = (*room)->start(name, call.records); !started)
        co_return std::unexpected(std::move(started).error());
    co_return answer(shown_run(*(*room)->newest()));
}

net::awaitable<Answered> list_backups(Call& call) {
    const auto room = room_of(call);
    if (!room) co_return std::unexpected(room.error());
    const auto found =
        co_await beside<base::Result<std::vector<vault::FoundBackup>>>(call, [&] { return (*room)->list(); });
    if (!found) co_return std::unexpected(found.error());
    auto data = Json::array();
    for (const auto& [name, header] : *found) data.push_back(shown_backup(name, header));
    const auto newest = (*room)->newest();
    co_return answer({{"data", std::move(data)}, {"newest", newest ? shown_run(*newest) : Json()}});
}

net::awaitable<Answered> retrieve_fence(Call& call) {
    const auto fence = vault::fence_of(call.records);
    if (!fence) co_return std::unexpected(fence.error());
    if (!*fence) co_return answer(not_fenced());
    auto newer = co_await beside<base::Result<Json>>(call, [&] { return newer_backups(call, **fence); });
    if (!newer) co_return std::unexpected(std::move(newer).error());
    co_return answer(shown_fence(**fence, std::move(*newer)));
}

net::awaitable<Answered> lift_fence(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto lifted =
        co_await change(call, [](vault::Change& change) { return vault::lift_fence(change); });
    if (!lifted) co_return std::unexpected(lifted.error());
    if (call.settings.begin_service) {
        auto begun = co_await beside<base::Status>(call, [&] { return call.settings.begin_service(); });
        if (!begun) co_return std::unexpected(std::move(begun).error());
    }
    co_return answer(not_fenced());
}

}  // namespace claviger::admin::api
