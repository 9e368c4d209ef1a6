#include "admin/cli/connect_command.h"

#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <iostream>
#include <thread>

#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kTurn{120};
constexpr int kTurnsPerLook = 8;
constexpr Kind kCredential{"credential", "", "vcrd_", "display_name"};

/// Turns while somebody watches a terminal, and leaves nothing behind there.
class Spinner {
public:
    explicit Spinner(std::ostream& err) : err_(err), shown_(&err == &std::cerr && isatty(2) == 1) {}
    ~Spinner() { clear(); }
    Spinner(const Spinner&) = delete;
    Spinner& operator=(const Spinner&) = delete;

    void turn(std::string_view text) {
        std::this_thread::sleep_for(kTurn);
        if (!shown_) return;
        constexpr std::array<std::string_view, 10> frames{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
        err_ << "\r\033[K" << frames[at_++ % frames.size()] << " " << text << std::flush;
    }
    void clear() {
        if (shown_ && at_ > 0) err_ << "\r\033[K" << std::flush;
        at_ = 0;
    }

private:
    std::ostream& err_;
    bool shown_;
    std::size_t at_ = 0;
};

base::Status place(Context& context, SecretDocument& document, std::string_view flag, json& where) {
    auto secret = read_secret_file(*context.arguments.value(flag), context.input, context.screen.err());
    if (!secret) return std::unexpected(std::move(secret).error());
    auto mark = document.place(*std::move(secret));
    if (!mark) return std::unexpected(std::move(mark).error());
    where = *std::move(mark);
    return {};
}

base::Status take_client(Context& context, SecretDocument& document, json& body) {
    const auto& arguments = context.arguments;
    json client;
    constexpr std::array<std::pair<std::string_view, const char*>, 4> flags{
        {{"--client-id", "client_id"},
         {"--client-auth", "token_endpoint_auth_method"},
         {"--key-id", "key_id"},
         {"--subject", "subject"}}};
    for (const auto& [flag, field] : flags)
        if (const auto value = arguments.value(flag)) client[field] = *value;
    constexpr std::array<std::pair<std::string_view, const char*>, 3> files{
        {{"--client-secret-file", "client_secret"},
         {"--private-key-file", "private_key"},
         {"--certificate-file", "certificate"}}};
    for (const auto& [flag, field] : files)
        if (arguments.has(flag))
            if (auto placed = place(context, document, flag, client[field]); !placed) return placed;
    if (client.is_null()) return {};
    if (!arguments.has("--client-id")) return usage("--client-id is missing: whose secret or key it is.");
    body["client"] = std::move(client);
    return {};
}

/// The id of a credential of the vault, by its id or name.
base::Result<std::string> credential_id(Context& context, const std::string& credentials,
                                        const std::string& wanted) {
    const auto page = list_objects(context.api, credentials, {}, 0);
    if (!page) return std::unexpected(page.error());
    const auto chosen = choose(page->at("data"), kCredential, wanted);
    if (!chosen) return std::unexpected(chosen.error());
    return chosen->at("id").get<std::string>();
}

/// What the tokens are exchanged for; nothing without a flag of it.
base::Status take_exchange(Context& context, const std::string& credentials, SecretDocument& document,
                           json& body) {
    const auto& arguments = context.arguments;
    json exchange;
    constexpr std::array<std::pair<std::string_view, const char*>, 5> flags{
        {{"--subject-token-type", "subject_token_type"},
         {"--actor-token-type", "actor_token_type"},
         {"--identity-provider", "identity_provider"},
         {"--audience", "audience"},
         {"--requested-token-type", "requested_token_type"}}};
    for (const auto& [flag, field] : flags)
        if (const auto value = arguments.value(flag)) exchange[field] = *value;
    if (arguments.has("--subject-token-file"))
        if (auto placed = place(context, document, "--subject-token-file", exchange["subject_token"]);
            !placed)
            return placed;
    constexpr std::array<std::pair<std::string_view, const char*>, 2> lenders{
        {{"--subject-credential", "subject_credential_id"}, {"--actor-credential", "actor_credential_id"}}};
    for (const auto& [flag, field] : lenders)
        if (const auto wanted = arguments.value(flag)) {
            const auto id = credential_id(context, credentials, *wanted);
            if (!id) return std::unexpected(id.error());
            exchange[field] = *id;
        }
    if (!exchange.is_null()) body["exchange"] = std::move(exchange);
    return {};
}

base::Result<json> body_of(Context& context, const std::string& credentials, SecretDocument& document) {
    const auto& arguments = context.arguments;
    json body = json::object();
    constexpr std::array<std::pair<std::string_view, const char*>, 5> flags{{{"--server-url", "server_url"},
                                                                             {"--provider", "provider"},
                                                                             {"--issuer", "issuer"},
                                                                             {"--grant", "grant"},
                                                                             {"--name", "display_name"}}};
    for (const auto& [flag, field] : flags)
        if (const auto value = arguments.value(flag)) body[field] = *value;
    if (arguments.has("--scope")) body["scopes"] = arguments.values("--scope");
    if (arguments.has("--allow-other-account")) body["allow_other_account"] = true;
    if (arguments.has("--expires-in")) {
        const auto seconds = arguments.number_or("--expires-in", 0);
        if (!seconds) return std::unexpected(seconds.error());
        body["expires_in"] = *seconds;
    }
    for (const auto& text : arguments.values("--variable")) {
        const auto pair = cut_pair("--variable", text);
        if (!pair) return std::unexpected(pair.error());
        body["variables"][pair->first] = pair->second;
    }
    auto metadata = metadata_patch(arguments);
    if (!metadata) return metadata;
    if (!metadata->is_null()) body["metadata"] = *std::move(metadata);
    if (const auto wanted = arguments.value("--credential")) {
        const auto id = credential_id(context, credentials, *wanted);
        if (!id) return std::unexpected(id.error());
        body["credential_id"] = *id;
    }
    if (auto taken = take_exchange(context, credentials, document, body); !taken)
        return std::unexpected(std::move(taken).error());
    if (auto taken = take_client(context, document, body); !taken)
        return std::unexpected(std::move(taken).error());
    return body;
}

/// What the person has to do, for the terminal.
void show_way(Context& context, const json& link) {
    auto& err = context.screen.err();
    if (const auto url = link.value("url", ""); !url.empty()) {
        err << "Open this link in the browser in which you are signed in at the provider:\n\n  " << url
            << "\n\n";
    } else if (link.contains("user_code") && link["user_code"].is_string()) {
        err << "Open " << cell_text(link["verification_uri"]) << "\nand enter the code "
            << cell_text(link["user_code"]) << "\n\n";
    }
    err << std::flush;
}

bool is_over(const json& link) {
    const auto status = link.value("status", "");
    return status != "waiting" && status != "started";
}

base::Result<json> wait(Context& context, const std::string& path, json link) {
    Spinner spinner(context.screen.err());
    for (int turn = 1; !is_over(link); ++turn) {
        const bool started = link.value("status", "") == "started";
        spinner.turn(started ? "The provider is asking …" : "Waiting for somebody to open the link …");
        if (turn % kTurnsPerLook != 0) continue;
        auto looked = context.api.get(path);
        if (!looked) return looked;
        link = *std::move(looked);
    }
    return link;
}

base::Status verdict(Context& context, const json& link) {
    const auto status = link.value("status", "");
    if (status == "connected") {
        context.screen.done(link, "Connected credential " + link.value("credential_id", "") + ".");
        return {};
    }
    const auto& problem = link.at("problem");
    auto message = problem.is_object() ? problem.value("message", "")
                                       : std::string("The link expired before anybody was done with it.");
    auto hint = problem.is_object() ? problem.value("hint", "") : std::string("Make a new one.");
    const json document = {{"type", "error"},
                           {"error",
                            {{"type", problem.is_object() ? problem.value("code", "") : "connect.expired"},
                             {"message", message},
                             {"hint", hint}}},
                           {"connect_link", link}};
    return base::failure(base::ErrorKind::invalid_request, "cli.not_connected", std::move(message),
                         std::move(hint), document.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace

std::vector<Flag> connect_flags() {
    return {
        {"--vault", "VAULT", "id or name of the vault", false, true},
        {"--server-url", "URL", "MCP server to connect to"},
        {"--provider", "NAME", "provider profile (default: the one that knows the server)"},
        {"--variable", "NAME=VALUE", "a variable of the provider's profile", true},
        {"--credential", "CREDENTIAL", "connect this credential anew; it keeps its id"},
        name_flag(),
        {"--scope", "SCOPE", "scope to ask for (default: what the server asks for)", true},
        {"--grant", "GRANT",
         "authorization_code, device_code, client_credentials, github_installation, google_service_account, "
         "token_exchange, id_jag or jwt_bearer (default: authorization_code)"},
        {"--issuer", "URL",
         "the only authorization server that will do; needed with a client that has a secret or a key"},
        {"--client-id", "ID", "OAuth client that was registered by hand"},
        {"--client-secret-file", "FILE", "its secret ('-': standard input)"},
        {"--private-key-file", "FILE", "its private key, PEM ('-': standard input)"},
        {"--certificate-file", "FILE",
         "its certificate with the chain, PEM, for clients that prove themselves by TLS, or whose key the "
         "provider finds by it"},
        {"--client-auth", "HOW",
         "how it proves itself, such as client_secret_post (default: as the server says)"},
        {"--key-id", "ID", "id of the private key"},
        {"--subject", "USER", "for whom a google_service_account acts"},
        {"--subject-credential", "CREDENTIAL", "credential of the vault whose token is exchanged"},
        {"--subject-token-file", "FILE", "token or assertion that is exchanged ('-': standard input)"},
        {"--subject-token-type", "TYPE", "access_token, refresh_token, id_token, jwt or saml2"},
        {"--actor-credential", "CREDENTIAL",
         "with token_exchange: credential of the vault whose token says who acts for the subject"},
        {"--actor-token-type", "TYPE", "access_token (default) or refresh_token"},
        {"--identity-provider", "URL", "with id_jag and a subject token: the issuer that exchanges it"},
        {"--audience", "TEXT", "with token_exchange: whom the token is for"},
        {"--requested-token-type", "URN", "with token_exchange: what to ask for"},
        {"--allow-other-account", "", "with --credential: another account than before will do"},
        {"--expires-in", "SECONDS", "how long the link lives (default: 3600)"},
        {"--no-wait", "", "print the link and stop"},
        metadata_flag(),
    };
}

base::Status connect_credential(Context& context) {
    const auto& arguments = context.arguments;
    if (!arguments.has("--server-url") && !arguments.has("--provider") && !arguments.has("--credential"))
        return usage("What to connect is missing.",
                     "Give --server-url URL, --provider NAME or --credential "
                     "CREDENTIAL.");
    int from_input = 0;
    for (const auto* flag : {"--client-secret-file", "--private-key-file", "--subject-token-file"})
        from_input += arguments.value(flag) == "-" ? 1 : 0;
    if (from_input > 1)
        return usage("Two secrets would be read from standard input, which holds one.",
                     "Give one of them as a file.");
    const auto vault = id_of(context.api, kVaults, *arguments.value("--vault"));
    if (!vault) return std::unexpected(vault.error());
    const auto base_path = "/v1/vaults/" + *vault;
    SecretDocument document;
    const auto body = body_of(context, base_path + "/credentials", document);
    if (!body) return std::unexpected(body.error());
    auto link = context.api.post(base_path + "/connect_links", document.render(*body));
    if (!link) return std::unexpected(std::move(link).error());
    if (arguments.has("--no-wait")) {
        if (!context.screen.json()) show_way(context, *link);
        context.screen.done(*link, "Made connect link " + link->value("id", "") + ".");
        return {};
    }
    show_way(context, *link);
    const auto path = base_path + "/connect_links/" + link->value("id", "");
    const auto ended = wait(context, path, *std::move(link));
    if (!ended) return std::unexpected(ended.error());
    return verdict(context, *ended);
}

}  // namespace claviger::admin::cli
