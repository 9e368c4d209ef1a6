// A client pool on a worker of its own, and calls through it that wait for their outcome.
#pragma once

#include "net/client.h"
#include "tests/support/net_loop.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace claviger::test {

struct Call {
    net::Origin origin;
    std::string method = "POST";
    std::string target = "/mcp";
    std::string body = R"({"jsonrpc":"2.0","id":1,"method":"ping"})";
    net::SendOptions options;
    std::vector<std::pair<std::string, std::string>> fields;
    std::function<void()> on_head = {};  // once there is one; on the worker
};

struct Outcome {
    std::string code;  // of the error; empty: all went well
    base::Error error{};
    unsigned status = 0;  // set as soon as there was a head
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;
    std::vector<std::string> pieces;
    bool ended_with_first_piece = false;
    std::optional<std::uint64_t> declared_length;
    std::string head_after;  // what the outbound head holds once send() is over

    std::string field(std::string_view name) const {
        for (const auto& [each, value] : fields)
            if (net::equal_ignoring_case(each, name)) return value;
        return "(none)";
    }
};

inline net::awaitable<Outcome> perform(net::Worker& worker, net::ClientPool& pool, Call call) {
    Outcome outcome;
    net::OutboundHead head(worker);
    head.begin(call.method, call.target, call.origin);
    for (const auto& [name, value] : call.fields)
        if (!head.add(name, value)) std::abort();
    auto sent = co_await pool.send(call.origin, head, call.body, call.options);
    outcome.head_after = head.bytes();
    if (!sent) {
        outcome.error = sent.error();
        outcome.code = sent.error().code;
        co_return outcome;
    }
    auto& answer = **sent;
    outcome.status = answer.head().status;
    if (call.on_head) call.on_head();
    outcome.declared_length = answer.declared_length();
    for (std::size_t i = 0; i < answer.head().headers.size(); ++i) {
        const auto field = answer.head().headers.at(i);
        outcome.fields.emplace_back(field.name, field.value);
    }
    for (;;) {
        auto piece = co_await answer.next();
        if (!piece) {
            outcome.error = piece.error();
            outcome.code = piece.error().code;
            co_return outcome;
        }
        if (piece->empty()) co_return outcome;
        outcome.body += *piece;
        outcome.pieces.emplace_back(*piece);
        if (outcome.pieces.size() == 1) outcome.ended_with_first_piece = answer.ended();
    }
}

struct ClientWorld {
    Loop loop;
    std::optional<net::ClientPool> pool;

    explicit ClientWorld(net::ClientLimits limits = {}, std::shared_ptr<net::TlsClient> tls = nullptr) {
        pool.emplace(loop.worker, limits, std::move(tls));
    }
    ~ClientWorld() {
        loop.stop();
        pool.reset();
    }

    Outcome run(Call call) {
        return loop.await<Outcome>(
            [this, &call](net::Worker& worker) { return perform(worker, *pool, call); });
    }
    std::size_t idle() {
        return loop.call([this] { return pool->idle_connections(); });
    }
};

/// A call to a test's upstream on loopback, which the test allows.
inline Call call_to(std::uint16_t port, std::string partition = "credential-1") {
    Call call;
    call.origin = {false, "127.0.0.1", port};
    call.options.partition = std::move(partition);
    call.options.private_addresses = net::PrivateAddresses::allow;
    call.options.head_timeout = std::chrono::seconds(5);
    return call;
}

}  // namespace claviger::test
