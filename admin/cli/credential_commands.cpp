#include "admin/cli/connect_command.h"
#include "admin/cli/credential_body.h"
#include "admin/cli/credential_lookup.h"
#include "admin/cli/grant_status.h"
#include "admin/cli/objects.h"
#include "admin/cli/shred_report.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <thread>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

base::Status create(Context& context) {
    const auto vault = id_of(context.api, kVaults, *context.arguments.value("--vault"));
    if (!vault) return std::unexpected(vault.error());
    const auto body = new_credential_body(context);
    if (!body) return std::unexpected(body.error());
    const auto made = context.api.post(credentials_of(*vault), *body);
    if (!made) return std::unexpected(made.error());
    context.screen.done(*made, "Stored credential " + made->value("id", "") +
                                   ". Its secret can be replaced, but never be read again.");
    return {};
}

base::Status update(Context& context) {
    const auto found = find_credential(context);
    if (!found) return std::unexpected(found.error());
    const auto body = changed_credential_body(context, found->at("auth").value("type", ""));
    if (!body) return std::unexpected(body.error());
    const auto changed = context.api.post(path_of_credential(*found), *body);
    if (!changed) return std::unexpected(changed.error());
    context.screen.done(*changed, "Changed credential " + changed->value("id", "") + ".");
    return {};
}

base::Status list(Context& context) {
    const auto vault = id_of(context.api, kVaults, *context.arguments.value("--vault"));
    if (!vault) return std::unexpected(vault.error());
    const auto page = list_as_asked(context, credentials_of(*vault));
    if (!page) return std::unexpected(page.error());
    auto shown = *page;
    for (auto& each : shown["data"]) {
        const auto& auth = each["auth"];
        each["place"] = auth.value("mcp_server_url", auth.value("secret_name", ""));
    }
    context.screen.list(
        context.screen.json() ? *page : shown,
        {{"ID", "/id"},
         {"NAME", "/display_name"},
         {"TYPE", "/auth/type"},
         {"FOR", "/place"},
         {"LAST USED", "/last_used_at"},
         {"ARCHIVED", "/archived_at"}},
        "No credentials in this vault. `claviger help credential create` shows how to store one.");
    return {};
}

base::Status get(Context& context) {
    const auto found = find_credential(context);
    if (!found) return std::unexpected(found.error());
    context.screen.object(*found);
    return {};
}

base::Status archive(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.post(*path + "/archive");
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer,
                        "Archived credential " + answer->value("id", "") + "; its secret is purged.");
    return {};
}

base::Status erase(Context& context) {
    if (auto sure = confirm_delete(context, "credential '" + context.arguments.operands()[0] + "'"); !sure)
        return sure;
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.erase(*path);
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "Deleted credential " + answer->value("id", "") + ".");
    return {};
}

base::Status suspend(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto grant = context.api.post(*path + "/suspend");
    if (!grant) return std::unexpected(grant.error());
    context.screen.done(*grant, "Credential " + grant->value("credential_id", "") +
                                    " is on hold: calls that need it are refused, and nothing renews it.");
    return {};
}

base::Status resume(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto grant = context.api.post(*path + "/resume");
    if (!grant) return std::unexpected(grant.error());
    context.screen.done(*grant, "Credential " + grant->value("credential_id", "") +
                                    " is not on hold. Its grant is " + grant->value("state", "") + ".");
    return {};
}

base::Status shred_credential(Context& context) {
    const auto what = "credential '" + context.arguments.operands()[0] + "'";
    if (auto sure = confirm_delete(context, what); !sure) return sure;
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    return shred(context, *path, what, {{"rotate_vault", !context.arguments.has("--keep-vault-key")}});
}

base::Status validate(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto verdict = context.api.post(*path + "/mcp_oauth_validate");
    if (!verdict) return std::unexpected(verdict.error());
    context.screen.object(*verdict);
    return {};
}

/// What changes by itself while nothing happens.
json without_clock(json grant) {
    if (grant.is_object()) grant.erase("as_of");
    return grant;
}

/// Once, or with --watch again whenever something changed, until interrupted.
base::Status status(Context& context) {
    const auto path = path_of_credential(context);
    if (!path) return std::unexpected(path.error());
    const auto limit = context.arguments.number_or("--limit", 10);
    if (!limit) return std::unexpected(limit.error());
    Query query;
    query.add("limit", std::to_string(*limit));
    json shown;
    for (;;) {
        const auto grant = context.api.get(*path + "/grant" + query.text());
        if (!grant) return std::unexpected(grant.error());
        if (without_clock(*grant) != without_clock(shown)) {
            if (context.screen.json()) {
                context.screen.document(*grant);
            } else {
                if (!shown.is_null()) context.screen.line("\n" + std::string(100, '-'));
                show_grant(context.screen, *grant);
            }
            shown = *grant;
        }
        if (!context.arguments.has("--watch")) return {};
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

}  // namespace

std::vector<Command> credential_commands() {
    const Operand credential{"CREDENTIAL", "id or name of the credential"};
    const Flag vault{"--vault", "VAULT", "look in this vault only (default: in all)"};
    const Flag its_vault{"--vault", "VAULT", "id or name of the vault", false, true};
    return {
        {"credential create",
         "Store a credential. The secret is read from standard input, or from a file; never from an "
         "argument.",
         {},
         new_credential_flags(),
         "claviger credential create --vault alice --name github --server-url "
         "https://api.githubcopilot.com/mcp "
         "< token.txt",
         create},
        {"credential connect",
         "Let a person give access to an account: prints a link, and waits until they are done. No token "
         "passes through anybody's hands.",
         {},
         connect_flags(),
         "claviger credential connect --vault alice --server-url https://mcp.notion.com/mcp",
         connect_credential},
        {"credential list",
         "List the credentials of a vault; their secrets are never shown.",
         {},
         {its_vault, limit_flag(), archived_flag()},
         "claviger credential list --vault alice",
         list},
        {"credential get",
         "Show one credential without its secret.",
         {credential},
         {vault},
         "claviger credential get github --vault alice",
         get},
        {"credential update",
         "Replace a credential's secret, or change its name and notes. Running sessions use the new secret "
         "at once.",
         {credential},
         changed_credential_flags(),
         "claviger credential update github --vault alice --token-file - < new-token.txt",
         update},
        {"credential archive",
         "Purge a credential's secret; its record stays.",
         {credential},
         {vault},
         "claviger credential archive github --vault alice",
         archive},
        {"credential delete",
         "Delete a credential, for good.",
         {credential},
         {vault, yes_flag()},
         "claviger credential delete github --vault alice --yes",
         erase},
        {"credential shred",
         "Delete a credential, rid the store's files of it, rotate its vault's key, and say where it still "
         "is.",
         {credential},
         {vault,
          yes_flag(),
          {"--keep-vault-key", "",
           "do not rotate the vault's key: for many at once, before one `key rotate`"},
          {"--no-wait", "", "do not watch the rotation to its end"}},
         "claviger credential shred github --vault alice --yes",
         shred_credential},
        {"credential status",
         "Say how an OAuth credential's grant stands: what is wrong, what to do, what happens next, and what "
         "happened.",
         {credential},
         {vault,
          {"--limit", "N", "how many entries of its history to show (default: 10, at most 100)"},
          {"--watch", "", "then show it again whenever it changes, until interrupted"}},
         "claviger credential status slack --vault alice",
         status},
        {"credential suspend",
         "Put an OAuth credential on hold: calls that need it are refused at once, and its tokens are not "
         "renewed. Nothing is lost.",
         {credential},
         {vault},
         "claviger credential suspend slack --vault alice",
         suspend},
        {"credential resume",
         "Take the hold off an OAuth credential.",
         {credential},
         {vault},
         "claviger credential resume slack --vault alice",
         resume},
        {"credential validate",
         "Ask the MCP server whether it accepts an OAuth credential right now.",
         {credential},
         {vault},
         "claviger credential validate slack --vault alice",
         validate},
    };
}

}  // namespace claviger::admin::cli
