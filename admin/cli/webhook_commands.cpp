#include "admin/cli/objects.h"
#include "notify/event.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr Kind kWebhooks{"webhook", "/v1/webhooks", "whep_", "name"};

/// Shows a secret once, or puts it into the file that --save-secret names.
base::Status hand_over(Context& context, std::optional<PrivateFile>& file, json answer,
                       std::string sentence) {
    const auto secret = answer.value("signing_secret", std::string());
    if (file) {
        if (auto saved = file->write_line(secret); !saved) return saved;
        answer.erase("signing_secret");
        sentence += " is in " + file->path() + ".";
    } else {
        sentence += ", shown only now: " + secret;
    }
    context.screen.done(answer, sentence);
    return {};
}

json all_events() {
    json list = json::array();
    for (const auto type : notify::event_types()) list.push_back(type);
    return list;
}

base::Status create(Context& context) {
    const auto& arguments = context.arguments;
    auto file = PrivateFile::named_by(arguments, "--save-secret");
    if (!file) return std::unexpected(std::move(file).error());
    const auto events = arguments.values("--event");
    json body{{"url", arguments.value_or("--url-to", "")},
              {"name", arguments.value_or("--name", "")},
              {"enabled_events", events.empty() ? all_events() : json(events)}};
    if (const auto description = arguments.value("--description")) body["description"] = *description;
    auto made = context.api.post("/v1/webhooks", body);
    if (!made) return std::unexpected(made.error());
    const auto id = made->value("id", "");
    return hand_over(context, *file, *std::move(made),
                     "Created webhook endpoint " + id + ".\nIts signing secret");
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, "/v1/webhooks");
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page,
                        {{"ID", "/id"},
                         {"NAME", "/name"},
                         {"STATE", "/state"},
                         {"LAST DELIVERED", "/last_delivered_at"},
                         {"LAST FAILURE", "/last_failure"},
                         {"URL", "/url"}},
                        "No webhook endpoints. `claviger help webhook create` shows how to make one.");
    return {};
}

base::Status get(Context& context) { return get_object(context, kWebhooks); }
base::Status erase(Context& context) { return delete_object(context, kWebhooks); }

base::Status update(Context& context) {
    const auto& arguments = context.arguments;
    if (arguments.has("--enable") && arguments.has("--disable"))
        return usage("--enable and --disable exclude each other.");
    json body = json::object();
    for (const auto& [flag, field] :
         {std::pair{"--url-to", "url"}, {"--name", "name"}, {"--description", "description"}})
        if (const auto value = arguments.value(flag)) body[field] = *value;
    if (const auto events = arguments.values("--event"); !events.empty()) body["enabled_events"] = events;
    if (arguments.has("--enable")) body["state"] = "enabled";
    if (arguments.has("--disable")) body["state"] = "disabled";
    if (body.empty())
        return usage("There is nothing to change.", "Give --event, --url-to, --name, --enable or --disable.");
    const auto path = path_of(context.api, kWebhooks, arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto changed = context.api.post(*path, body);
    if (!changed) return std::unexpected(changed.error());
    context.screen.done(*changed, "Changed webhook endpoint " + changed->value("id", "") + ".");
    return {};
}

base::Status rotate_secret(Context& context) {
    auto file = PrivateFile::named_by(context.arguments, "--save-secret");
    if (!file) return std::unexpected(std::move(file).error());
    const auto overlap = context.arguments.number_or("--keep-previous", 86'400);
    if (!overlap) return std::unexpected(overlap.error());
    const auto path = path_of(context.api, kWebhooks, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    auto made = context.api.post(*path + "/regenerate_signing_secret",
                                 {{"previous_secret_lifetime_seconds", *overlap}});
    if (!made) return std::unexpected(made.error());
    const auto until = made->value("previous_secret_expires_at", json());
    return hand_over(context, *file, *std::move(made),
                     until.is_string() ? "The former secret signs too until " + until.get<std::string>() +
                                             ".\nThe new signing secret"
                                       : "The former secret signs no more.\nThe new signing secret");
}

base::Status test(Context& context) {
    const auto path = path_of(context.api, kWebhooks, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto result = context.api.post(*path + "/test");
    if (!result) return std::unexpected(result.error());
    const bool delivered = result->value("delivered", false);
    if (context.screen.json() || delivered) {
        context.screen.done(*result, "Accepted with status " + cell_text(result->at("status_code")) +
                                         " after " + cell_text(result->at("duration_ms")) + " ms.");
        if (delivered) return {};
    }
    const auto& error = result->at("error");
    return base::failure(
        base::ErrorKind::unavailable, "webhook.not_accepted",
        error.is_object() ? "The endpoint was not reached: " + cell_text(error.at("message"))
                          : "The endpoint answered with status " + cell_text(result->at("status_code")) +
                                ", not with a 2xx.",
        "Look at the receiver's own log for event " + cell_text(result->at("event_id")) + ".");
}

base::Status deliveries(Context& context) {
    const auto path = path_of(context.api, kWebhooks, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto page = list_as_asked(context, *path + "/deliveries");
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page,
                        {{"EVENT", "/event/id"},
                         {"TYPE", "/event/data/type"},
                         {"ABOUT", "/event/data/id"},
                         {"ATTEMPTS", "/attempts"},
                         {"LAST FAILURE", "/last_failure"},
                         {"NEXT ATTEMPT", "/next_attempt_at"}},
                        "Nothing waits to be delivered.");
    return {};
}

}  // namespace

std::vector<Command> webhook_commands() {
    const Operand webhook{"WEBHOOK", "id or name of the endpoint"};
    const Flag event{"--event", "TYPE", "tell it of this; repeat it for more (default: of everything)", true};
    const Flag changed_event{"--event", "TYPE", "tell it of this instead; repeat it for more", true};
    const Flag description{"--description", "TEXT", "notes for people"};
    const Flag save_secret{"--save-secret", "FILE",
                           "write the signing secret into this new file (mode 600) and not on the screen"};
    return {
        {"webhook create",
         "Have events of the workspace sent to a program of yours, signed. docs/webhooks.md lists them.",
         {},
         {{"--url-to", "URL", "where to send them, an https URL", false, true},
          name_flag(),
          description,
          event,
          save_secret},
         "claviger webhook create --url-to https://hooks.example.com/claviger --name alarms --event "
         "vault_credential.refresh_failed --save-secret alarms.secret",
         create},
        {"webhook list",
         "List webhook endpoints, and how they do.",
         {},
         {limit_flag()},
         "claviger webhook list",
         list},
        {"webhook get", "Show one webhook endpoint.", {webhook}, {}, "claviger webhook get alarms", get},
        {"webhook update",
         "Change an endpoint: what it is told, where it is, or whether it is told anything.",
         {webhook},
         {{"--url-to", "URL", "where to send events from now on"},
          name_flag(),
          description,
          changed_event,
          {"--enable", "", "send to it again, after it was disabled"},
          {"--disable", "", "send nothing more to it; what waits is dropped"}},
         "claviger webhook update alarms --enable",
         update},
        {"webhook delete",
         "Delete an endpoint and all that waits for it.",
         {webhook},
         {yes_flag()},
         "claviger webhook delete alarms --yes",
         erase},
        {"webhook rotate-secret",
         "Make a new signing secret. Both sign for a while, so that the receiver can change over.",
         {webhook},
         {{"--keep-previous", "SECONDS", "how long the former one signs too (default: 86400)"}, save_secret},
         "claviger webhook rotate-secret alarms --save-secret alarms.secret",
         rotate_secret},
        {"webhook test",
         "Send one signed test event now, and say what came of it.",
         {webhook},
         {},
         "claviger webhook test alarms",
         test},
        {"webhook deliveries",
         "List what waits to be delivered, with the reason of the last failure.",
         {webhook},
         {limit_flag()},
         "claviger webhook deliveries alarms",
         deliveries},
    };
}

}  // namespace claviger::admin::cli
