#include "server/unseal_door.h"

#include "admin/api/seal_slots.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "server/store_opening.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <thread>

namespace claviger::server {
namespace {

using base::ErrorKind;
using crypto::SlotKind;
using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{8};
constexpr std::chrono::minutes kSharesKept{30};

net::Response json_response(unsigned status, const Json& body) {
    net::Response response;
    response.status = status;
    response.headers.add("Content-Type", "application/json");
    response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    return response;
}

net::Response refused(unsigned status, const base::Error& error) {
    return json_response(
        status, {{"type", "error"},
                 {"error", {{"type", error.code}, {"message", error.message}, {"hint", error.hint}}}});
}

unsigned status_of(ErrorKind kind) {
    if (kind == ErrorKind::unauthenticated) return 401;
    if (kind == ErrorKind::invalid_request) return 400;
    return kind == ErrorKind::conflict ? 409 : 503;
}

/// What one request brought.
struct Brought {
    std::string slot;                      // of X-Claviger-Slot
    std::optional<base::RawId> slot_id;    // of X-Claviger-Slot-Id
    std::optional<crypto::Secret> secret;  // the body, unless it is empty
};

std::unexpected<base::Error> bad_request(std::string message) {
    return base::failure(ErrorKind::invalid_request, "seal.slot", std::move(message));
}

base::Result<Brought> brought_by(const net::Request& request) {
    Brought brought;
    brought.slot = request.headers.find("X-Claviger-Slot").value_or("passphrase");
    constexpr std::array<std::string_view, 5> known{"passphrase", "key_file", "pkcs11", "recipient", "share"};
    if (std::ranges::count(known, brought.slot) == 0)
        return bad_request("X-Claviger-Slot must be passphrase, key_file, pkcs11, recipient or share.");
    if (request.body.size() > crypto::kMaxSlotInputBytes ||
        (request.body.empty() && brought.slot != "pkcs11"))
        return bad_request("The body must be the slot's secret, at most 64 KiB.");
    if (!request.body.empty()) brought.secret = crypto::Secret::copy_of(std::string_view(request.body));
    if (const auto text = request.headers.find("X-Claviger-Slot-Id")) {
        const auto bytes = base::from_hex(*text);
        if (!bytes || bytes->size() != base::RawId{}.size())
            return bad_request("X-Claviger-Slot-Id must be the 32 hex digits of a slot's id.");
        std::ranges::copy(*bytes, brought.slot_id.emplace().begin());
    }
    return brought;
}

/// One set of which some shares were given.
struct Collected {
    crypto::SharesSoFar shares;
    std::chrono::steady_clock::time_point last;
};

}  // namespace

struct UnsealDoor::State {
    State(Unseal how, DoorView seen) : unseal(std::move(how)), view(std::move(seen)) {}

    base::Result<Json> attempt(const Brought& brought);
    base::Result<Json> open(const vault::SealInput& input);
    base::Result<Json> take_share(const crypto::Secret& text);
    base::Result<Json> summary();
    Json progress();
    void pause_after(const base::Error& error);

    Unseal unseal;
    DoorView view;
    std::atomic<bool> busy{false};  // guards what follows, too
    std::chrono::seconds pause = kFirstPause;
    std::vector<Collected> collected;
    boost::asio::thread_pool pool{1};
};

base::Result<Json> UnsealDoor::State::open(const vault::SealInput& input) {
    if (auto opened = unseal(input); !opened) return std::unexpected(std::move(opened).error());
    collected.clear();
    pause = kFirstPause;
    return Json{{"sealed", false}};
}

base::Result<Json> UnsealDoor::State::take_share(const crypto::Secret& text) {
    if (!view.sealed())
        return base::failure(ErrorKind::conflict, "seal.open", "The store is unsealed already.",
                             "Keep the share; `claviger seal verify` checks it.");
    auto file = crypto::parse_share(text);
    if (!file) return std::unexpected(std::move(file).error());
    const auto instance = view.summary();
    if (!instance) return std::unexpected(instance.error());
    const auto found = slot_of_share(*instance, *file);
    if (!found) return std::unexpected(found.error());
    const auto& slot = **found;
    progress();  // drops what was kept for too long
    auto set = std::ranges::find(collected, slot.parameters.slot,
                                 [](const Collected& each) { return each.shares.set().set; });
    if (set == collected.end()) {
        collected.push_back(
            {crypto::SharesSoFar(crypto::share_set_of(instance->instance, slot.parameters)), {}});
        set = collected.end() - 1;
    }
    if (auto added = set->shares.add(std::move(*file)); !added)
        return std::unexpected(std::move(added).error());
    set->last = std::chrono::steady_clock::now();
    if (!set->shares.enough()) return Json{{"sealed", true}, {"shares", progress()}};

    const auto secret = set->shares.secret();
    if (!secret) return std::unexpected(secret.error());
    const auto input = input_for(slot, crypto::identity_of_shares(*secret));
    if (!input) return std::unexpected(input.error());
    return open(*input);
}

base::Result<Json> UnsealDoor::State::attempt(const Brought& brought) try {
    if (brought.slot == "share") return take_share(*brought.secret);
    if (brought.slot == "pkcs11") {
        auto input = view.token_input();
        if (!input) return std::unexpected(std::move(input).error());
        input->slot = brought.slot_id;
        return open(*input);
    }
    vault::SealInput input{SlotKind::passphrase, brought.secret->expose([](std::span<const std::byte> bytes) {
                               return crypto::Secret::copy_of(bytes);
                           })};
    input.slot = brought.slot_id;
    if (brought.slot == "key_file") input.kind = SlotKind::key_file;
    if (brought.slot == "recipient") {
        input.kind = SlotKind::recipient;
        input.form = vault::SealInput::Form::opening_key;
    }
    return open(input);
} catch (const std::exception& escaped) {  // for want of memory, say: it must not end the process
    return base::failure(ErrorKind::unavailable, "seal.failed", "The store could not be opened.",
                         "See Claviger's own log.", escaped.what());
}

void UnsealDoor::State::pause_after(const base::Error& error) {
    const bool wrong = error.kind == ErrorKind::unauthenticated || error.code == "token.pin_refused" ||
                       (error.code.starts_with("share.") && error.code != "share.duplicate");
    if (!wrong) return;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
}

Json UnsealDoor::State::progress() {
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(collected, [&](const Collected& each) {
        return each.shares.have() != 0 && now - each.last > kSharesKept;
    });
    auto sets = Json::array();
    for (const auto& each : collected)
        sets.push_back({{"slot", vault::slot_id_text(each.shares.set().set)},
                        {"have", each.shares.have()},
                        {"need", each.shares.set().threshold()},
                        {"given", each.shares.given()}});
    return sets;
}

base::Result<Json> UnsealDoor::State::summary() {
    const auto instance = view.summary();
    if (!instance) return std::unexpected(instance.error());
    auto shown = admin::api::shown_seal(*instance, view.clock.now());
    Json out{{"sealed", view.sealed()}};
    out.update(shown);
    return out;
}

UnsealDoor::UnsealDoor(Unseal unseal, DoorView view)
    : state_(std::make_unique<State>(std::move(unseal), std::move(view))) {}

UnsealDoor::~UnsealDoor() { state_->pool.join(); }

net::awaitable<void> UnsealDoor::handle(net::Worker& worker, const net::Request& request,
                                        net::ResponseWriter& writer) {
    auto& state = *state_;
    net::Response reply;
    const auto path = request.path();
    if (request.method == "GET" && path == "/v1/seal") {
        auto seen = state.summary();
        if (seen && !state.busy.exchange(true)) {
            (*seen)["shares"] = state.progress();
            state.busy = false;
        }
        reply = seen ? json_response(200, *seen) : refused(503, seen.error());
    } else if (path != "/v1/unseal" || (request.method != "POST" && request.method != "DELETE")) {
        reply = refused(404, {ErrorKind::not_found, "not_found_error",
                              "Only POST and DELETE /v1/unseal and GET /v1/seal answer here."});
    } else if (auto brought =
                   request.method == "POST" ? brought_by(request) : base::Result<Brought>(Brought{});
               !brought) {
        reply = refused(400, brought.error());
    } else if (state.busy.exchange(true)) {
        reply = refused(429, {ErrorKind::unavailable, "seal.busy", "Another attempt is under way.",
                              "Try again in a few seconds."});
    } else if (request.method == "DELETE") {
        state.collected.clear();
        state.busy = false;
        reply = json_response(200, {{"sealed", state.view.sealed()}, {"shares", Json::array()}});
    } else {
        // Argon2id takes seconds and tokens their time, so it runs beside the worker.
        const auto opened = co_await net::await_callback<base::Result<Json>>(
            worker, [&](std::function<void(base::Result<Json>)> done) {
                boost::asio::post(state.pool, [&state, &brought, done = std::move(done)] {
                    auto result = state.attempt(*brought);
                    if (!result) state.pause_after(result.error());
                    state.busy = false;
                    done(std::move(result));
                });
            });
        if (!opened) base::log_error("unseal.failed", opened.error());
        reply =
            opened ? json_response(200, *opened) : refused(status_of(opened.error().kind), opened.error());
    }
    co_await writer.send(reply);
}

}  // namespace claviger::server
