#include "tests/support/oauth_scripted_server.h"

#include "tests/support/spec.h"

#include <cstdlib>

namespace claviger::test {

using nlohmann::json;

std::map<std::string, std::string> form_fields(std::string_view text) {
    const auto decoded = [](std::string_view part) {
        std::string out;
        for (std::size_t i = 0; i < part.size(); ++i) {
            if (part[i] == '%' && i + 2 < part.size()) {
                out +=
                    static_cast<char>(std::strtol(std::string(part.substr(i + 1, 2)).c_str(), nullptr, 16));
                i += 2;
            } else {
                out += part[i] == '+' ? ' ' : part[i];
            }
        }
        return out;
    };
    std::map<std::string, std::string> fields;
    while (!text.empty()) {
        const auto end = std::min(text.find('&'), text.size());
        const auto pair = text.substr(0, end);
        const auto equals = std::min(pair.find('='), pair.size());
        fields[decoded(pair.substr(0, equals))] = decoded(pair.substr(std::min(equals + 1, pair.size())));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return fields;
}

net::Response answer_with(unsigned status, std::string_view type, std::string body) {
    net::Response response;
    response.status = status;
    if (!type.empty()) response.headers.add("content-type", type);
    response.body = std::move(body);
    return response;
}

net::Response json_answer(unsigned status, const json& body) {
    return answer_with(status, "application/json", body.dump());
}

ScriptedServer::ScriptedServer()
    : server_({&loop_.worker}, net::ServerLimits{},
              [this](const net::Request& request, net::ResponseWriter& writer) {
                  return serve(request, writer);
              }) {
    REQUIRE(server_.listen("127.0.0.1", 0, nullptr));
    auto challenge = answer_with(401, "application/json", R"({"error":"invalid_token"})");
    challenge.headers.add("www-authenticate",
                          "Bearer resource_metadata=\"" + origin() +
                              "/.well-known/oauth-protected-resource/mcp\", scope=\"mcp:read\"");
    script("/mcp", challenge);
    script("/.well-known/oauth-protected-resource/mcp", json_answer(200, resource_metadata()));
    script("/.well-known/oauth-authorization-server", json_answer(200, server_metadata()));
    script("/register",
           json_answer(201, {{"client_id", "dynamic-1"}, {"client_secret", "CANARY-client-secret"}}));
    script("/token", json_answer(200, tokens()));
    script("/revoke", answer_with(200, "", ""));
    script("/device", json_answer(200, {{"device_code", "CANARY-device-code"},
                                        {"user_code", "WDJB-MJHT"},
                                        {"verification_uri", origin() + "/enter"},
                                        {"expires_in", 600},
                                        {"interval", 1}}));
}

ScriptedServer::~ScriptedServer() { server_.drain(std::chrono::milliseconds(200)); }

json ScriptedServer::resource_metadata() const {
    return {{"resource", mcp_url()},
            {"authorization_servers", {origin()}},
            {"scopes_supported", {"mcp:read", "mcp:write"}}};
}

json ScriptedServer::server_metadata() const {
    return {{"issuer", origin()},
            {"authorization_endpoint", origin() + "/authorize"},
            {"token_endpoint", origin() + "/token"},
            {"registration_endpoint", origin() + "/register"},
            {"revocation_endpoint", origin() + "/revoke"},
            {"device_authorization_endpoint", origin() + "/device"},
            {"code_challenge_methods_supported", {"S256"}},
            {"authorization_response_iss_parameter_supported", true}};
}

json ScriptedServer::tokens() const {
    return {{"access_token", "CANARY-access"},
            {"refresh_token", "CANARY-refresh"},
            {"token_type", "Bearer"},
            {"expires_in", 3600}};
}

void ScriptedServer::script(const std::string& path, Reply reply) {
    const std::lock_guard lock(mutex_);
    replies_[path] = std::move(reply);
}

void ScriptedServer::script(const std::string& path, net::Response answer) {
    script(path, [answer = std::move(answer)](const net::Request&) { return answer; });
}

std::vector<ScriptedServer::Seen> ScriptedServer::seen(std::string_view path) {
    const std::lock_guard lock(mutex_);
    std::vector<Seen> found;
    for (const auto& each : seen_)
        if (path.empty() || each.path == path) found.push_back(each);
    return found;
}

net::awaitable<void> ScriptedServer::serve(const net::Request& request, net::ResponseWriter& writer) {
    Reply reply;
    {
        const std::lock_guard lock(mutex_);
        const auto field = [&](const char* name) {
            return std::string(request.headers.find(name).value_or(""));
        };
        seen_.push_back({request.method, std::string(request.path()), request.body, field("Authorization"),
                         field("DPoP")});
        if (const auto found = replies_.find(request.target); found != replies_.end()) reply = found->second;
    }
    const auto response = reply ? reply(request) : answer_with(404, "text/plain", "nothing here");
    co_await writer.send(response);
}

}  // namespace claviger::test
