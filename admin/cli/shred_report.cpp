#include "admin/cli/shred_report.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

base::Status purge(Context& context) {
    const auto purged = context.api.post("/v1/purge");
    if (!purged) return std::unexpected(purged.error());
    context.screen.done(*purged, purged->value("meaning", ""));
    return {};
}

}  // namespace

base::Status shred(Context& context, const std::string& path, const std::string& what) {
    const auto answer = context.api.post(path + "/shred");
    if (!answer) return std::unexpected(answer.error());
    const auto stages = answer->value("stages", json::array());
    std::string text = "Shredded " + what + ".";
    for (const auto& stage : stages) {
        text += "\n  " + stage.value("where", "") + ": " +
                (stage.value("gone", false) ? "gone. " : "NOT gone. ") + stage.value("meaning", "");
        if (const auto backups = stage.find("backups"); backups != stage.end() && !backups->empty())
            text += "\n    In backup.dir: " + cell_text(*backups);
    }
    context.screen.done(*answer, text);
    for (const auto& stage : stages)
        if (stage.contains("error"))
            return base::failure(base::ErrorKind::unavailable, "api.refused",
                                 stage["error"].value("message", ""), stage["error"].value("hint", ""),
                                 json{{"type", "error"}, {"error", stage["error"]}}.dump());
    return {};
}

std::vector<Command> purge_commands() {
    return {
        {"purge",
         "Rid the store's files of everything that was ever erased or replaced.",
         {},
         {},
         "claviger purge",
         purge},
    };
}

}  // namespace claviger::admin::cli
