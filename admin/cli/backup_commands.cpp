#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <iostream>
#include <thread>

#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kBackups = "/v1/backups";
constexpr std::chrono::milliseconds kAskAgain{200};

/// How far it is, on a terminal.
void show_progress(Context& context, const json& run) {
    if (context.screen.json() || ::isatty(STDERR_FILENO) != 1) return;
    const auto total = run.value("bytes_total", std::uint64_t{0});
    const auto done = run.value("bytes_done", std::uint64_t{0});
    context.screen.err() << "\r\x1b[Kbacking up";
    if (total != 0) context.screen.err() << ' ' << done * 100 / total << " %";
    context.screen.err() << std::flush;
}

base::Status create(Context& context) {
    json body = json::object();
    if (!context.arguments.operands().empty()) body["name"] = context.arguments.operands()[0];
    auto run = context.api.post(std::string(kBackups), body);
    if (!run) return std::unexpected(std::move(run).error());
    const auto name = run->value("name", "");
    while (run->value("state", "") == "running") {
        show_progress(context, *run);
        std::this_thread::sleep_for(kAskAgain);
        auto all = context.api.get(std::string(kBackups));
        if (!all) return std::unexpected(std::move(all).error());
        *run = all->value("newest", json());
        if (!run->is_object() || run->value("name", "") != name)
            return base::failure(base::ErrorKind::unavailable, "api.lost",
                                 "The server no longer knows of the backup: it was restarted.",
                                 "Look at `claviger backup list`, and start it again if it is not there.");
    }
    if (!context.screen.json() && ::isatty(STDERR_FILENO) == 1)
        context.screen.err() << "\r\x1b[K" << std::flush;
    if (run->value("state", "") == "failed") {
        const auto& error = run->at("error");
        return base::failure(base::ErrorKind::unavailable, "api.refused", error.value("message", ""),
                             error.value("hint", ""), json{{"type", "error"}, {"error", error}}.dump());
    }
    context.screen.done(*run,
                        "Made backup '" + name + "': " + cell_text(run->at("log_size")) +
                            " entries of the access log, root " + run->value("log_root", "") +
                            ".\nCopy its folder to another machine, and never next to what opens the store.");
    return {};
}

base::Status list(Context& context) {
    const auto all = context.api.get(std::string(kBackups));
    if (!all) return std::unexpected(all.error());
    context.screen.list(*all,
                        {{"NAME", "/name"},
                         {"MADE", "/made_at"},
                         {"BYTES", "/bytes"},
                         {"ENTRIES", "/log_size"},
                         {"ROOT", "/log_root"}},
                        "No backups yet. `claviger backup create` makes one.");
    return {};
}

/// A line for each backup that holds more than the restored one; nothing without a folder of backups.
std::string newer_backups(const nlohmann::json& fence) {
    std::string lines;
    const auto newer = fence.find("newer_backups");
    if (newer == fence.end() || !newer->is_array()) return lines;
    for (const auto& name : *newer)
        lines += "backup.dir has a newer backup of this store: " + cell_text(name) + ".\n";
    return lines;
}

base::Status fence(Context& context) {
    const auto fence = context.api.get("/v1/fence");
    if (!fence) return std::unexpected(fence.error());
    context.screen.done(
        *fence, !fence->value("fenced", false)
                    ? "The store is not fenced: it serves agents."
                    : "The store was restored from a backup of " + fence->value("backup_made_at", "") +
                          " with " + cell_text(fence->at("backup").at("log_size")) + " entries. " +
                          fence->value("meaning", "") + "\n" + newer_backups(*fence) +
                          cell_text(fence->at("session_tokens_voided")) +
                          " session tokens are void. Agents are served after `claviger backup release`.");
    return {};
}

base::Status release(Context& context) {
    if (!context.arguments.has("--yes"))
        return usage(
            "Releasing serves agents and refreshes grants from this store; its twin must be gone for good.",
            "Look at `claviger backup fence`, stop every other server of this store, then add --yes.");
    const auto lifted = context.api.post("/v1/fence/lift");
    if (!lifted) return std::unexpected(lifted.error());
    context.screen.done(*lifted, "Released: agents are served. Give their sessions new tokens.");
    return {};
}

}  // namespace

std::vector<Command> backup_commands() {
    return {
        {"backup create",
         "Make a backup of the whole store into the server's backup.dir, while it serves.",
         {{"NAME", "what to call it (default: claviger- and the time)", Operand::Count::optional}},
         {},
         "claviger backup create friday",
         create},
        {"backup list", "List the backups in the server's backup.dir.", {}, {}, "claviger backup list", list},
        {"backup fence",
         "Say whether the store was restored and waits for its release, and what it lacks.",
         {},
         {},
         "claviger backup fence",
         fence},
        {"backup release",
         "Serve agents again from a restored store.",
         {},
         {yes_flag()},
         "claviger backup release --yes",
         release},
    };
}

}  // namespace claviger::admin::cli
