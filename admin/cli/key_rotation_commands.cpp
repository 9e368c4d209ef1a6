#include "admin/cli/operation_watch.h"
#include "admin/cli/seal_opening.h"
#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

#include <map>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kOperations = "/v1/operations";

std::vector<Column> operation_columns() {
    return {{"ID", "/id"},
            {"KIND", "/kind"},
            {"STATE", "/state"},
            {"STEP", "/step"},
            {"FROM", "/from"},
            {"TO", "/to"},
            {"DONE", "/progress/done"},
            {"OF", "/progress/total"},
            {"BEGUN", "/created_at"},
            {"FINISHED", "/finished_at"}};
}

/// What seals the new root key into slots that only people can open. Those of the server's own key files are
/// not asked for.
base::Result<json> openings_of(Context& context, SecretDocument& secrets) {
    auto openings = json::array();
    std::map<std::string, std::string> files;
    for (const auto& given : context.arguments.values("--with")) {
        const auto pair = cut_pair("--with", given);
        if (!pair) return std::unexpected(pair.error());
        files[pair->first] = pair->second;
    }
    const bool ask = context.arguments.has("--ask-passphrase");
    if (files.empty() && !ask) return openings;

    const auto seal = context.api.get("/v1/seal/slots");
    if (!seal) return std::unexpected(seal.error());
    for (const auto& [name, file] : files)
        if (const auto slot = slot_called(*seal, name); !slot) return std::unexpected(slot.error());
    for (const auto& slot : seal->value("slots", json::array())) {
        const auto parameters = parameters_of(slot);
        if (!parameters) return std::unexpected(parameters.error());
        const auto name = slot.value("name", "");
        const auto file = files.contains(name) ? files.find(name) : files.find(slot.value("id", ""));
        base::Result<crypto::Secret> content = crypto::Secret::random(1);
        if (parameters->kind == crypto::SlotKind::key_file && file != files.end())
            content = read_key_file(file->second, context.screen.err());
        else if (parameters->kind == crypto::SlotKind::passphrase && ask)
            content =
                read_secret(context.input, "Passphrase of '" + name + "' (not shown)", context.screen.err());
        else if (file != files.end())
            return usage(
                "'" + name + "' is no slot for a key file.",
                "Slots for shares, recipients and tokens follow by themselves; passphrases are asked "
                "for with --ask-passphrase.");
        else
            continue;
        if (!content) return std::unexpected(content.error());
        const auto key = crypto::slot_key(*parameters, *content);
        if (!key) return std::unexpected(key.error());
        openings.push_back({{"slot", slot.value("id", "")}, {"opening_key", *secrets.place(text_of(*key))}});
    }
    return openings;
}

base::Result<json> begin_rotation(Context& context) {
    json request = json::object();
    if (context.arguments.has("--paused")) request["paused"] = true;
    if (const auto vault = context.arguments.value("--vault")) {
        for (const auto* flag : {"--with", "--ask-passphrase", "--retire-after"})
            if (context.arguments.has(flag))
                return usage(std::string(flag) + " is for the root key, not for a vault's.");
        const auto path = path_of(context.api, kVaults, *vault);
        if (!path) return std::unexpected(path.error());
        return context.api.post(*path + "/rotate_key", request);
    }
    if (context.arguments.has("--retire-after")) {
        const auto seconds = context.arguments.number_or("--retire-after", 0);
        if (!seconds) return std::unexpected(seconds.error());
        request["retire_after_seconds"] = *seconds;
    }
    SecretDocument secrets;
    auto openings = openings_of(context, secrets);
    if (!openings) return openings;
    if (!openings->empty()) request["opening_keys"] = std::move(*openings);
    return context.api.post("/v1/keys/root/rotate", secrets.render(request));
}

base::Status shown_to_the_end(Context& context, json operation) {
    const auto end = watch_operation(context, std::move(operation));
    if (!end) return std::unexpected(end.error());
    context.screen.done(*end, outcome_text(*end));
    return {};
}

base::Status rotate(Context& context) {
    auto begun = begin_rotation(context);
    if (!begun) return std::unexpected(std::move(begun).error());
    if (!context.arguments.has("--no-wait")) return shown_to_the_end(context, std::move(*begun));
    context.screen.done(*begun, outcome_text(*begun));
    return {};
}

base::Status status(Context& context) {
    auto root = context.api.get("/v1/keys/root");
    if (!root) return std::unexpected(std::move(root).error());
    if (context.screen.json()) {
        context.screen.document(*root);
        return {};
    }
    context.screen.list({{"data", root->value("epochs", json::array())}},
                        {{"ROOT KEY", "/epoch"}, {"STATE", "/state"}, {"MADE", "/created_at"}},
                        "No root keys.");
    const auto operation = root->value("operation", json());
    if (!operation.is_object()) return {};
    if (const auto text = progress_text(operation); operation.value("state", "") == "running")
        context.screen.line(text);
    context.screen.line(outcome_text(operation));
    return {};
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, std::string(kOperations));
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page, operation_columns(), "No operations.");
    return {};
}

std::string target_of(const Context& context, std::string_view verb = {}) {
    return std::string(kOperations) + "/" + context.arguments.operands()[0] + std::string(verb);
}

base::Status show(Context& context) {
    const auto operation = context.api.get(target_of(context));
    if (!operation) return std::unexpected(operation.error());
    context.screen.object(*operation);
    return {};
}

base::Status watch(Context& context) {
    auto operation = context.api.get(target_of(context));
    if (!operation) return std::unexpected(std::move(operation).error());
    return shown_to_the_end(context, std::move(*operation));
}

base::Status steer(Context& context, std::string_view verb) {
    const auto operation = context.api.post(target_of(context, verb));
    if (!operation) return std::unexpected(operation.error());
    context.screen.done(*operation, outcome_text(*operation));
    return {};
}

base::Status pause(Context& context) { return steer(context, "/pause"); }
base::Status resume(Context& context) { return steer(context, "/resume"); }
base::Status roll_back(Context& context) { return steer(context, "/roll_back"); }

base::Status retire(Context& context) {
    if (auto sure = confirm_delete(context, "the old root key"); !sure) return sure;
    return steer(context, "/retire");
}

}  // namespace

std::vector<Command> key_rotation_commands() {
    const Operand operation{"OPERATION", "id of the operation, as `operation list` shows it"};
    return {
        {"key rotate",
         "Rotate the root key, or a vault's key with --vault, while everything goes on.",
         {},
         {{"--vault", "VAULT", "the key of this vault (id or name): its secrets' keys are sealed anew"},
          {"--with", "SLOT=FILE",
           "the key file of a seal slot that the server's config does not name; repeatable", true},
          {"--ask-passphrase", "", "ask for the passphrases of seal slots that have one"},
          {"--retire-after", "SECONDS", "let the old root key go by itself after so long; 0: at once"},
          {"--paused", "", "prepare it, and go on with `operation resume`"},
          {"--no-wait", "", "do not watch it to its end"}},
         "claviger key rotate --with 'backup key=/media/backup.key' --retire-after 604800",
         rotate},
        {"key status",
         "Show the root keys there are, and a rotation under way.",
         {},
         {},
         "claviger key status",
         status},
        {"operation list",
         "List operations, the newest first.",
         {},
         {limit_flag()},
         "claviger operation list",
         list},
        {"operation show", "Show one operation.", {operation}, {}, "claviger operation show op_01…", show},
        {"operation watch",
         "Watch an operation until it is over, paused, or waits for you.",
         {operation},
         {},
         "claviger operation watch op_01…",
         watch},
        {"operation pause",
         "Stop an operation after its current step.",
         {operation},
         {},
         "claviger operation pause op_01…",
         pause},
        {"operation resume",
         "Let a paused operation go on.",
         {operation},
         {},
         "claviger operation resume op_01…",
         resume},
        {"operation rollback",
         "Return to the key before; possible until that is retired.",
         {operation},
         {},
         "claviger operation rollback op_01…",
         roll_back},
        {"operation retire",
         "Let the old root key go. There is no way back.",
         {operation},
         {yes_flag()},
         "claviger operation retire op_01… --yes",
         retire},
    };
}

}  // namespace claviger::admin::cli
