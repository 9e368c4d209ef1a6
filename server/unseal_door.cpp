#include "server/unseal_door.h"

#include "base/log.h"
#include "crypto/secret.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <thread>

namespace claviger::server {
namespace {

using base::ErrorKind;
using nlohmann::json;

net::Response json_response(unsigned status, const json& body) {
    net::Response response;
    response.status = status;
    response.headers.add("Content-Type", "application/json");
    response.body = body.dump();
    return response;
}

net::Response refused(unsigned status, const base::Error& error) {
    return json_response(
        status, {{"type", "error"},
                 {"error", {{"type", error.code}, {"message", error.message}, {"hint", error.hint}}}});
}

/// Whatever it throws, such as for want of memory, must not end the thread and the process with it.
base::Status attempt(const Unseal& unseal, const vault::SealInput& input) try {
    return unseal(input);
} catch (const std::exception& escaped) {
    return base::failure(ErrorKind::unavailable, "seal.failed", "The store could not be opened.",
                         "See Claviger's own log.", escaped.what());
}

unsigned status_of(ErrorKind kind) {
    if (kind == ErrorKind::unauthenticated) return 401;
    return kind == ErrorKind::conflict ? 409 : 503;
}

base::Result<vault::SealInput> input_of(const net::Request& request) {
    const auto slot = request.headers.find("X-Claviger-Slot").value_or("passphrase");
    if (slot != "passphrase" && slot != "key_file")
        return base::failure(ErrorKind::invalid_request, "seal.slot",
                             "X-Claviger-Slot must be passphrase or key_file.");
    if (request.body.empty() || request.body.size() > crypto::kMaxSlotInputBytes)
        return base::failure(ErrorKind::invalid_request, "seal.slot",
                             "The body must be the slot's secret, at most 64 KiB.");
    const auto kind = slot == "key_file" ? crypto::SlotKind::key_file : crypto::SlotKind::passphrase;
    return vault::SealInput{kind, crypto::Secret::copy_of(std::string_view(request.body))};
}

}  // namespace

struct UnsealDoor::State {
    Unseal unseal;
    std::function<std::string()> summary;
    std::atomic<bool> busy{false};
    boost::asio::thread_pool pool{1};
};

UnsealDoor::UnsealDoor(Unseal unseal, std::function<std::string()> summary)
    : state_(std::make_unique<State>()) {
    state_->unseal = std::move(unseal);
    state_->summary = std::move(summary);
}

UnsealDoor::~UnsealDoor() { state_->pool.join(); }

net::awaitable<void> UnsealDoor::handle(net::Worker& worker, const net::Request& request,
                                        net::ResponseWriter& writer) {
    net::Response reply;
    if (request.method == "GET" && request.path() == "/v1/seal") {
        reply = json_response(200, json::parse(state_->summary()));
    } else if (request.method != "POST" || request.path() != "/v1/unseal") {
        reply = refused(404, {ErrorKind::not_found, "not_found_error",
                              "Only POST /v1/unseal and GET /v1/seal answer here."});
    } else if (auto input = input_of(request); !input) {
        reply = refused(400, input.error());
    } else if (state_->busy.exchange(true)) {
        reply = refused(429, {ErrorKind::unavailable, "seal.busy", "Another attempt is under way.",
                              "Try again in a few seconds."});
    } else {
        auto& state = *state_;
        // Argon2id takes seconds, so it runs beside the worker.
        const auto opened =
            co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
                boost::asio::post(state.pool, [&state, &input, done = std::move(done)] {
                    auto status = attempt(state.unseal, *input);
                    const bool wrong = !status && status.error().kind == ErrorKind::unauthenticated;
                    if (wrong) std::this_thread::sleep_for(std::chrono::seconds(1));
                    state.busy = false;
                    done(std::move(status));
                });
            });
        if (!opened) base::log_error("unseal.failed", opened.error());
        reply = opened ? json_response(200, {{"sealed", false}})
                       : refused(status_of(opened.error().kind), opened.error());
    }
    co_await writer.send(reply);
}

}  // namespace claviger::server
