#include "admin/cli/credential_body.h"

#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <iterator>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

/// Reads a secret into `document` and lets it stand at `where`.
base::Status place_file(Context& context, SecretDocument& document, std::string_view flag, json& where) {
    auto secret = read_secret_file(*context.arguments.value(flag), context.input, context.screen.err());
    if (!secret) return std::unexpected(std::move(secret).error());
    auto mark = document.place(*std::move(secret));
    if (!mark) return std::unexpected(std::move(mark).error());
    where = *std::move(mark);
    return {};
}

base::Status place_main(Context& context, SecretDocument& document, std::string_view flag, json& where) {
    if (context.arguments.has(flag)) return place_file(context, document, flag, where);
    auto secret = read_secret(context.input, "Secret (not shown)", context.screen.err());
    if (!secret) return std::unexpected(std::move(secret).error());
    auto mark = document.place(*std::move(secret));
    if (!mark) return std::unexpected(std::move(mark).error());
    where = *std::move(mark);
    return {};
}

/// Copies the flags that were given into the fields they are for.
void take(const Arguments& arguments, json& out,
          std::initializer_list<std::pair<std::string_view, const char*>> flags) {
    for (const auto& [flag, field] : flags)
        if (const auto value = arguments.value(flag)) out[field] = *value;
}

void take_injection(const Arguments& arguments, json& auth) {
    take(arguments, auth["injection"], {{"--header", "header"}, {"--scheme", "scheme"}});
    if (auth["injection"].is_null()) auth.erase("injection");
    if (auth.contains("injection") && !auth["injection"].contains("header"))
        auth["injection"]["header"] = "Authorization";
}

void take_hosts(const Arguments& arguments, json& auth) {
    if (arguments.has("--allowed-host"))
        auth["networking"] = {{"type", "limited"}, {"allowed_hosts", arguments.values("--allowed-host")}};
    else if (arguments.has("--any-host"))
        auth["networking"] = {{"type", "unrestricted"}};
    if (arguments.has("--inject-in")) {
        const auto place = arguments.value_or("--inject-in", "");
        auth["injection_location"] = {{"header", place != "body"}, {"body", place != "header"}};
    }
}

base::Status check_inject_in(const Arguments& arguments) {
    const auto place = arguments.value_or("--inject-in", "both");
    if (place == "header" || place == "body" || place == "both") return {};
    return usage("--inject-in must be header, body or both, but is '" + place + "'.");
}

base::Status take_refresh(Context& context, SecretDocument& document, json& auth) {
    const auto& arguments = context.arguments;
    json refresh;
    take(arguments, refresh,
         {{"--token-endpoint", "token_endpoint"},
          {"--client-id", "client_id"},
          {"--scope", "scope"},
          {"--resource", "resource"}});
    if (arguments.has("--refresh-token-file"))
        if (auto placed = place_file(context, document, "--refresh-token-file", refresh["refresh_token"]);
            !placed)
            return placed;
    if (arguments.has("--client-secret-file")) {
        auto& how = refresh["token_endpoint_auth"];
        how["type"] = arguments.value_or("--client-auth", "client_secret_basic");
        if (auto placed = place_file(context, document, "--client-secret-file", how["client_secret"]);
            !placed)
            return placed;
    }
    if (refresh.is_null()) return {};
    if (arguments.has("--token-endpoint") && !refresh.contains("token_endpoint_auth"))
        refresh["token_endpoint_auth"] = {{"type", "none"}};
    auth["refresh"] = std::move(refresh);
    return {};
}

/// The word in which each type's main secret is sent, and the flag that names its file.
struct MainSecret {
    std::string_view type;
    const char* field;
    std::string_view flag;
};
constexpr std::array kMainSecrets = {
    MainSecret{"static_bearer", "token", "--token-file"},
    MainSecret{"mcp_oauth", "access_token", "--token-file"},
    MainSecret{"environment_variable", "secret_value", "--secret-file"},
};

base::Result<MainSecret> main_secret_of(const std::string& type) {
    for (const auto& each : kMainSecrets)
        if (each.type == type) return each;
    return usage("--type must be static_bearer, mcp_oauth or environment_variable, but is '" + type + "'.");
}

base::Result<json> common_fields(const Arguments& arguments) {
    json body = json::object();
    take(arguments, body, {{"--name", "display_name"}, {"--rotate-by", "rotate_by"}});
    auto metadata = metadata_patch(arguments);
    if (!metadata) return metadata;
    if (!metadata->is_null()) body["metadata"] = *std::move(metadata);
    return body;
}

/// Standard input holds one secret: two flags cannot both read it.
base::Status check_one_stdin(const Arguments& arguments, bool main_from_stdin) {
    int readers = main_from_stdin ? 1 : 0;
    for (const auto flag : {"--token-file", "--secret-file", "--refresh-token-file", "--client-secret-file"})
        if (arguments.value(flag) == "-") ++readers;
    if (readers <= 1) return {};
    return usage("Two secrets would be read from standard input, which holds one.",
                 "Give the others as files.");
}

Flag token_file() {
    return {"--token-file", "FILE", "the token's file (default on create: standard input; '-' means it too)"};
}
Flag secret_file() {
    return {"--secret-file", "FILE",
            "the value's file, of environment_variable (default on create: standard input)"};
}

std::vector<Flag> shared_flags() {
    return {
        {"--expires-at", "TIME", "when an OAuth token ends, such as 2027-01-31T00:00:00Z"},
        {"--rotate-by", "TIME", "by when the secret is to be rotated; reminders are sent"},
        {"--allowed-tool", "TOOL", "use the credential for this tool only (default: every tool)", true},
        {"--allowed-host", "HOST", "send an environment_variable to this host only", true},
        {"--any-host", "", "let an environment_variable go to every host the environment allows"},
        {"--inject-in", "PLACE",
         "header, body or both: where an environment_variable is put in (default: both)"},
        {"--refresh-token-file", "FILE", "refresh token of an OAuth grant"},
        {"--client-secret-file", "FILE", "client secret for the token endpoint"},
        {"--client-auth", "HOW", "client_secret_basic or client_secret_post (default: client_secret_basic)"},
        {"--scope", "SCOPE", "scope to ask for when refreshing"},
        metadata_flag(),
    };
}

}  // namespace

std::vector<Flag> new_credential_flags() {
    std::vector<Flag> flags = {
        {"--vault", "VAULT", "id or name of the vault", false, true},
        {"--server-url", "URL", "MCP server that the credential is for; goes there and nowhere else"},
        name_flag(),
        {"--type", "TYPE", "static_bearer, mcp_oauth or environment_variable (default: static_bearer)"},
        token_file(),
        secret_file(),
        {"--secret-name", "NAME", "variable's name, of environment_variable"},
        {"--header", "NAME", "header to put the token in (default: Authorization)"},
        {"--scheme", "WORD", "word before the token (default: Bearer in Authorization, none elsewhere)"},
        {"--token-endpoint", "URL", "where an OAuth grant is refreshed"},
        {"--client-id", "ID", "OAuth client of the grant"},
        {"--resource", "URI", "resource indicator of the grant"},
    };
    std::ranges::move(shared_flags(), std::back_inserter(flags));
    return flags;
}

std::vector<Flag> changed_credential_flags() {
    std::vector<Flag> flags = {
        {"--vault", "VAULT", "look in this vault only (default: in all)"},
        name_flag(),
        token_file(),
        secret_file(),
    };
    std::ranges::move(shared_flags(), std::back_inserter(flags));
    flags.push_back(remove_metadata_flag());
    return flags;
}

base::Result<crypto::Secret> new_credential_body(Context& context) {
    const auto& arguments = context.arguments;
    const auto type = arguments.value_or("--type", "static_bearer");
    const auto main = main_secret_of(type);
    if (!main) return std::unexpected(main.error());
    const bool variable = type == "environment_variable";
    if (!arguments.has(variable ? "--secret-name" : "--server-url"))
        return usage(variable ? "--secret-name is missing: the name of the variable."
                              : "--server-url is missing: the MCP server that the credential is for.",
                     "See `claviger help credential create`.");
    if (variable && !arguments.has("--allowed-host") && !arguments.has("--any-host"))
        return usage("Where the variable may go is missing.", "Give --allowed-host HOST, or --any-host.");
    if (auto good = check_inject_in(arguments); !good) return std::unexpected(std::move(good).error());
    if (auto good = check_one_stdin(arguments, !arguments.has(main->flag)); !good)
        return std::unexpected(std::move(good).error());

    auto body = common_fields(arguments);
    if (!body) return std::unexpected(body.error());
    SecretDocument document;
    auto& auth = (*body)["auth"];
    auth["type"] = type;
    take(arguments, auth,
         {{"--server-url", "mcp_server_url"},
          {"--secret-name", "secret_name"},
          {"--expires-at", "expires_at"}});
    if (arguments.has("--allowed-tool")) auth["allowed_tools"] = arguments.values("--allowed-tool");
    take_injection(arguments, auth);
    take_hosts(arguments, auth);
    if (auto taken = take_refresh(context, document, auth); !taken)
        return std::unexpected(std::move(taken).error());
    if (auto placed = place_main(context, document, main->flag, auth[main->field]); !placed)
        return std::unexpected(std::move(placed).error());
    return document.render(*body);
}

base::Result<crypto::Secret> changed_credential_body(Context& context, const std::string& type) {
    const auto& arguments = context.arguments;
    const auto main = main_secret_of(type);
    if (!main) return std::unexpected(main.error());
    if (auto good = check_inject_in(arguments); !good) return std::unexpected(std::move(good).error());
    if (auto good = check_one_stdin(arguments, false); !good) return std::unexpected(std::move(good).error());
    auto body = common_fields(arguments);
    if (!body) return std::unexpected(body.error());
    SecretDocument document;
    json auth = json::object();
    take(arguments, auth, {{"--expires-at", "expires_at"}});
    if (arguments.has("--allowed-tool")) auth["allowed_tools"] = arguments.values("--allowed-tool");
    take_hosts(arguments, auth);
    if (auto taken = take_refresh(context, document, auth); !taken)
        return std::unexpected(std::move(taken).error());
    if (arguments.has(main->flag))
        if (auto placed = place_file(context, document, main->flag, auth[main->field]); !placed)
            return std::unexpected(std::move(placed).error());
    if (!auth.empty()) {
        auth["type"] = type;
        (*body)["auth"] = std::move(auth);
    }
    if (body->empty())
        return usage("There is nothing to change.",
                     "To replace the secret: --token-file FILE, or --token-file - for standard input.");
    return document.render(*body);
}

std::vector<Flag> next_value_flags() {
    return {
        {"--vault", "VAULT", "look in this vault only (default: in all)"},
        {"--token-file", "FILE", "the new token's file (default: standard input; '-' means it too)"},
        {"--secret-file", "FILE", "the new value's file, of environment_variable (default: standard input)"},
        {"--stage-only", "", "store the new value without using it; `credential promote` does that"},
        {"--no-verify", "", "use it without asking the server whether it takes it"},
        {"--overlap", "SECONDS", "how long the value before can be rolled back to (default: 86400)"},
        {"--rotate-by", "TIME", "when the new value is due in turn, such as 2027-01-31T00:00:00Z"},
    };
}

base::Result<crypto::Secret> next_value_body(Context& context, const std::string& type) {
    const auto& arguments = context.arguments;
    const auto main = main_secret_of(type);
    if (!main) return std::unexpected(main.error());
    json body = json::object();
    take(arguments, body, {{"--rotate-by", "rotate_by"}});
    if (arguments.has("--stage-only")) body["promote"] = false;
    if (arguments.has("--no-verify")) body["verify"] = false;
    if (arguments.has("--overlap")) {
        const auto seconds = arguments.number_or("--overlap", 0);
        if (!seconds) return std::unexpected(seconds.error());
        body["overlap_seconds"] = *seconds;
    }
    SecretDocument document;
    body["auth"]["type"] = type;
    if (auto placed = place_main(context, document, main->flag, body["auth"][main->field]); !placed)
        return std::unexpected(std::move(placed).error());
    return document.render(body);
}

}  // namespace claviger::admin::cli
