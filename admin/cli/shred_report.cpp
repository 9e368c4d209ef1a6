#include "admin/cli/shred_report.h"

#include "admin/cli/operation_watch.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <ostream>
#include <thread>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kAskEvery{250};
constexpr int kLinesEvery = 40;

base::Status purge(Context& context) {
    const auto purged = context.api.post("/v1/purge");
    if (!purged) return std::unexpected(purged.error());
    context.screen.done(*purged, purged->value("meaning", ""));
    return {};
}

std::string_view word_of(const json& gone) {
    if (gone.is_null()) return "not known to be anywhere. ";
    return gone == true ? "gone. " : "NOT gone. ";
}

std::string text_of(const json& stages) {
    std::string text;
    for (const auto& stage : stages) {
        text += "\n  " + stage.value("where", "") + ": " + std::string(word_of(stage.value("gone", json()))) +
                stage.value("meaning", "");
        if (const auto backups = stage.find("backups"); backups != stage.end() && !backups->empty())
            text += "\n    In backup.dir: " + cell_text(*backups);
    }
    return text;
}

/// The rotation of the vault's key that is still to come to its end; null: none goes on by itself.
json rotation_in(const json& stages) {
    const auto operation = stages[1]["vault_key"].value("operation", json());
    return operation.is_object() && operation.value("state", "") == "running" ? operation : json();
}

/// The answer as it is once the vault's key is gone, or does not get on. Asks the shredding and not the
/// operation, which not everybody who may shred may see.
base::Result<json> to_the_end(Context& context, json answer) {
    auto& stages = answer["stages"];
    if (context.arguments.has("--no-wait")) return answer;
    for (int asked = 1; !rotation_in(stages).is_null(); ++asked) {
        std::this_thread::sleep_for(kAskEvery);
        auto newest = context.api.get("/v1/shreddings/" + answer.value("shredding_id", ""));
        if (!newest) return newest;
        const auto error = stages[1].value("error", json());
        stages = (*newest)["stages"];
        if (error.is_object()) stages[1]["error"] = error;
        if (const auto operation = rotation_in(stages); asked % kLinesEvery == 0 && !operation.is_null())
            context.screen.err() << progress_text(operation) << std::endl;
    }
    return answer;
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, "/v1/shreddings");
    if (!page) return std::unexpected(page.error());
    auto shown = *page;
    for (auto& each : shown["data"])
        for (const auto& stage : each["stages"])
            each[stage.value("where", "")] = stage["gone"].is_null() ? "unknown"
                                             : stage["gone"] == true ? "gone"
                                                                     : "NOT gone";
    context.screen.list(context.screen.json() ? *page : shown,
                        {{"SHREDDING", "/id"},
                         {"OBJECT", "/object_id"},
                         {"AT", "/created_at"},
                         {"STORE", "/store"},
                         {"FILES", "/files"},
                         {"BACKUPS", "/backups"}},
                        "Nothing was shredded.");
    return {};
}

base::Status show(Context& context) {
    const auto shredding = context.api.get("/v1/shreddings/" + context.arguments.operands()[0]);
    if (!shredding) return std::unexpected(shredding.error());
    context.screen.done(*shredding, shredding->value("object_id", "") + ", shredded at " +
                                        shredding->value("created_at", "") + "." +
                                        text_of(shredding->value("stages", json::array())));
    return {};
}

}  // namespace

base::Status shred(Context& context, const std::string& path, const std::string& what, const json& request) {
    auto begun = context.api.post(path + "/shred", request);
    if (!begun) return std::unexpected(begun.error());
    const auto answer = to_the_end(context, std::move(*begun));
    if (!answer) return std::unexpected(answer.error());
    const auto stages = answer->value("stages", json::array());
    context.screen.done(*answer, "Shredded " + what + "." + text_of(stages));
    for (const auto& stage : stages)
        if (stage.contains("error"))
            return base::failure(base::ErrorKind::unavailable, "api.refused",
                                 stage["error"].value("message", ""), stage["error"].value("hint", ""),
                                 json{{"type", "error"}, {"error", stage["error"]}}.dump());
    return {};
}

std::vector<Command> shredding_commands() {
    return {
        {"purge",
         "Rid the store's files of everything that was ever erased or replaced.",
         {},
         {},
         "claviger purge",
         purge},
        {"shredding list",
         "List what was shredded, the newest first, and how far its traces are gone by now.",
         {},
         {limit_flag()},
         "claviger shredding list",
         list},
        {"shredding show",
         "Say where something that was shredded still is by now.",
         {{"SHREDDING", "id of the shredding, as `shredding list` shows it"}},
         {},
         "claviger shredding show shrd_01…",
         show},
    };
}

}  // namespace claviger::admin::cli
