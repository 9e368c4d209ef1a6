// The agents' side as a whole: a store in memory that breaks on request, one worker, the real listener, and
// an upstream that answers what a test says.
#pragma once

#include "net/server.h"
#include "proxy/mcp_endpoint.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/net_loop.h"
#include "tests/support/raw_client.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace claviger::test {

using FieldList = std::vector<std::pair<std::string, std::string>>;

/// One answer as it came over the wire, chunks joined.
struct AgentReply {
    unsigned status = 0;
    std::string head, body;
    bool complete = false;  // the framing was kept to its end

    std::string field(std::string_view name) const;  // "(none)" when it is absent
};
AgentReply read_reply(std::string_view raw);

std::string http_answer(std::string_view status, const FieldList& fields, std::string_view body);
/// 200 with application/json.
std::string json_answer(std::string_view body, const FieldList& fields = {});
/// 200 with text/event-stream, ended by closing.
std::string sse_answer(std::string_view events);
std::string call_of(std::string_view tool, std::string_view more = {});
/// The same call in the modern era.
std::string modern_call_of(std::string_view tool);
FieldList modern_fields(std::string_view method, std::string_view name = {});

/// Upstreams of tests have a private address, and limits are so long that only what hangs meets them.
inline proxy::ProxySettings usual_settings() {
    proxy::ProxySettings settings;
    settings.private_upstreams = net::PrivateAddresses::allow;
    settings.head_timeout = settings.stream_idle = std::chrono::seconds(8);
    return settings;
}

class Gateway {
public:
    static constexpr std::string_view kSecret = "up_s3cret/with+specials==";
    using Answering = std::function<std::string(const std::string& request)>;

    /// `answering` runs on the upstream's threads; empty: every request is answered by an empty result.
    explicit Gateway(Answering answering = {});
    explicit Gateway(RawUpstream::Script script, proxy::ProxySettings settings = usual_settings());
    ~Gateway();

    /// As the agent: one request on a connection of its own.
    AgentReply post(std::string_view body, const FieldList& fields = {}) {
        return send("POST", body, fields);
    }
    AgentReply send(std::string_view method, std::string_view body, const FieldList& fields = {});
    std::string request_text(std::string_view method, std::string_view body, const FieldList& fields);
    RawClient connect() { return RawClient(server_->port()); }
    void end_streams() { endpoint_->stop(proxy::CallsUnderWay::Stop::streams); }
    /// As a stopping server does when `grace` is over.
    void drain(std::chrono::milliseconds grace) {
        server_->drain(grace, [this] { endpoint_->stop(proxy::CallsUnderWay::Stop::all); });
    }

    /// On the commit thread; fails the test when it fails.
    void change(const std::function<base::Status(vault::Change&)>& apply);
    template <class T>
    void store(T object) {
        change([&](vault::Change& now) {
            now.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::none, object.id.raw);
            return now.store(object);
        });
    }
    /// Another session of the same agent, environment and vaults; gives its token.
    std::string open_session();

    /// What the log says of calls, oldest first.
    std::vector<vault::LogEntry> calls() const;
    /// Waits until the log has that many entries of calls.
    std::vector<vault::LogEntry> calls(std::size_t wanted) const;

    ManualClock clock;
    FaultEngine engine;
    TamperedEngine disk{engine};
    Echo seen;  // by the upstream
    proxy::ProxyCounters counters;

    vault::Vault vault;
    vault::Credential credential;
    vault::Environment environment;
    vault::Agent agent;
    vault::Session session;
    vault::SessionToken session_token;
    std::string token;  // the agent's

    std::unique_ptr<vault::Records> records;

private:
    void make_objects();
    void serve();
    vault::Session new_session() const;
    vault::SessionToken new_token(const vault::Session& of, std::string_view text) const;

    proxy::ProxySettings settings_;
    RawUpstream upstream_;
    Loop loop_;
    std::vector<std::unique_ptr<proxy::Lane>> lanes_;
    std::unique_ptr<proxy::McpEndpoint> endpoint_;
    std::unique_ptr<net::Server> server_;
};

}  // namespace claviger::test
