#include "admin/api/credential_fields.h"

#include "admin/api/shown.h"
#include "net/address.h"
#include "policy/network_rules.h"
#include "policy/server_url.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace claviger::admin::api {
namespace {

using vault::AuthType;
using vault::TokenEndpointAuth;

constexpr TextLimits kUrl{1, 2047};
constexpr std::size_t kToken = 8192, kClientSecret = 512, kValue = 4096, kHosts = 16, kTools = 256;
constexpr TextLimits kScope{1, 8192}, kScopeOrNone{0, 8192}, kClientId{1, 1024}, kToolName{1, 128};

/// Names that would change how a program in a sandbox runs, instead of handing it a secret.
constexpr std::array<std::string_view, 27> kReservedNames{"PATH",
                                                          "HOME",
                                                          "SHELL",
                                                          "IFS",
                                                          "ENV",
                                                          "BASH_ENV",
                                                          "PROMPT_COMMAND",
                                                          "NODE_OPTIONS",
                                                          "NODE_EXTRA_CA_CERTS",
                                                          "PYTHONPATH",
                                                          "PYTHONSTARTUP",
                                                          "PYTHONHOME",
                                                          "PERL5OPT",
                                                          "PERL5LIB",
                                                          "RUBYOPT",
                                                          "RUBYLIB",
                                                          "JAVA_TOOL_OPTIONS",
                                                          "GIT_SSH_COMMAND",
                                                          "SSL_CERT_FILE",
                                                          "SSL_CERT_DIR",
                                                          "REQUESTS_CA_BUNDLE",
                                                          "CURL_CA_BUNDLE",
                                                          "HTTP_PROXY",
                                                          "HTTPS_PROXY",
                                                          "ALL_PROXY",
                                                          "NO_PROXY",
                                                          "FTP_PROXY"};

/// Headers that carry the message itself or frame it.
constexpr std::array<std::string_view, 16> kReservedHeaders{"host",
                                                            "content-length",
                                                            "content-type",
                                                            "content-encoding",
                                                            "transfer-encoding",
                                                            "connection",
                                                            "te",
                                                            "trailer",
                                                            "upgrade",
                                                            "expect",
                                                            "accept",
                                                            "user-agent",
                                                            "keep-alive",
                                                            "last-event-id",
                                                            "proxy-connection",
                                                            "accept-encoding"};

std::string lower(std::string_view text) {
    std::string out(text);
    for (auto& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}
std::string upper(std::string_view text) {
    std::string out(text);
    for (auto& c : out)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return out;
}

/// Takes the URL of a server that will be sent a secret. Plain http only where the operator runs the network.
std::string read_url(Fields& in, std::string_view name, const ApiSettings& settings, std::string& normal) {
    const auto text = in.text(name, kUrl);
    const auto url = policy::parse_server_url(text);
    if (!url) {
        in.refuse(name, url.error());
        return text;
    }
    const bool in_house = url->host == "localhost" || url->host.ends_with(".localhost") ||
                          (net::parse_numeric_address(url->host) && net::is_private_address(url->host));
    if (!url->tls && !in_house && settings.private_upstreams == net::PrivateAddresses::refuse)
        in.refuse(
            name,
            "must begin with https://, because the secret would travel in clear text; upstream.allow_private "
            "in the configuration admits http");
    normal = url->normal;
    return text;
}

void read_injection(Fields& in, vault::Injection& injection) {
    if (!in.has_value("injection")) return;
    auto given = in.object("injection");
    injection.header = given.text("header", {1, 64});
    const bool authorization = lower(injection.header) == "authorization";
    injection.scheme = given.text_if_any("scheme", {0, 64}).value_or(authorization ? "Bearer" : "");
    const auto is_token = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    };
    if (!std::ranges::all_of(injection.header, is_token))
        given.refuse("header", "must be the name of an HTTP header, such as x-api-key");
    const auto name = lower(injection.header);
    if (std::ranges::find(kReservedHeaders, name) != kReservedHeaders.end() || name.starts_with("mcp-"))
        given.refuse("header",
                     "is a header that carries the message itself; choose the one the server reads "
                     "its credential from");
    if (!std::ranges::all_of(injection.scheme, is_token))
        given.refuse("scheme", "must be one word, such as Bearer or Token, or empty");
}

void read_allowed_tools(Fields& in, std::vector<std::string>& tools) {
    if (!in.has("allowed_tools")) return;
    tools = in.texts("allowed_tools", kTools, kToolName);
    std::ranges::sort(tools);
    if (std::ranges::adjacent_find(tools) != tools.end())
        in.refuse("allowed_tools", "names the same tool twice");
}

void read_expiry(Fields& in, std::optional<base::Time>& expires, base::Time now) {
    if (!in.has("expires_at")) return;
    expires = in.time_if_any("expires_at");
    if (expires && *expires <= now) in.refuse("expires_at", "must lie in the future");
}

bool is_resource(std::string_view text) {
    return text.find(':') != std::string_view::npos && text.find('#') == std::string_view::npos &&
           text.find(' ') == std::string_view::npos;
}

void read_new_refresh(Fields& in, NewCredential& made, const ApiSettings& settings) {
    if (!in.has_value("refresh")) return;
    auto given = in.object("refresh");
    vault::Refresh refresh;
    std::string normal;
    refresh.token_endpoint = read_url(given, "token_endpoint", settings, normal);
    refresh.client_id = given.text("client_id", kClientId);
    refresh.scope = given.text_if_any("scope", kScope);
    refresh.resource = given.text_if_any("resource", kUrl);
    if (refresh.resource && !is_resource(*refresh.resource))
        given.refuse("resource", "must be an absolute URI without a fragment");
    made.secrets.refresh_token = given.secret("refresh_token", kToken, SecretForm::any_text);
    if (!given.has_value("token_endpoint_auth"))
        given.refuse("token_endpoint_auth", "is required, an object");
    auto auth = given.object("token_endpoint_auth");
    if (given.is_object("token_endpoint_auth")) {
        constexpr std::array types{TokenEndpointAuth::none, TokenEndpointAuth::client_secret_basic,
                                   TokenEndpointAuth::client_secret_post};
        refresh.auth = types[auth.word("type", {"none", "client_secret_basic", "client_secret_post"})];
        if (refresh.auth != TokenEndpointAuth::none)
            made.secrets.client_secret = auth.secret("client_secret", kClientSecret, SecretForm::any_text);
    }
    made.credential.refresh = std::move(refresh);
}

void read_secret_name(Fields& in, std::string& name) {
    name = in.text("secret_name", {1, 255});
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    if (name.empty() || !is_letter(name.front()) ||
        !std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); })) {
        in.refuse("secret_name", "must be letters, digits and '_', not beginning with a digit");
    } else if (const auto loud = upper(name);
               std::ranges::find(kReservedNames, loud) != kReservedNames.end() || loud.starts_with("LD_") ||
               loud.starts_with("DYLD_")) {
        in.refuse("secret_name", "is a variable that changes how programs run; choose another name");
    }
}

void read_networking(Fields& in, vault::Credential& credential) {
    auto given = in.object("networking");
    if (!in.is_object("networking")) return;
    credential.allowed_hosts.clear();
    credential.limited_hosts = given.word("type", {"unrestricted", "limited"}) == 1;
    if (!credential.limited_hosts) return;
    if (!given.has_value("allowed_hosts")) given.refuse("allowed_hosts", "is required, a list of hosts");
    const auto hosts = given.texts("allowed_hosts", kHosts, {1, 255});
    if (hosts.empty()) given.refuse("allowed_hosts", "must name at least one host");
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        auto host = policy::normalise_allowed_host(hosts[i]);
        if (!host)
            given.refuse("allowed_hosts[" + std::to_string(i) + "]", host.error());
        else
            credential.allowed_hosts.push_back(std::move(*host));
    }
}

enum class Absent { both_true, keep };

/// Absent on create means both; an object on create leaves out what it does not name; an update is merged.
void read_injection_location(Fields& in, vault::Credential& credential, Absent absent) {
    if (!in.has("injection_location")) return;
    if (!in.is_object("injection_location"))
        return in.refuse("injection_location", "must be an object with header and body, or absent");
    auto given = in.object("injection_location");
    for (const auto* name : {"header", "body"})
        if (given.has(name) && !given.has_value(name)) given.refuse(name, "must be true or false, or absent");
    const bool merge = absent == Absent::keep;
    credential.inject_header = given.flag("header", merge && credential.inject_header);
    credential.inject_body = given.flag("body", merge && credential.inject_body);
    if (!credential.inject_header && !credential.inject_body)
        in.refuse("injection_location", "must leave at least one of header and body true");
}

void update_refresh(Fields& in, vault::Credential& credential, vault::SecretParts& replaced) {
    if (!in.has("refresh")) return;
    if (!in.has_value("refresh")) {
        in.must_be_empty("refresh", "");
        credential.refresh.reset();
        return;
    }
    auto given = in.object("refresh");
    if (!credential.refresh)
        return in.refuse(
            "refresh",
            "cannot be added to a credential that was stored without it; archive the credential and "
            "create it again");
    replaced.refresh_token = given.secret_if_any("refresh_token", kToken, SecretForm::any_text);
    if (const auto scope = given.text_if_any("scope", kScopeOrNone))
        credential.refresh->scope = scope->empty() ? std::nullopt : scope;
    if (!given.has_value("token_endpoint_auth")) return;
    auto auth = given.object("token_endpoint_auth");
    if (!given.is_object("token_endpoint_auth")) return;
    auth.word("type", {"client_secret_basic", "client_secret_post"});
    replaced.client_secret = auth.secret_if_any("client_secret", kClientSecret, SecretForm::any_text);
    if (credential.refresh->auth == TokenEndpointAuth::none)
        auth.refuse("type", "the credential was stored with none, so there is no client_secret to replace");
}

Json shown_refresh(const vault::Refresh& refresh) {
    return {{"token_endpoint", refresh.token_endpoint},
            {"client_id", refresh.client_id},
            {"scope", shown(refresh.scope)},
            {"resource", shown(refresh.resource)},
            {"token_endpoint_auth", {{"type", vault::name_of(refresh.auth)}}}};
}

Json shown_auth(const vault::Credential& credential) {
    Json auth{{"type", vault::name_of(credential.type)}};
    if (credential.type == AuthType::environment_variable) {
        auth["secret_name"] = credential.secret_name;
        auth["networking"] = credential.limited_hosts
                                 ? Json{{"type", "limited"}, {"allowed_hosts", credential.allowed_hosts}}
                                 : Json{{"type", "unrestricted"}};
        auth["injection_location"] = {{"header", credential.inject_header}, {"body", credential.inject_body}};
        return auth;
    }
    auth["mcp_server_url"] = credential.mcp_server_url;
    if (credential.type == AuthType::mcp_oauth) {
        auth["expires_at"] = shown(credential.expires);
        auth["refresh"] = credential.refresh && credential.refresh->grant != "none"
                              ? shown_refresh(*credential.refresh)
                              : Json(nullptr);
    }
    if (lower(credential.injection.header) != "authorization" || credential.injection.scheme != "Bearer")
        auth["injection"] = {{"header", credential.injection.header},
                             {"scheme", credential.injection.scheme}};
    if (!credential.allowed_tools.empty()) auth["allowed_tools"] = credential.allowed_tools;
    return auth;
}

constexpr std::array kTypes{AuthType::static_bearer, AuthType::mcp_oauth, AuthType::environment_variable};

/// The type that `auth` names; a fault unless it is the credential's own.
AuthType check_type(Fields& auth, const vault::Credential& credential) {
    const auto type = kTypes[auth.word("type", {"static_bearer", "mcp_oauth", "environment_variable"})];
    if (type != credential.type)
        auth.refuse("type", "is '" + std::string(vault::name_of(credential.type)) +
                                "' for this credential and cannot change; archive it and create another");
    return type;
}

}  // namespace

std::string read_server_url(Fields& in, std::string_view name, const ApiSettings& settings,
                            std::string& normal) {
    return read_url(in, name, settings, normal);
}

NewCredential read_new_credential(Fields& in, const ApiSettings& settings, base::Time now) {
    NewCredential made;
    auto& credential = made.credential;
    credential.display_name = in.text_if_any("display_name", {0, 255});
    in.update_metadata("metadata", credential.metadata, MetadataIs::whole);
    if (!in.has_value("auth")) in.refuse("auth", "is required, an object");
    auto auth = in.object("auth");
    if (!in.is_object("auth")) return made;

    credential.type = kTypes[auth.word("type", {"static_bearer", "mcp_oauth", "environment_variable"})];
    if (credential.type == AuthType::environment_variable) {
        read_secret_name(auth, credential.secret_name);
        made.secrets.token = auth.secret("secret_value", kValue, SecretForm::any_text);
        if (!auth.has_value("networking")) auth.refuse("networking", "is required, an object");
        read_networking(auth, credential);
        read_injection_location(auth, credential, Absent::both_true);
        return made;
    }
    credential.mcp_server_url = read_url(auth, "mcp_server_url", settings, credential.normal_url);
    const bool oauth = credential.type == AuthType::mcp_oauth;
    made.secrets.token = auth.secret(oauth ? "access_token" : "token", kToken, SecretForm::header_value);
    if (oauth) {
        read_expiry(auth, credential.expires, now);
        read_new_refresh(auth, made, settings);
    }
    read_injection(auth, credential.injection);
    read_allowed_tools(auth, credential.allowed_tools);
    return made;
}

vault::SecretParts read_credential_update(Fields& in, vault::Credential& credential, base::Time now) {
    vault::SecretParts replaced;
    in.update("display_name", credential.display_name, {1, 255});
    in.update_metadata("metadata", credential.metadata, MetadataIs::patch);
    auto auth = in.object("auth");
    if (!in.is_object("auth")) return replaced;

    const auto type = check_type(auth, credential);
    for (const auto* fixed : {"mcp_server_url", "secret_name"})
        if (auth.has(fixed)) auth.refuse(fixed, "cannot change; archive the credential and create another");
    if (type == AuthType::environment_variable) {
        replaced.token = auth.secret_if_any("secret_value", kValue, SecretForm::any_text);
        read_networking(auth, credential);
        read_injection_location(auth, credential, Absent::keep);
        return replaced;
    }
    const bool oauth = type == AuthType::mcp_oauth;
    replaced.token = auth.secret_if_any(oauth ? "access_token" : "token", kToken, SecretForm::header_value);
    if (oauth) {
        read_expiry(auth, credential.expires, now);
        update_refresh(auth, credential, replaced);
    }
    read_injection(auth, credential.injection);
    if (auth.has_value("allowed_tools")) read_allowed_tools(auth, credential.allowed_tools);
    return replaced;
}

crypto::Secret read_next_value(Fields& in, const vault::Credential& credential) {
    if (!in.has_value("auth")) in.refuse("auth", "is required, an object");
    auto auth = in.object("auth");
    check_type(auth, credential);
    if (credential.type == AuthType::environment_variable)
        return auth.secret("secret_value", kValue, SecretForm::any_text);
    return auth.secret("token", kToken, SecretForm::header_value);
}

std::optional<base::Time> read_deadline(Fields& in, base::Time now) {
    const auto deadline = in.time_if_any("rotate_by");
    if (deadline && *deadline <= now) in.refuse("rotate_by", "must lie in the future");
    return deadline;
}

Json shown(const vault::Credential& credential, const vault::CredentialUse& use, Json rotation) {
    Json json{{"id", credential.id.text()},
              {"type", "vault_credential"},
              {"vault_id", credential.vault.text()},
              {"display_name", shown(credential.display_name)},
              {"metadata", shown(credential.metadata)},
              {"auth", shown_auth(credential)},
              {"version", credential.version},
              {"use_count", use.count},
              {"last_used_at", use.count == 0 ? Json(nullptr) : shown(use.last)},
              {"created_at", shown(credential.created)},
              {"updated_at", shown(credential.updated)},
              {"archived_at", shown(credential.archived)}};
    if (!rotation.is_null()) json["rotation"] = std::move(rotation);
    return json;
}

}  // namespace claviger::admin::api
