// Tokens of credentials that go: into the outbox in the same commit, revoked in each provider's way, and what
// becomes of the grant.
#include "oauth/grant_event.h"
#include "oauth/revocation_carrier.h"

#include "tests/net/raw_upstream.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <nlohmann/json.hpp>

#include <future>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
using notify::Outbox;
using test::Echo;
using test::RawUpstream;
using test::soon;

std::string reply(int status, const std::string& body = "{}", const std::string& more = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A store with one OAuth credential of a provider, and an authorization server that answers like `answer`,
/// or to requests about the access token like `for_access`.
struct World {
    explicit World(std::string provider, std::string answer = reply(200))
        : World(std::move(provider), answer, answer) {}
    World(std::string provider, std::string answer, std::string for_access)
        : server([this, answer, for_access](test::Peer& peer) {
              for (auto request = peer.request(); !request.empty(); request = peer.request()) {
                  echo.note(peer.number, request);
                  peer.write(request.find("access-1") == request.npos ? answer : for_access);
              }
          }) {
        std::vector<vault::SealInput> inputs;
        inputs.push_back(test::key_file());
        const auto first =
            vault::Records::initialise(*engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
        REQUIRE(first);
        auto keys = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(keys);
        auto opened = vault::Records::open(*engine, std::move(*keys), clock);
        REQUIRE(opened);
        records = std::move(*opened);

        holder.id.raw = test::id_of(7);
        holder.workspace = first->workspace;
        credential.id.raw = test::id_of(8);
        credential.workspace = first->workspace;
        credential.vault = holder.id;
        credential.type = vault::AuthType::mcp_oauth;
        credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/mcp";
        vault::Refresh refresh;
        refresh.token_endpoint = origin() + "/token";
        refresh.client_id = "client";
        refresh.auth = vault::TokenEndpointAuth::client_secret_post;
        credential.refresh = refresh;
        REQUIRE(change([&](vault::Change& change) -> base::Status {
            change.create_key_of(holder.workspace.raw, holder.id.raw);
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault,
                        holder.id.raw);
            if (auto stored = change.store(holder); !stored) return stored;
            vault::SecretParts parts;
            parts.token = crypto::Secret::copy_of("access-1");
            parts.refresh_token = crypto::Secret::copy_of("refresh-1");
            parts.client_secret = crypto::Secret::copy_of("secret-1");
            auto grant = handed_over(credential, nullptr, change.now());
            grant.provider = std::move(provider);
            if (grant.provider != "unknown") grant.revocation_endpoint = origin() + "/revoke";
            if (auto stored = store_grant(change, credential, grant); !stored) return stored;
            return change.store_with_secret(credential, parts);
        }));
        loop.emplace();
        pool = loop->call([&] {
            return std::make_unique<net::ClientPool>(loop->worker, net::ClientLimits{.connect = 2s}, nullptr);
        });
        carrier.emplace(
            loop->worker, *pool, *records, providers,
            [](const vault::Credential&, std::string_view) { return net::PrivateAddresses::allow; }, 2s);
        outbox.emplace(loop->worker, *records, Outbox::Carriers{{vault::OutboxKind::revocation, &*carrier}},
                       notify::OutboxLimits{.look_every = 250ms});
    }
    ~World() {
        outbox->drain(5s);
        loop->stop();
        outbox.reset();
        records.reset();
        pool.reset();
        loop.reset();
    }
    std::string origin() const { return "http://127.0.0.1:" + std::to_string(server.port()); }
    base::Status change(std::function<base::Status(vault::Change&)> apply) {
        std::promise<base::Status> done;
        auto answer = done.get_future();
        records->change({.kind = vault::ActorKind::system, .id = {}, .workspace = holder.workspace.raw},
                        std::move(apply), [&](base::Status status) { done.set_value(std::move(status)); });
        return answer.get();
    }
    vault::Ref<vault::Credential> kept() const {
        return records->catalog().find<vault::Credential>(credential.id);
    }
    StoredGrant grant() const { return *grant_of(records->catalog(), *kept()); }
    void let_it_go(LetGo how) {
        REQUIRE(change([&](vault::Change& change) -> base::Status {
            auto gone = *kept();
            change.note(vault::EntryKind::write, vault::Action::archive, vault::ObjectKind::credential,
                        gone.id.raw);
            if (auto let = let_go(change, gone, how); !let) return let;
            if (how == LetGo::erased) return change.erase(gone);
            gone.archived = change.now();
            return change.purge_secret(gone);
        }));
    }
    std::vector<vault::Ref<vault::OutboxItem>> waiting() const {
        return records->catalog().all<vault::OutboxItem>([](const auto&) { return true; });
    }
    bool ends() {
        outbox->start();
        return soon([&] { return waiting().empty(); });
    }
    std::vector<std::string> reasons() {
        vault::LogQuery query;
        query.workspace = holder.workspace.raw;
        query.kind = vault::EntryKind::grant;
        std::vector<std::string> found;
        for (const auto& named : records->access_log().query(query)->entries)
            if (named.entry.action == vault::Action::revoke)
                found.emplace_back(vault::reason_code(named.entry.reason));
        return found;
    }

    test::ManualClock clock;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    Echo echo;
    RawUpstream server;
    std::unique_ptr<vault::Records> records;
    vault::Vault holder;
    vault::Credential credential;
    const ProviderCatalog providers = ProviderCatalog::built_in();
    std::optional<test::Loop> loop;
    std::unique_ptr<net::ClientPool> pool;
    std::optional<RevocationCarrier> carrier;
    std::optional<Outbox> outbox;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_CASE("A deleted credential's tokens are revoked, the refresh token first", "[oauth]") {
    World world("mcp");
    world.let_it_go(LetGo::erased);
    CHECK_FALSE(world.kept());
    REQUIRE(world.waiting().size() == 1);

    REQUIRE(world.ends());
    REQUIRE(world.echo.count() == 2);
    for (const auto& [request, token, hint] :
         {std::tuple{0, "refresh-1", "refresh_token"}, std::tuple{1, "access-1", "access_token"}}) {
        const auto text = world.echo.text(static_cast<std::size_t>(request));
        CHECK_THAT(text, Catch::StartsWith("POST /revoke HTTP/1.1"));
        CHECK(has(text, std::string("token=") + token));
        CHECK(has(text, std::string("token_type_hint=") + hint));
        CHECK(has(text, "client_id=client"));
        CHECK(has(text, "client_secret=secret-1"));
    }
    CHECK(world.reasons() == std::vector<std::string>{""});
}

TEST_CASE("An archived credential's grant is revoking, then revoked", "[oauth]") {
    World world("mcp");
    world.let_it_go(LetGo::archived);
    CHECK(world.grant().facts.state == GrantState::revoking);
    REQUIRE(world.ends());
    CHECK(world.grant().facts.state == GrantState::revoked);
    CHECK(world.grant().facts.reason.empty());
}

TEST_CASE("What waits to be revoked is sealed, and opens at its item alone", "[oauth]") {
    World world("mcp");
    world.let_it_go(LetGo::erased);
    const auto item = world.waiting().at(0);
    const auto row = vault::encode_object(*item);
    for (const auto* secret : {"refresh-1", "access-1", "secret-1"}) CHECK_FALSE(has(row, secret));
    CHECK(read_job(world.records->keys(), *item));
    auto moved = *item;
    moved.id.raw = test::id_of(99);
    const auto refused = read_job(world.records->keys(), moved);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "revocation.refused");
}

TEST_CASE("Each provider is asked in its own way", "[oauth]") {
    struct Row {
        const char* provider;
        const char* line;
        std::vector<const char*> parts;
        std::size_t requests;
    };
    const std::vector<Row> rows{
        {"google", "POST /revoke HTTP/1.1", {"token=refresh-1"}, 1},
        {"github",
         "DELETE /revoke/client/token HTTP/1.1",
         {"Authorization: Basic Y2xpZW50OnNlY3JldC0x", R"({"access_token":"access-1"})"},
         1},
        {"slack", "POST /revoke HTTP/1.1", {"Authorization: Bearer access-1"}, 1},
        {"hubspot", "DELETE /revoke/refresh-1 HTTP/1.1", {}, 1},
    };
    for (const auto& row : rows) {
        INFO(row.provider);
        World world(row.provider, reply(200, R"({"ok":true})"));
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        REQUIRE(world.echo.count() == row.requests);
        CHECK_THAT(world.echo.text(0), Catch::StartsWith(row.line));
        for (const auto* part : row.parts) CHECK(has(world.echo.text(0), part));
        CHECK(world.grant().facts.state == GrantState::revoked);
    }
}

TEST_CASE("What the server does not know any more counts as revoked", "[oauth]") {
    struct Row {
        const char* provider;
        std::string answer;
    };
    const std::vector<Row> rows{
        {"mcp", reply(400, R"({"error":"invalid_token"})")},
        {"google", reply(400, R"({"error":"invalid_token"})")},
        {"github", reply(404)},
        {"hubspot", reply(404)},
        {"slack", reply(200, R"({"ok":false,"error":"token_revoked"})")},
    };
    for (const auto& row : rows) {
        INFO(row.provider);
        World world(row.provider, row.answer);
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        CHECK(world.grant().facts.state == GrantState::revoked);
        CHECK(world.grant().facts.reason.empty());
    }
}

TEST_CASE("A server in trouble is asked again later; one that refuses is not", "[oauth]") {
    SECTION("503 with Retry-After") {
        World world("mcp", reply(503, "{}", "Retry-After: 500\r\n"));
        world.let_it_go(LetGo::archived);
        world.outbox->start();
        REQUIRE(soon([&] { return !world.waiting().empty() && world.waiting()[0]->attempts == 1; }));
        CHECK(world.waiting()[0]->next_attempt == world.clock.now() + 500s);
        CHECK(world.echo.count() == 1);  // the access token waits for the refresh token
        CHECK(world.grant().facts.state == GrantState::revoking);
        world.clock.advance(25h);
        REQUIRE(soon([&] { return world.waiting().empty(); }));
        CHECK(world.grant().facts.state == GrantState::revoked);
        CHECK(world.grant().facts.reason == "revocation_incomplete");
        CHECK(world.reasons().front() == "grant.revocation_incomplete");
    }
    SECTION("invalid_client") {
        World world("mcp", reply(401, R"({"error":"invalid_client"})"));
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        CHECK(world.grant().facts.reason == "revocation_incomplete");
        CHECK(world.reasons() == std::vector<std::string>{"grant.revocation_refused"});
    }
}

TEST_CASE("Tokens that a server does not revoke are not said to be revoked", "[oauth]") {
    const auto unsupported = reply(400, R"({"error":"unsupported_token_type"})");
    SECTION("neither of them") {
        World world("mcp", unsupported);
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        CHECK(world.echo.count() == 2);
        CHECK(world.grant().facts.state == GrantState::revoked);
        CHECK(world.grant().facts.reason == "revocation_unsupported");
        CHECK(world.reasons() == std::vector<std::string>{"grant.revocation_unsupported"});
    }
    SECTION("only the access token, which is all that is left to revoke") {
        World world("mcp", unsupported, reply(200));
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        CHECK(world.grant().facts.reason == "revocation_unsupported");
    }
    SECTION("the access token runs out by itself once the refresh token is revoked") {
        World world("mcp", reply(200), unsupported);
        world.let_it_go(LetGo::archived);
        REQUIRE(world.ends());
        CHECK(world.grant().facts.reason.empty());
        CHECK(world.reasons() == std::vector<std::string>{""});
    }
}

TEST_CASE("A server without a known way to revoke is given up at once, and says so", "[oauth]") {
    World world("generic");
    world.let_it_go(LetGo::archived);
    REQUIRE(world.ends());
    CHECK(world.echo.count() == 0);
    CHECK(world.grant().facts.reason == "revocation_incomplete");
    CHECK(world.reasons() == std::vector<std::string>{"grant.revocation_unknown_endpoint"});
}

TEST_CASE("The newest tokens are awaited before anything is revoked", "[oauth]") {
    World world("mcp");
    REQUIRE(world.change([&](vault::Change& change) -> base::Status {
        auto grant = world.grant();
        grant.facts = apply(grant.facts, RefreshDue{AttemptId{1}, change.now() + 45s}, change.now()).facts;
        change.note_grant(vault::Action::refresh, *world.kept());
        return store_grant(change, *world.kept(), grant);
    }));
    world.let_it_go(LetGo::erased);
    CHECK(world.waiting().at(0)->next_attempt == world.clock.now() + 30s);
}

TEST_CASE("Tokens that came too late are revoked with the credential's own client, and end no grant",
          "[oauth]") {
    World world("mcp");
    REQUIRE(world.change([&](vault::Change& change) -> base::Status {
        vault::SecretParts strays;
        strays.token = crypto::Secret::copy_of("stray-access");
        strays.refresh_token = crypto::Secret::copy_of("stray-refresh");
        change.note_grant(vault::Action::refresh_failed, *world.kept(), "grant.superseded");
        return revoke_strays(change, *world.kept(), world.grant(), std::move(strays));
    }));
    REQUIRE(world.ends());
    REQUIRE(world.echo.count() == 2);
    CHECK(has(world.echo.text(0), "token=stray-refresh"));
    CHECK(has(world.echo.text(0), "client_secret=secret-1"));
    CHECK(world.grant().facts.state == GrantState::ready);
}

TEST_CASE("A credential without a refresh block is let go without asking anybody", "[oauth]") {
    World world("mcp");
    REQUIRE(world.change([&](vault::Change& change) -> base::Status {
        auto plain = *world.kept();
        plain.refresh.reset();
        change.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::credential,
                    plain.id.raw);
        return change.store(plain);
    }));
    world.let_it_go(LetGo::archived);
    CHECK(world.waiting().empty());
    CHECK(world.grant().facts.state == GrantState::revoked);
}

}  // namespace
}  // namespace claviger::oauth
