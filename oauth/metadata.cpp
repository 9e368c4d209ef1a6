#include "oauth/metadata.h"

#include "oauth/answer_body.h"
#include "oauth/json_document.h"
#include "oauth/visible.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

std::unexpected<base::Error> invalid(std::string_view code, std::string_view document,
                                     const std::string& fault) {
    return base::failure(ErrorKind::invalid_request, code, "The " + std::string(document) + " " + fault + ".",
                         "Look at what the server publishes at this address.");
}

std::string_view without_trailing_slash(std::string_view path) {
    return path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

/// A path that a server might resolve to another one: "/a/../b", "/a/%2e%2e/b".
bool has_dot_segment(std::string_view path) {
    while (!path.empty()) {
        path.remove_prefix(1);  // '/'
        const auto end = std::min(path.find('/'), path.size());
        std::string segment(path.substr(0, end));
        for (auto at = segment.find("%2"); at != std::string::npos; at = segment.find("%2", at + 1))
            if (at + 2 < segment.size() && (segment[at + 2] == 'e' || segment[at + 2] == 'E'))
                segment.replace(at, 3, ".");
        if (segment == "." || segment == "..") return true;
        path.remove_prefix(end);
    }
    return false;
}

std::string with_query(std::string url, const WebUrl& of) {
    return of.query.empty() ? url : std::move(url) + "?" + of.query;
}

/// Reads members of one document and keeps the first fault.
class Members {
public:
    explicit Members(const json& document) : document_(document) {}

    std::string text(const char* name) {
        const auto found = document_.find(name);
        if (found == document_.end() || found->is_null()) return {};
        if (!found->is_string()) return wrong(name, "is not a text"), std::string();
        if (!is_printable(found->get_ref<const std::string&>()))
            return wrong(name, "has control characters"), std::string();
        return found->get_ref<const std::string&>();
    }
    bool flag(const char* name) {
        const auto found = document_.find(name);
        if (found == document_.end() || found->is_null()) return false;
        if (!found->is_boolean()) wrong(name, "is neither true nor false");
        return found->is_boolean() && found->get<bool>();
    }
    std::vector<std::string> texts(const char* name) {
        const auto found = document_.find(name);
        if (found != document_.end() && found->is_null()) return {};
        auto list = strings_in(document_, name);
        if (list &&
            !std::all_of(list->begin(), list->end(), [](const auto& one) { return is_printable(one); }))
            list.reset();
        if (!list) wrong(name, "is not a list of texts");
        return std::move(list).value_or(std::vector<std::string>());
    }
    std::string endpoint(const char* name, PlainLoopback loopback) {
        auto url = text(name);
        if (!url.empty() && !parse_secure_url(url, loopback) && insecure_.empty()) insecure_ = name;
        return url;
    }

    const std::string& fault() const { return fault_; }
    const std::string& insecure() const { return insecure_; }

private:
    void wrong(const char* name, const char* what) {
        if (fault_.empty()) fault_ = std::string("is not usable: ") + name + " " + what;
    }

    const json& document_;
    std::string fault_, insecure_;
};

/// Equal byte for byte, except that a segment of the path may be "{name}" in the document.
bool matches_template(std::string_view in_document, std::string_view issuer) {
    for (unsigned segment = 0;; ++segment) {
        const auto a_end = std::min(in_document.find('/'), in_document.size());
        const auto b_end = std::min(issuer.find('/'), issuer.size());
        const auto a = in_document.substr(0, a_end), b = issuer.substr(0, b_end);
        const bool placeholder =
            segment >= 3 && a.size() > 2 && a.front() == '{' && a.find('}') == a.size() - 1 && !b.empty();
        if (a != b && !placeholder) return false;
        if (a_end == in_document.size() || b_end == issuer.size())
            return a_end == in_document.size() && b_end == issuer.size();
        in_document.remove_prefix(a_end + 1);
        issuer.remove_prefix(b_end + 1);
    }
}

void read_endpoints(Members& members, PlainLoopback loopback, AuthorizationServer& server) {
    server.authorization_endpoint = members.endpoint("authorization_endpoint", loopback);
    server.token_endpoint = members.endpoint("token_endpoint", loopback);
    server.registration_endpoint = members.endpoint("registration_endpoint", loopback);
    server.revocation_endpoint = members.endpoint("revocation_endpoint", loopback);
    server.introspection_endpoint = members.endpoint("introspection_endpoint", loopback);
    server.device_authorization_endpoint = members.endpoint("device_authorization_endpoint", loopback);
    server.pushed_authorization_request_endpoint =
        members.endpoint("pushed_authorization_request_endpoint", loopback);
    server.jwks_uri = members.endpoint("jwks_uri", loopback);
    server.userinfo_endpoint = members.endpoint("userinfo_endpoint", loopback);
}

void read_aliases(Members& members, PlainLoopback loopback, AuthorizationServer::MutualTlsAliases& mtls) {
    mtls.token_endpoint = members.endpoint("token_endpoint", loopback);
    mtls.revocation_endpoint = members.endpoint("revocation_endpoint", loopback);
    mtls.introspection_endpoint = members.endpoint("introspection_endpoint", loopback);
    mtls.device_authorization_endpoint = members.endpoint("device_authorization_endpoint", loopback);
    mtls.pushed_authorization_request_endpoint =
        members.endpoint("pushed_authorization_request_endpoint", loopback);
}

void read_capabilities(Members& members, AuthorizationServer& server) {
    server.scopes_supported = members.texts("scopes_supported");
    server.grant_types_supported = members.texts("grant_types_supported");
    server.token_endpoint_auth_methods_supported = members.texts("token_endpoint_auth_methods_supported");
    server.token_endpoint_auth_signing_alg_values_supported =
        members.texts("token_endpoint_auth_signing_alg_values_supported");
    server.code_challenge_methods_supported = members.texts("code_challenge_methods_supported");
    server.id_token_signing_alg_values_supported = members.texts("id_token_signing_alg_values_supported");
    server.dpop_signing_alg_values_supported = members.texts("dpop_signing_alg_values_supported");
    server.authorization_grant_profiles_supported = members.texts("authorization_grant_profiles_supported");
    server.authorization_response_iss_parameter_supported =
        members.flag("authorization_response_iss_parameter_supported");
    server.client_id_metadata_document_supported = members.flag("client_id_metadata_document_supported");
    server.require_pushed_authorization_requests = members.flag("require_pushed_authorization_requests");
    server.tls_client_certificate_bound_access_tokens =
        members.flag("tls_client_certificate_bound_access_tokens");
}

std::unexpected<base::Error> insecure_endpoint(const std::string& name) {
    return base::failure(
        ErrorKind::invalid_request, "as_metadata.insecure_endpoint",
        "The authorization server's metadata gives an address in " + name + " that is not an https URL.",
        "Secrets are sent to https addresses alone. Ask whoever runs the server to correct it.");
}

}  // namespace

CandidateAnswer candidate_answer(unsigned status) {
    if (status == 200) return CandidateAnswer::use;
    return status >= 500 && status != 502 ? CandidateAnswer::retry_later : CandidateAnswer::next;
}

std::vector<std::string> protected_resource_urls(std::string_view server_url) {
    const auto url = parse_web_url(server_url);
    if (!url) return {};
    const std::string root = url->origin() + "/.well-known/oauth-protected-resource";
    const auto path = without_trailing_slash(url->path);
    std::vector<std::string> urls;
    if (!path.empty()) urls.push_back(with_query(root + std::string(path), *url));
    if (!path.empty() && path.size() != url->path.size()) urls.push_back(with_query(root + url->path, *url));
    urls.push_back(root);
    return urls;
}

bool resource_identifies(std::string_view resource, std::string_view url_in_use) {
    const auto named = parse_web_url(resource), used = parse_web_url(url_in_use);
    if (!named || !used || !named->same_origin(*used)) return false;
    if (has_dot_segment(named->path) || has_dot_segment(used->path)) return false;
    const auto ancestor = without_trailing_slash(named->path), path = without_trailing_slash(used->path);
    if (path == ancestor) return named->query.empty() || named->query == used->query;
    return named->query.empty() && path.starts_with(ancestor) && path[ancestor.size()] == '/';
}

base::Result<ProtectedResource> parse_protected_resource(std::string_view body, std::string_view url_in_use,
                                                         PlainLoopback loopback) {
    const auto document = parse_object(body);
    if (!document) return std::unexpected(document.error());
    Members members(*document);
    ProtectedResource resource;
    resource.resource = members.text("resource");
    for (auto& issuer : members.texts("authorization_servers"))
        if (parse_secure_url(issuer, loopback)) resource.authorization_servers.push_back(std::move(issuer));
    resource.scopes_supported = members.texts("scopes_supported");
    resource.bearer_methods_supported = members.texts("bearer_methods_supported");
    resource.jwks_uri = members.text("jwks_uri");
    resource.resource_name = members.text("resource_name");
    resource.dpop_signing_alg_values_supported = members.texts("dpop_signing_alg_values_supported");
    resource.tls_client_certificate_bound_access_tokens =
        members.flag("tls_client_certificate_bound_access_tokens");
    resource.dpop_bound_access_tokens_required = members.flag("dpop_bound_access_tokens_required");
    if (!members.fault().empty())
        return invalid("resource_metadata.invalid", "protected resource metadata", members.fault());
    if (!resource_identifies(resource.resource, url_in_use))
        return base::failure(
            ErrorKind::denied, "resource_metadata.resource_mismatch",
            "The server's protected resource metadata is about another address than this one.",
            "Use the address that the metadata names in \"resource\", or ask whoever runs the "
            "server to correct it.");
    if (resource.authorization_servers.empty())
        return invalid("resource_metadata.no_authorization_server", "protected resource metadata",
                       "names no authorization server with an https address");
    return resource;
}

std::vector<std::string> authorization_server_urls(std::string_view issuer) {
    const auto url = parse_web_url(issuer);
    if (!url || !url->query.empty() || issuer.find('?') != std::string_view::npos) return {};
    const std::string origin = url->origin() + "/.well-known/";
    const std::string path(without_trailing_slash(url->path));
    std::vector<std::string> urls{origin + "oauth-authorization-server" + path,
                                  origin + "openid-configuration" + path};
    if (!path.empty()) urls.push_back(url->origin() + path + "/.well-known/openid-configuration");
    return urls;
}

base::Result<AuthorizationServer> parse_authorization_server(std::string_view body, std::string_view issuer,
                                                             IssuerMatch match, PlainLoopback loopback) {
    const auto document = parse_object(body);
    if (!document) return std::unexpected(document.error());
    Members members(*document);
    const auto named = members.text("issuer");
    if (named != issuer && !(match == IssuerMatch::templated && matches_template(named, issuer)))
        return base::failure(
            ErrorKind::denied, "as_metadata.issuer_mismatch",
            "The authorization server's metadata is about another issuer than the one asked for.",
            "The identifier must be written exactly as the server writes it, every '/' included. "
            "If it is, do not use this server.");
    AuthorizationServer server;
    server.issuer = issuer;
    read_endpoints(members, loopback, server);
    read_capabilities(members, server);
    if (!members.fault().empty())
        return invalid("as_metadata.invalid", "authorization server's metadata", members.fault());
    if (!members.insecure().empty()) return insecure_endpoint(members.insecure());
    if (server.token_endpoint.empty())
        return invalid("as_metadata.invalid", "authorization server's metadata", "has no token_endpoint");
    if (const auto found = document->find("mtls_endpoint_aliases");
        found != document->end() && found->is_object()) {
        Members aliases(*found);
        read_aliases(aliases, loopback, server.mtls);
        if (!aliases.fault().empty())
            return invalid("as_metadata.invalid", "authorization server's metadata", aliases.fault());
        if (!aliases.insecure().empty())
            return insecure_endpoint("mtls_endpoint_aliases." + aliases.insecure());
    }
    return server;
}

void use_mtls_aliases(AuthorizationServer& server) {
    const auto use = [](std::string& endpoint, const std::string& alias) {
        if (!alias.empty()) endpoint = alias;
    };
    use(server.token_endpoint, server.mtls.token_endpoint);
    use(server.revocation_endpoint, server.mtls.revocation_endpoint);
    use(server.introspection_endpoint, server.mtls.introspection_endpoint);
    use(server.device_authorization_endpoint, server.mtls.device_authorization_endpoint);
    use(server.pushed_authorization_request_endpoint, server.mtls.pushed_authorization_request_endpoint);
}

base::Status require_s256(const AuthorizationServer& server) {
    const auto& methods = server.code_challenge_methods_supported;
    if (std::find(methods.begin(), methods.end(), "S256") != methods.end()) return {};
    return base::failure(
        ErrorKind::denied, "as_metadata.no_s256",
        "The authorization server does not say that it supports PKCE with S256, so a stolen "
        "authorization code could be used by others.",
        "Ask whoever runs the server to publish code_challenge_methods_supported with S256, or "
        "use a provider profile that says what the server does.");
}

std::optional<AuthorizationServer> assumed_authorization_server(std::string_view server_url,
                                                                PlainLoopback loopback) {
    const auto url = parse_secure_url(server_url, loopback);
    if (!url) return std::nullopt;
    AuthorizationServer server;
    server.issuer = url->origin();
    server.authorization_endpoint = url->origin() + "/authorize";
    server.token_endpoint = url->origin() + "/token";
    server.registration_endpoint = url->origin() + "/register";
    server.code_challenge_methods_supported = {"S256"};  // MCP 2025-03-26 requires PKCE of every server
    server.assumed = true;
    return server;
}

base::Result<ClientRegistration> parse_client_registration(std::string_view body, PlainLoopback loopback) {
    const auto answer = AnswerBody::parse_json(body);
    if (!answer) return std::unexpected(answer.error());
    const auto& fields = answer->fields();
    const auto refuse = [](const char* fault) {
        return invalid("registration.invalid", "answer to the client registration", fault);
    };
    ClientRegistration client;
    Members members(fields);
    client.client_id = members.text("client_id");
    client.token_endpoint_auth_method = members.text("token_endpoint_auth_method");
    client.registration_client_uri = members.text("registration_client_uri");
    if (!members.fault().empty()) return refuse(members.fault().c_str());
    if (client.client_id.empty()) return refuse("has no client_id");
    const auto secret = secret_in(fields, "client_secret", Alphabet::printable);
    const auto token = secret_in(fields, "registration_access_token", Alphabet::visible);
    if (secret.unusable || token.unusable) return refuse("has a secret that is not plain visible text");
    if (!secret.text.empty()) client.client_secret = crypto::Secret::copy_of(secret.text);
    if (const auto expires = integer_in(fields, "client_secret_expires_at"); expires && *expires != 0) {
        constexpr std::int64_t kYear9999 = 253'402'300'799;
        if (*expires < 0 || *expires > kYear9999)
            return refuse("has a client_secret_expires_at that is no time");
        client.client_secret_expires_at = base::Time(std::chrono::seconds(*expires));
    }
    if (token.text.empty() || !parse_secure_url(client.registration_client_uri, loopback))
        client.registration_client_uri.clear();  // a token is never sent to a place that is not https
    else
        client.registration_access_token = crypto::Secret::copy_of(token.text);
    return client;
}

}  // namespace claviger::oauth
