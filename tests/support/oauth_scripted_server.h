// An MCP server and its authorization server in one, on a loopback socket, that say what a test wants and
// remember what they were asked. For tests of oauth/ and of what stands on it.
#pragma once

#include "net/server.h"
#include "tests/support/net_loop.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::test {

/// The fields of a form or of a query, decoded.
std::map<std::string, std::string> form_fields(std::string_view text);

net::Response answer_with(unsigned status, std::string_view type, std::string body);
net::Response json_answer(unsigned status, const nlohmann::json& body);

class ScriptedServer {
public:
    struct Seen {
        std::string method, path, body, authorization, dpop;
    };
    using Reply = std::function<net::Response(const net::Request&)>;

    /// By default: a challenge for /mcp, both metadata documents, dynamic registration, tokens for every
    /// code, a device endpoint and a revocation endpoint.
    ScriptedServer();
    ~ScriptedServer();

    std::string origin() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
    std::string mcp_url() const { return origin() + "/mcp"; }
    nlohmann::json resource_metadata() const;
    nlohmann::json server_metadata() const;
    nlohmann::json tokens() const;

    /// From now on that path (with its query, if the script wants one) is answered so. Null: 404.
    void script(const std::string& path, Reply reply);
    void script(const std::string& path, net::Response answer);
    std::vector<Seen> seen(std::string_view path = {});
    std::size_t count(std::string_view path) { return seen(path).size(); }

private:
    net::awaitable<void> serve(const net::Request& request, net::ResponseWriter& writer);

    Loop loop_;
    std::mutex mutex_;
    std::map<std::string, Reply> replies_;
    std::vector<Seen> seen_;
    net::Server server_;
};

}  // namespace claviger::test
