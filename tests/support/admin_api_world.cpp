#include "tests/support/admin_api_world.h"

#include "admin/api/credentials.h"
#include "tests/support/spec.h"

#include <algorithm>

namespace claviger::test {
namespace {

class Recorder final : public net::ResponseWriter {
public:
    net::awaitable<base::Status> send(const net::Response& response) override {
        response_ = response;
        co_return base::Status();
    }
    base::Status start(unsigned, const net::Headers&, std::optional<std::uint64_t>) override { return {}; }
    net::awaitable<base::Status> write(std::string_view) override { co_return base::Status(); }
    net::awaitable<base::Status> finish(std::string_view) override { co_return base::Status(); }
    void abort() override {}
    bool started() const override { return false; }
    void on_client_gone(std::function<void()>) override {}

    const std::optional<net::Response>& response() const { return response_; }

private:
    std::optional<net::Response> response_;
};

net::awaitable<bool> run(const admin::api::Api& api, const net::Request& request, Recorder& recorder) {
    co_await api.handle(request, recorder);
    co_return true;
}

}  // namespace

ApiWorld::ApiWorld(net::PrivateAddresses private_upstreams, std::string public_url)
    : engine(vault::open_in_memory()) {
    std::vector<vault::SealInput> inputs;
    inputs.push_back(key_file());
    const auto first =
        vault::Records::initialise(*engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
    REQUIRE(first);
    admin_key = first->api_key;
    workspace = first->workspace.text();
    auto keys = vault::KeyRing::unseal(*engine, key_file());
    REQUIRE(keys);
    auto opened = vault::Records::open(*engine, std::move(*keys), clock);
    REQUIRE(opened);
    records = std::move(*opened);

    pool = loop.call([&] {
        return std::make_unique<net::ClientPool>(
            loop.worker, net::ClientLimits{.connect = std::chrono::milliseconds(2'000)}, nullptr);
    });
    api = std::make_unique<admin::api::Api>(
        std::vector<net::Worker*>{&loop.worker}, [this](net::Worker&) -> net::ClientPool& { return *pool; },
        admin::api::ApiSettings{.allowed_hosts = {"vault.example.com"},
                                .private_upstreams = private_upstreams,
                                .probe_timeout = std::chrono::seconds(10),
                                .webhooks = {.private_addresses = private_upstreams},
                                .more_metrics = [] { return std::string("more_metrics 1\n"); }});
    connect = std::make_unique<oauth::ConnectWorld>(oauth::ConnectWorld{
        .records = *records,
        .providers = providers,
        .own = {std::move(public_url)},
        .check_room = admin::api::check_room,
        .hooks = {.tell = {},
                  .revoke = {},
                  .reach = [private_upstreams](const vault::Credential&, std::string_view) {
                      return private_upstreams;
                  }}});
    api->connect_with(*connect);
    api->open(*records, nullptr, "http://127.0.0.1:8700/");
}

ApiWorld::~ApiWorld() {
    records.reset();  // what waits for the commit thread has its answer then
    loop.call([&] {
        pool.reset();
        return true;
    });
    loop.stop();
}

ApiReply ApiWorld::raw(std::string_view method, std::string_view target, std::string_view body,
                       const HeaderList& headers) {
    net::Request request;
    request.method = method;
    request.target = target;
    request.body = body;
    request.peer = "192.0.2.7";
    if (std::ranges::none_of(headers, [](const auto& header) { return header.first == "Host"; }))
        request.headers.add("Host", "127.0.0.1:8701");
    for (const auto& [name, value] : headers) request.headers.add(name, value);
    Recorder recorder;
    loop.await<bool>([&](net::Worker&) { return run(*api, request, recorder); });
    REQUIRE(recorder.response());

    ApiReply reply{
        .status = recorder.response()->status, .headers = {}, .text = recorder.response()->body, .body = {}};
    for (std::size_t i = 0; i < recorder.response()->headers.size(); ++i) {
        const auto field = recorder.response()->headers.at(i);
        reply.headers[std::string(field.name)] = field.value;
    }
    reply.body = json::parse(reply.text, nullptr, false);
    return reply;
}

ApiReply ApiWorld::call_as(std::string_view key, std::string_view method, std::string_view target,
                           const json& body, const HeaderList& more) {
    HeaderList headers{{"x-api-key", std::string(key)},
                       {"anthropic-version", "2023-06-01"},
                       {"anthropic-beta", "managed-agents-2026-04-01"}};
    headers.insert(headers.end(), more.begin(), more.end());
    return raw(method, target, body.is_null() ? std::string() : body.dump(), headers);
}

ApiReply ApiWorld::call(std::string_view method, std::string_view target, const json& body) {
    return call_as(admin_key, method, target, body);
}

ApiReply ApiWorld::post_text(std::string_view target, std::string_view body) {
    return raw("POST", target, body,
               {{"x-api-key", admin_key}, {"anthropic-beta", "managed-agents-2026-04-01"}});
}

json ApiWorld::get(std::string_view target) {
    auto reply = call("GET", target);
    INFO(target << ": " << reply.text);
    REQUIRE(reply.status == 200);
    return reply.body;
}

json ApiWorld::post(std::string_view target, const json& body) {
    auto reply = call("POST", target, body);
    INFO(target << ": " << reply.text);
    REQUIRE(reply.status == 200);
    return reply.body;
}

json ApiWorld::remove(std::string_view target) {
    auto reply = call("DELETE", target);
    INFO(target << ": " << reply.text);
    REQUIRE(reply.status == 200);
    return reply.body;
}

std::string ApiWorld::new_key(std::string_view role) {
    return post("/v1/api_keys", {{"name", std::string(role)}, {"role", std::string(role)}})["key"];
}

json ApiWorld::new_vault(std::string_view name) {
    return post("/v1/vaults", {{"display_name", std::string(name)}});
}

json ApiWorld::new_bearer(const std::string& vault, std::string_view url, std::string_view token) {
    return post(
        "/v1/vaults/" + vault + "/credentials",
        {{"auth",
          {{"type", "static_bearer"}, {"mcp_server_url", std::string(url)}, {"token", std::string(token)}}}});
}

json ApiWorld::new_environment(const json& more) {
    json body{{"name", "prod"}};
    body.update(more);
    return post("/v1/environments", body);
}

json ApiWorld::new_agent(const json& more) {
    json body{{"name", "Ops agent"},
              {"model", "any-model"},
              {"mcp_servers", {{{"type", "url"}, {"name", "linear"}, {"url", "https://mcp.linear.app/mcp"}}}},
              {"tools", {{{"type", "mcp_toolset"}, {"mcp_server_name", "linear"}}}}};
    body.update(more);
    return post("/v1/agents", body);
}

json ApiWorld::new_session(const json& more) {
    json body = json::object();
    if (!more.contains("agent")) body["agent"] = new_agent()["id"];
    if (!more.contains("environment_id")) body["environment_id"] = new_environment()["id"];
    body.update(more);
    return post("/v1/sessions", body);
}

}  // namespace claviger::test
