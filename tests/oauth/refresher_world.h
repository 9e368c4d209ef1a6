// The refresh engine over a real store, a real journal and a token endpoint on a socket: what its tests
// share.
#pragma once

#include "oauth/refresher.h"

#include "base/bytes.h"
#include "oauth/dpop.h"
#include "oauth/refresh_commit.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

namespace claviger::oauth {

using namespace std::chrono_literals;
using test::Peer;

inline std::string json_answer(unsigned status, const std::string& body, const std::string& more = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
inline std::string tokens(const std::string& name, int expires_in = 3600) {
    return json_answer(200, R"({"access_token":"access-)" + name + R"(","refresh_token":"refresh-)" + name +
                                R"(","token_type":"Bearer","expires_in":)" + std::to_string(expires_in) +
                                "}");
}
inline std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// A token endpoint that answers request after request as it is told; the last answer repeats.
struct TokenEndpoint {
    using Answer = std::function<void(Peer&, const std::string& request)>;

    std::vector<Answer> answers;
    std::mutex guard;
    std::vector<std::string> requests;
    /// What it says of a token (RFC 7662), by request; null: its metadata name no place to ask.
    std::function<std::string(const std::string& request)> introspection;
    std::vector<std::string> questions;
    test::RawUpstream server{[this](Peer& peer) {
        for (;;) {
            const auto request = peer.request();
            if (request.empty()) return;
            if (request.starts_with("GET ")) {
                peer.write(metadata());
                continue;
            }
            if (request.starts_with("POST /introspect ")) {
                const std::lock_guard hold(guard);
                questions.push_back(request);
                peer.write(introspection(request));
                continue;
            }
            Answer answer;
            {
                const std::lock_guard hold(guard);
                requests.push_back(request);
                answer = answers.at(std::min(requests.size(), answers.size()) - 1);
            }
            if (!answer) return;  // closes without an answer
            answer(peer, request);
        }
    }};

    static Answer says(std::string text) {
        return [text](Peer& peer, const std::string&) { peer.write(text); };
    }
    std::string metadata() const {
        if (!introspection) return json_answer(404, "{}");
        const auto origin = "http://127.0.0.1:" + std::to_string(server.port());
        return json_answer(200, R"({"issuer":")" + origin + R"(","token_endpoint":")" + url() +
                                    R"(","introspection_endpoint":")" + origin + R"(/introspect"})");
    }
    std::size_t count() {
        const std::lock_guard hold(guard);
        return requests.size();
    }
    std::size_t asked() {
        const std::lock_guard hold(guard);
        return questions.size();
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(server.port()) + "/token"; }
};

/// Stops one thread that asks for the time, so that a test knows what it had read by then.
class StoppingClock final : public test::ManualClock {
public:
    base::Time now() const override {
        if (std::this_thread::get_id() == stops.load()) {
            stops = std::thread::id();
            stopped.set_value();
            go_on.get_future().wait();
        }
        return ManualClock::now();
    }
    mutable std::atomic<std::thread::id> stops{};  // the next time it asks
    mutable std::promise<void> stopped, go_on;
};

struct World {
    World() {
        test::make_store(*engine, clock);
        open();
        workspace.raw = test::id_of(6);
        vault.id.raw = test::id_of(7);
        vault.workspace = workspace;
        credential.id.raw = test::id_of(8);
        credential.workspace = workspace;
        credential.vault = vault.id;
        credential.type = vault::AuthType::mcp_oauth;
        credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/mcp";
        vault::Refresh refresh;
        refresh.token_endpoint = endpoint.url();
        refresh.client_id = "client";
        credential.refresh = refresh;
        vault::Workspace home;
        home.id = workspace;
        change([&](vault::Change& change) -> base::Status {
            change.create_key_of(workspace.raw, workspace.raw);
            change.create_key_of(workspace.raw, vault.id.raw);
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault,
                        vault.id.raw);
            if (auto stored = change.store(home); !stored) return stored;
            return change.store(vault);
        });
    }
    ~World() { close(); }

    void open() {
        auto ring = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(ring);
        auto opened = vault::Records::open(*engine, std::move(*ring), clock);
        REQUIRE(opened);
        records = std::move(*opened);
    }
    void close() {
        if (refresher) refresher->drain();
        if (loop) loop->stop();
        refresher.reset();
        pool.reset();
        loop.reset();
        records.reset();
    }
    void start() {
        loop.emplace();
        pool.emplace(loop->worker, net::ClientLimits{}, nullptr);
        auto journal = Journal::open(place.path() / "journal", *engine, records->keys());
        REQUIRE(journal);
        GrantHooks hooks;
        hooks.reach = [](const vault::Credential&, std::string_view) { return net::PrivateAddresses::allow; };
        hooks.tell = [this](vault::Change&, const vault::Credential&, const StoredGrant&,
                            const Transition& transition) -> base::Status {
            const std::lock_guard hold(guard);
            told.emplace_back(transition.webhook);
            return {};
        };
        hooks.revoke = [this](vault::Change&, const vault::Credential&, const StoredGrant&,
                              vault::SecretParts parts) -> base::Status {
            const std::lock_guard hold(guard);
            revoked.push_back(text_of(*parts.token));
            return {};
        };
        RefreshSettings settings;
        settings.request_timeout = 3s;
        settings.patience = patience;
        settings.store_is_shared = store_is_shared;
        refresher = std::make_unique<Refresher>(*records, std::move(*journal), providers,
                                                std::vector<Refresher::Lane>{{loop->worker, *pool}}, settings,
                                                std::move(hooks));
        REQUIRE(refresher->start());
    }
    void change(std::function<base::Status(vault::Change&)> apply) {
        std::promise<base::Status> done;
        records->change({vault::ActorKind::system, {}, workspace.raw}, std::move(apply),
                        [&](base::Status status) { done.set_value(std::move(status)); });
        const auto status = done.get_future().get();
        INFO((status ? std::string() : status.error().message));
        REQUIRE(status);
    }
    /// Stores the credential with "access-0" and "refresh-0".
    void store(std::optional<std::chrono::seconds> expires_in) {
        change([&](vault::Change& change) -> base::Status {
            if (expires_in) credential.expires = change.now() + *expires_in;
            if (auto granted =
                    store_grant(change, credential, handed_over(credential, nullptr, change.now()));
                !granted)
                return granted;
            vault::SecretParts parts;
            parts.token = crypto::Secret::copy_of("access-0");
            parts.refresh_token = crypto::Secret::copy_of("refresh-0");
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::credential,
                        credential.id.raw, vault.id.raw);
            return change.store_with_secret(credential, parts);
        });
    }
    vault::Ref<vault::Credential> now() const {
        return records->catalog().find<vault::Credential>(credential.id);
    }
    GrantFacts facts() const {
        const auto grant = grant_of(records->catalog(), *now());
        REQUIRE(grant);
        return grant->facts;
    }
    /// The disk has a new version a moment before the catalog: then the old one's rows are gone already.
    vault::SecretParts parts() const {
        auto sealed = records->sealed_secret(*now());
        for (int look = 0; !sealed && look < 1000; ++look) {
            std::this_thread::sleep_for(1ms);
            sealed = records->sealed_secret(*now());
        }
        REQUIRE(sealed);
        auto opened = records->open_parts(*sealed);
        REQUIRE(opened);
        return std::move(*opened);
    }
    std::string token() const { return text_of(*parts().token); }
    base::Status make_usable() {
        return loop->await<base::Status>(
            [&](net::Worker& worker) { return refresher->make_usable(worker, credential.id); });
    }
    base::Status replace_refused(std::uint64_t version, std::string claims = {}) {
        return loop->await<base::Status>([&](net::Worker& worker) {
            return refresher->replace_refused(worker, credential.id, version, claims);
        });
    }
    StoredGrant grant() const { return *grant_of(records->catalog(), *now()); }
    /// Reasons of the grant's entries in the access log, newest first, those without one left out.
    std::vector<std::string> reasons() const {
        vault::LogQuery query;
        query.workspace = workspace.raw;
        query.kind = vault::EntryKind::grant;
        std::vector<std::string> found;
        for (const auto& named : records->access_log().query(query)->entries)
            if (named.entry.reason != 0) found.emplace_back(vault::reason_code(named.entry.reason));
        return found;
    }
    std::size_t entries(vault::Action action) const {
        vault::LogQuery query;
        query.workspace = workspace.raw;
        query.kind = vault::EntryKind::grant;
        const auto page = records->access_log().query(query);
        return static_cast<std::size_t>(std::ranges::count_if(
            page->entries, [&](const auto& named) { return named.entry.action == action; }));
    }
    std::size_t journal_files() const {
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& file :
             std::filesystem::directory_iterator(place.path() / "journal"))
            ++files;
        return files;
    }

    test::TemporaryDirectory place;
    StoppingClock clock;
    TokenEndpoint endpoint;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    std::unique_ptr<vault::Records> records;
    ProviderCatalog providers = ProviderCatalog::built_in();
    std::optional<test::Loop> loop;
    std::optional<net::ClientPool> pool;
    std::unique_ptr<Refresher> refresher;
    std::chrono::milliseconds patience = 10s;
    bool store_is_shared = false;
    base::WorkspaceId workspace;
    vault::Vault vault;
    vault::Credential credential;
    std::mutex guard;
    std::vector<std::string> told, revoked;
};

}  // namespace claviger::oauth
