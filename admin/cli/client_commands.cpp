#include "admin/cli/objects.h"
#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr Kind kClients{"client", "/v1/oauth_clients", "ocli_", "client_id"};

base::Status place(Context& context, SecretDocument& document, std::string_view flag, json& body,
                   const char* field) {
    const auto file = context.arguments.value(flag);
    if (!file) return {};
    auto secret = read_secret_file(*file, context.input, context.screen.err());
    if (!secret) return std::unexpected(std::move(secret).error());
    auto mark = document.place(*std::move(secret));
    if (!mark) return std::unexpected(std::move(mark).error());
    body[field] = *std::move(mark);
    return {};
}

base::Status create(Context& context) {
    const auto& arguments = context.arguments;
    if (arguments.has("--client-secret-file") && arguments.has("--private-key-file"))
        return usage("--client-secret-file and --private-key-file cannot be given together.",
                     "A client has one proof.");
    json body{{"issuer", *arguments.value("--issuer")}, {"client_id", *arguments.value("--client-id")}};
    if (const auto how = arguments.value("--client-auth")) body["token_endpoint_auth_method"] = *how;
    SecretDocument document;
    if (auto placed = place(context, document, "--client-secret-file", body, "client_secret"); !placed)
        return placed;
    if (auto placed = place(context, document, "--private-key-file", body, "private_key"); !placed)
        return placed;
    if (auto placed = place(context, document, "--certificate-file", body, "certificate"); !placed)
        return placed;
    const auto made = context.api.post(std::string(kClients.path), document.render(body));
    if (!made) return std::unexpected(made.error());
    context.screen.done(*made, "Stored client " + made->value("id", "") +
                                   ". Accounts of this issuer are connected with it from now on.");
    return {};
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, std::string(kClients.path));
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page,
                        {{"ID", "/id"},
                         {"ISSUER", "/issuer"},
                         {"CLIENT", "/client_id"},
                         {"SOURCE", "/source"},
                         {"PROOF", "/token_endpoint_auth_method"},
                         {"SECRET ENDS", "/client_secret_expires_at"}},
                        "No clients yet. Most servers let Claviger register itself; `claviger help client "
                        "create` is for the others.");
    return {};
}

base::Status erase(Context& context) { return delete_object(context, kClients); }

}  // namespace

std::vector<Command> client_commands() {
    const Operand client{"CLIENT", "id of the stored client, or its client id"};
    return {
        {"client create",
         "Store the OAuth client that somebody registered for Claviger at an authorization server.",
         {},
         {{"--issuer", "URL", "authorization server, exactly as it calls itself", false, true},
          {"--client-id", "ID", "the id it gave to the client", false, true},
          {"--client-secret-file", "FILE", "the client's secret ('-': standard input)"},
          {"--private-key-file", "FILE", "the client's private key, PEM ('-': standard input)"},
          {"--certificate-file", "FILE",
           "the client's certificate with its chain, PEM; with --private-key-file, for proof by TLS, or with "
           "--client-auth private_key_jwt where the provider finds the key by it"},
          {"--client-auth", "HOW",
           "client_secret_basic, client_secret_post, private_key_jwt, secret_as_user_name, tls_client_auth, "
           "self_signed_tls_client_auth or none (default: by what is given)"}},
         "claviger client create --issuer https://github.com --client-id Iv1.8a61f9b3a7aba766 "
         "--client-secret-file - < secret.txt",
         create},
        {"client list",
         "List the OAuth clients that Claviger is, registered by hand or by itself.",
         {},
         {limit_flag()},
         "claviger client list",
         list},
        {"client delete",
         "Forget an OAuth client. Accounts that were connected with it keep working.",
         {client},
         {yes_flag()},
         "claviger client delete ocli_01XMA3f5WcVWrMyJPK4DPJo4 --yes",
         erase},
    };
}

}  // namespace claviger::admin::cli
