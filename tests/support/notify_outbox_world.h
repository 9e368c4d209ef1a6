// A store with a workspace, an outbox over it on a worker of its own, and carriers that do what a test says.
#pragma once

#include "net/client.h"
#include "notify/event.h"
#include "notify/outbox.h"
#include "notify/signing.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include "crypto/random.h"

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace claviger::test {

/// Ends every attempt as the test says, and keeps what it was given.
class ScriptedCarrier final : public notify::Carrier {
public:
    std::function<notify::Attempt(const vault::OutboxItem&)> says = [](const vault::OutboxItem&) {
        return notify::Attempt{.end = notify::Attempt::End::done};
    };

    net::awaitable<notify::Attempt> carry(vault::Ref<vault::OutboxItem> item) override {
        const std::lock_guard hold(guard_);
        carried_.push_back(item->label);
        co_return says(*item);
    }
    base::Status settle(vault::Change& change, const vault::OutboxItem&, const notify::Attempt&,
                        notify::Fate fate) override {
        const std::lock_guard hold(guard_);
        fates_.push_back(fate);
        change.note(vault::EntryKind::sink, vault::Action::deliver, vault::ObjectKind::webhook_endpoint, {});
        return {};
    }
    std::vector<std::string> carried() const {
        const std::lock_guard hold(guard_);
        return carried_;
    }
    std::vector<notify::Fate> fates() const {
        const std::lock_guard hold(guard_);
        return fates_;
    }

private:
    mutable std::mutex guard_;
    std::vector<std::string> carried_;
    std::vector<notify::Fate> fates_;
};

struct OutboxWorld {
    OutboxWorld() {
        std::vector<vault::SealInput> inputs;
        inputs.push_back(key_file());
        const auto first =
            vault::Records::initialise(*engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
        REQUIRE(first);
        workspace = first->workspace;
        open();
    }
    ~OutboxWorld() { close(); }

    void open() {
        auto keys = vault::KeyRing::unseal(*engine, key_file());
        REQUIRE(keys);
        auto opened = vault::Records::open(*engine, std::move(*keys), clock);
        REQUIRE(opened);
        records = std::move(*opened);
    }
    /// As a stop of the process: in memory nothing is left.
    void close() {
        if (outbox) outbox->drain(std::chrono::seconds(5));
        if (loop) loop->stop();
        outbox.reset();
        records.reset();
        pool.reset();
        loop.reset();
    }
    void start(notify::Outbox::Carriers carriers) {
        loop = std::make_unique<Loop>();
        outbox = std::make_unique<notify::Outbox>(
            loop->worker, *records, std::move(carriers),
            notify::OutboxLimits{.look_every = std::chrono::milliseconds(250)});
        outbox->start();
    }
    base::Status change(std::function<base::Status(vault::Change&)> apply) {
        std::promise<base::Status> done;
        auto answer = done.get_future();
        records->change({.kind = vault::ActorKind::system, .id = {}, .workspace = workspace.raw},
                        std::move(apply), [&](base::Status status) { done.set_value(std::move(status)); });
        return answer.get();
    }
    vault::WebhookEndpoint new_endpoint(std::vector<std::string> events, std::string url = {},
                                        bool enabled = true) {
        vault::WebhookEndpoint endpoint;
        endpoint.id = crypto::random_id<base::WebhookEndpointId>();
        endpoint.workspace = workspace;
        endpoint.url = std::move(url);
        endpoint.enabled_events = std::move(events);
        endpoint.enabled = enabled;
        secret = std::make_unique<crypto::Secret>(notify::new_signing_secret());
        endpoint.secret = notify::seal_signing_secret(records->keys(), endpoint.id, *secret);
        REQUIRE(change([&](vault::Change& change) -> base::Status {
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::webhook_endpoint,
                        endpoint.id.raw);
            return change.store(endpoint);
        }));
        return endpoint;
    }
    base::Status post(std::string_view type, std::string id = "vlt_01") {
        return change([&](vault::Change& change) -> base::Status {
            change.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::vault, {});
            return notify::post(
                change, {.type = type, .workspace = workspace, .id = std::move(id), .vault = {}, .more = {}});
        });
    }
    std::vector<vault::Ref<vault::OutboxItem>> waiting() const {
        return records->catalog().all<vault::OutboxItem>([](const auto&) { return true; });
    }
    vault::WebhookEndpoint stored(const vault::WebhookEndpoint& endpoint) const {
        return *records->catalog().find<vault::WebhookEndpoint>(endpoint.id);
    }

    ManualClock clock;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    base::WorkspaceId workspace;
    std::unique_ptr<vault::Records> records;
    std::unique_ptr<Loop> loop;
    std::unique_ptr<net::ClientPool> pool;
    std::unique_ptr<notify::Outbox> outbox;
    std::unique_ptr<crypto::Secret> secret;  // of the newest endpoint
};

}  // namespace claviger::test
