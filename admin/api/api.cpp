#include "admin/api/api.h"

#include "admin/api/authenticate.h"
#include "admin/api/connect_pages.h"
#include "admin/api/health.h"
#include "admin/api/replay.h"
#include "admin/api/reply.h"
#include "admin/api/routes.h"
#include "base/log.h"
#include "crypto/random.h"

#include <algorithm>
#include <atomic>

#include <boost/asio/this_coro.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

/// The store, once it is open. Written once, before the pointer to it is.
struct Opened {
    vault::Records* records;
    oauth::Refresher* grants;
    std::string agents_url;
};

Refusal refusal(ErrorKind kind, std::string_view code, std::string message, std::string hint = {}) {
    return {.error = {kind, code, std::move(message), std::move(hint)}, .allow = {}, .retry_after_ms = {}};
}

Refusal refusal(base::Error error) { return {.error = std::move(error), .allow = {}, .retry_after_ms = {}}; }

/// The path without what it may be mounted under.
std::string_view below_prefix(std::string_view path) {
    const auto at = path.find("/v1/");
    return at == std::string_view::npos ? path : path.substr(at);
}

Refusal unknown_route(const Match& found) {
    if (!found.other_methods.empty()) {
        auto wrong = refusal(ErrorKind::invalid_request, "request.method",
                             "This path has only other methods.", "Use " + found.other_methods + ".");
        wrong.status = 405;
        return wrong;
    }
    return refusal(
        ErrorKind::not_found, "request.not_found",
        "There is no such route. Claviger serves vaults, credentials, environments, agents, sessions, "
        "webhooks, the access log, seal slots, keys, backups, API keys and workspaces; messages, models, "
        "files, events and everything else that needs a model are not part of it.",
        "Use a second client with its own base URL for the hosted API.");
}

/// How often the client has sent this request before.
bool is_repeated(const net::Headers& headers) {
    const auto count = headers.find("x-stainless-retry-count");
    return count && !count->empty() && *count != "0" &&
           std::ranges::all_of(*count, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

struct Api::State {
    std::vector<net::Worker*> workers;
    PoolOf pool_of;
    ApiSettings settings;
    std::unique_ptr<const Opened> opened;
    const oauth::ConnectWorld* connect = nullptr;  // written before `store` is, like the next
    vault::KeyRotations* rotations = nullptr;
    std::atomic<const Opened*> store{nullptr};
    ApiCounters counters;
    Replay replay;

    using Outcome = std::expected<net::Response, Refusal>;
    net::awaitable<Outcome> serve(net::Worker& worker, const net::Request& request,
                                  const base::RequestId& id);
    net::awaitable<Outcome> run(net::Worker& worker, const net::Request& request, const Opened& open,
                                vault::Ref<vault::ApiKey> key, Match found, const base::RequestId& id);
};

Api::Api(std::vector<net::Worker*> workers, PoolOf pool_of, ApiSettings settings)
    : state_(std::make_unique<State>()) {
    state_->workers = std::move(workers);
    state_->pool_of = std::move(pool_of);
    state_->settings = std::move(settings);
}

Api::~Api() = default;

void Api::open(vault::Records& records, oauth::Refresher* grants, std::string agents_url) {
    while (agents_url.ends_with('/')) agents_url.pop_back();
    state_->opened = std::make_unique<const Opened>(Opened{&records, grants, std::move(agents_url)});
    state_->store.store(state_->opened.get(), std::memory_order_release);
}

void Api::rotate_with(vault::KeyRotations& rotations) { state_->rotations = &rotations; }

void Api::connect_with(const oauth::ConnectWorld& world) { state_->connect = &world; }

bool Api::knows(const net::Request& head) const {
    const auto* open = state_->store.load(std::memory_order_acquire);
    return open != nullptr && authenticate(head.headers, open->records->catalog()).has_value();
}

net::awaitable<void> Api::handle(const net::Request& request, net::ResponseWriter& writer) const {
    auto& state = *state_;
    const auto id = crypto::random_id<base::RequestId>();
    const auto executor = co_await net::asio::this_coro::executor;
    const auto worker = std::ranges::find_if(
        state.workers, [&](auto* candidate) { return &candidate->context() == &executor.context(); });
    if (worker == state.workers.end()) co_return;  // wiring forbids it; the writer answers 500

    state.counters.in_flight.fetch_add(1, std::memory_order_relaxed);
    auto outcome = co_await state.serve(**worker, request, id);
    auto response = outcome ? std::move(*outcome) : error_reply(outcome.error(), id);
    state.counters.in_flight.fetch_sub(1, std::memory_order_relaxed);
    state.counters.responses[std::min<std::size_t>(response.status / 100, 5)].fetch_add(
        1, std::memory_order_relaxed);
    const auto sent = co_await writer.send(response);
    wipe(response);
    if (!sent) base::log(base::LogLevel::debug, "admin.client_gone", {{"request_id", id.text()}});
}

/// From the bytes of the request to a route and a key that may use it.
net::awaitable<Api::State::Outcome> Api::State::serve(net::Worker& worker, const net::Request& request,
                                                      const base::RequestId& id) {
    if (!host_is_ours(request.headers, settings.allowed_hosts))
        co_return std::unexpected(refusal(ErrorKind::denied, "request.host",
                                          "The Host of this request is not a name of this server.",
                                          "Add it to admin.allowed_hosts in the configuration."));
    const auto* open = store.load(std::memory_order_acquire);
    if (auto health =
            health_reply(request.method, request.path(), open == nullptr ? nullptr : open->records,
                         open == nullptr ? nullptr : open->grants, counters, settings.more_metrics)) {
        health->headers.add("request-id", id.text());
        co_return std::move(*health);
    }
    if (is_for_people(request.path())) {
        const Visit visited{.request = request,
                            .world = open == nullptr ? nullptr : connect,
                            .worker = worker,
                            .pool_of = pool_of};
        auto page = co_await visit(visited);
        page.headers.add("request-id", id.text());
        co_return page;
    }
    if (open == nullptr)
        co_return std::unexpected(
            refusal(ErrorKind::unavailable, "store.sealed", "Claviger is sealed.",
                    "Unseal it with one of its seal slots; until then only /healthz, /readyz "
                    "and /metrics answer."));
    auto key = authenticate(request.headers, open->records->catalog());
    if (!key) {
        counters.unauthenticated.fetch_add(1, std::memory_order_relaxed);
        co_return std::unexpected(refusal(std::move(key).error()));
    }
    auto found = match(request.method, below_prefix(request.path()));
    if (found.route == nullptr) {
        auto unknown = unknown_route(found);
        unknown.allow = found.other_methods;
        auto response = error_reply(unknown, id);
        co_return response;
    }
    if (auto fine = check_headers(request.headers, *found.route, **key); !fine)
        co_return std::unexpected(refusal(std::move(fine).error()));
    if (!may((*key)->role, found.route->access)) {
        counters.forbidden.fetch_add(1, std::memory_order_relaxed);
        co_return std::unexpected(refusal(ErrorKind::denied, "api_key.role",
                                          "This API key has the role '" +
                                              std::string(vault::name_of((*key)->role)) +
                                              "'; this call needs " + roles_with(found.route->access) + ".",
                                          "Use a key with that role."));
    }
    co_return co_await run(worker, request, *open, std::move(*key), std::move(found), id);
}

/// Reads query and body, runs the route, and remembers the answer for a client that asks again.
net::awaitable<Api::State::Outcome> Api::State::run(net::Worker& worker, const net::Request& request,
                                                    const Opened& open, vault::Ref<vault::ApiKey> key,
                                                    Match found, const base::RequestId& id) {
    const bool writes = request.method != "GET";
    if (const auto encoding = request.headers.find("Content-Encoding");
        writes && encoding && !encoding->empty() && !net::equal_ignoring_case(*encoding, "identity"))
        co_return std::unexpected(refusal(ErrorKind::invalid_request, "request_body_encoding_unsupported",
                                          "content-encoding: request bodies must not be encoded"));
    if (request.body.size() > Body::kBytes) {
        auto large =
            refusal(ErrorKind::invalid_request, "request.too_large", "The body is larger than 1 MiB.");
        large.status = 413;
        co_return std::unexpected(std::move(large));
    }
    auto query = Query::parse(request.query());
    if (!query) co_return std::unexpected(refusal(std::move(query).error()));
    auto body = Body::parse(request.method == "POST" ? std::string_view(request.body) : std::string_view());
    if (!body) co_return std::unexpected(refusal(std::move(body).error()));

    const auto name = writes ? replay.name_of(key->id, request) : crypto::Digest{};
    std::optional<Replay::Running> running;
    if (writes) {
        using Means = Replay::Entry::Means;
        const auto attempt =
            is_repeated(request.headers) ? Replay::Attempt::repeated : Replay::Attempt::first;
        auto entry = replay.enter(name, attempt, Replay::Clock::now());
        if (entry.means == Means::replay) {
            counters.replayed.fetch_add(1, std::memory_order_relaxed);
            co_return reply(*entry.answer, id, key->workspace);
        }
        if (entry.means == Means::busy) {
            auto busy =
                refusal(ErrorKind::conflict, "request.running", "The same request is still being worked on.");
            busy.retry_after_ms = "500";
            co_return std::unexpected(std::move(busy));
        }
        running.emplace(std::move(*entry.running));
    }
    Call call{.settings = settings,
              .agents_url = open.agents_url,
              .pool_of = pool_of,
              .workers = workers,
              .records = *open.records,
              .grants = open.grants,
              .connect = connect,
              .rotations = rotations,
              .worker = worker,
              .key = *key,
              .actor = {.kind = vault::ActorKind::api_key,
                        .id = key->id.raw,
                        .workspace = key->workspace.raw,
                        .source = source_bytes(request.peer)},
              .ids = std::move(found.ids),
              .query = std::move(*query),
              .body = std::move(*body)};
    auto answered = co_await found.route->run(call);
    if (running && answered) running->answered(*answered, Replay::Clock::now());
    if (!answered) co_return std::unexpected(refusal(std::move(answered).error()));
    co_return reply(*answered, id, key->workspace);
}

}  // namespace claviger::admin::api
