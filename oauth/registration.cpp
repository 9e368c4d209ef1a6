#include "oauth/registration.h"

#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr std::chrono::milliseconds kPatience{15'000};
constexpr std::string_view kDeviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

bool lists(const std::vector<std::string>& list, std::string_view wanted) {
    return std::ranges::find(list, wanted) != list.end();
}

/// A browser comes back to this machine alone: that is what servers call a native client.
bool is_loopback(const OwnAddress& own) {
    const auto url = parse_web_url(own.public_url);
    return url && url->loopback();
}

/// With a secret where the server knows how, because it protects the refresh token too.
std::string_view method_to_ask_for(const AuthorizationServer& server) {
    const auto& methods = server.token_endpoint_auth_methods_supported;
    for (const std::string_view method : {"client_secret_basic", "client_secret_post"})
        if (methods.empty() || lists(methods, method)) return method;
    return "none";
}

json registration_document(const AuthorizationServer& server, const OwnAddress& own, GrantType grant) {
    json document{{"client_name", "Claviger"},
                  {"token_endpoint_auth_method", method_to_ask_for(server)},
                  {"application_type", is_loopback(own) ? "native" : "web"}};
    json grants = json::array();
    grants.push_back(grant == GrantType::device_code ? kDeviceGrant : "authorization_code");
    if (server.grant_types_supported.empty() || lists(server.grant_types_supported, "refresh_token"))
        grants.push_back("refresh_token");
    document["grant_types"] = std::move(grants);
    if (grant == GrantType::device_code) {
        document["response_types"] = json::array();
        document["redirect_uris"] = json::array();
    } else {
        document["response_types"] = {"code"};
        document["redirect_uris"] = {own.redirect_uri()};
    }
    if (!own.document_url().empty()) document["client_uri"] = own.public_url;
    return document;
}

/// The server's error code where it is one; its other words are for the log.
std::unexpected<base::Error> refused(const ExchangeAnswer& answer) {
    const auto document = parse_object(answer.body);
    const auto code = document ? string_in(*document, "error").value_or("") : std::string();
    const bool usable = !code.empty() && code.size() <= 64 &&
                        std::ranges::all_of(code, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
    auto detail = "status " + std::to_string(answer.status);
    if (document) detail += ": " + scrubbed(string_in(*document, "error_description").value_or(""));
    if (answer.status == 401 || answer.status == 403)
        return base::failure(ErrorKind::denied, "registration.needs_token",
                             "The authorization server lets only known parties register clients.",
                             "Register a client there by hand, and give its client_id.", std::move(detail));
    if (answer.status == 429 || answer.status >= 500)
        return base::failure(ErrorKind::unavailable, "registration.unreachable",
                             "The authorization server cannot register a client right now (" +
                                 std::to_string(answer.status) + ").",
                             "Try again later.", std::move(detail));
    return base::failure(ErrorKind::invalid_request, "registration.refused",
                         "The authorization server refused to register Claviger as a client" +
                             (usable ? ": " + code : std::string()) + ".",
                         code == "invalid_redirect_uri"
                             ? "It does not take Claviger's redirect URI. Set admin.public_url to an https "
                               "address that it accepts, or register a client by hand."
                             : "Register a client there by hand, and give its client_id.",
                         std::move(detail));
}

}  // namespace

std::string OwnAddress::document_url() const {
    const auto url = parse_web_url(public_url);
    return url && url->tls && !url->loopback() ? public_url + "/oauth/client.json" : std::string();
}

std::string client_metadata_document(const OwnAddress& own) {
    return json{{"client_id", own.document_url()},
                {"client_name", "Claviger"},
                {"client_uri", own.public_url},
                {"redirect_uris", {own.redirect_uri()}},
                {"grant_types", {"authorization_code", "refresh_token"}},
                {"response_types", {"code"}},
                {"application_type", "web"},
                {"token_endpoint_auth_method", "none"}}
        .dump();
}

base::Result<RegistrationWay> choose_registration(const ProviderProfile& profile,
                                                  const AuthorizationServer& server, bool has_registered,
                                                  const OwnAddress& own) {
    for (const auto way : profile.client.registration) {
        const bool open = way == RegistrationWay::registered ? has_registered
                          : way == RegistrationWay::metadata_document
                              ? server.client_id_metadata_document_supported && !own.document_url().empty()
                              : !server.registration_endpoint.empty();
        if (open) return way;
    }
    // What somebody gave us on purpose is used even where the profile does not expect it.
    if (has_registered) return RegistrationWay::registered;
    const bool would_take_document =
        server.client_id_metadata_document_supported && own.document_url().empty();
    return base::failure(
        ErrorKind::invalid_request, "registration.no_way",
        "Claviger is no client of the authorization server " + server.issuer +
            " yet, and cannot become one by itself.",
        std::string("Register a client there with the redirect URI ") + own.redirect_uri() +
            " and give its client_id and client_secret, or store them with `claviger client create`." +
            (would_take_document ? " Setting admin.public_url to an address that the internet can reach "
                                   "would do as well."
                                 : ""));
}

net::awaitable<base::Result<ClientRegistration>> register_client(const Outbound& out,
                                                                 const AuthorizationServer& server,
                                                                 const OwnAddress& own, GrantType grant) {
    const TokenRequest request{
        .content_type = "application/json",
        .body = crypto::Secret::copy_of(std::string_view(registration_document(server, own, grant).dump())),
        .headers = {}};
    const auto answer = co_await ask(
        out,
        {.method = "POST", .url = server.registration_endpoint, .payload = &request, .timeout = kPatience});
    if (!answer.complete()) {
        if (answer.error.kind == ErrorKind::denied) co_return std::unexpected(answer.error);
        co_return base::failure(ErrorKind::unavailable, "registration.unreachable",
                                "The authorization server's registration endpoint did not answer.",
                                "Try again later.", answer.error.detail);
    }
    if (answer.status != 200 && answer.status != 201) co_return refused(answer);
    co_return parse_client_registration(answer.body, out.plain_loopback);
}

}  // namespace claviger::oauth
