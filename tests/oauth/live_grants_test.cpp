// More grants of one client and account than their provider keeps.
#include "oauth/live_grants.h"

#include "tests/support/spec.h"
#include "tests/support/vault_object_world.h"

namespace claviger::oauth {
namespace {

struct World {
    World() {
        records = test::new_records(*engine, clock);
        REQUIRE(records);
        auto made = test::add_tenant(*records, "acme", {"a", "b"});
        REQUIRE(made);
        tenant = std::move(*made);
        profile.refresh_token.max_live_grants = 2;
    }
    /// A connected credential of `client` and `account`; gives its id.
    base::CredentialId connected(const std::string& client, const std::string& account,
                                 GrantState state = GrantState::ready) {
        vault::Credential credential;
        credential.id = crypto::random_id<base::CredentialId>();
        credential.workspace = tenant.workspace;
        credential.vault = tenant.vault.id;
        credential.type = vault::AuthType::mcp_oauth;
        credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/" + credential.id.text();
        vault::Refresh refresh;
        refresh.token_endpoint = "https://as.example/token";
        refresh.client_id = client;
        credential.refresh = refresh;
        auto grant = handed_over(credential, nullptr, clock.now());
        grant.account = account;
        grant.facts.state = state;
        REQUIRE(test::change(*records, [&](vault::Change& change) -> base::Status {
            change.note_grant(vault::Action::connect, credential);
            if (auto stored = store_grant(change, credential, grant); !stored) return stored;
            return change.store_with_secret(credential, test::token_parts("t"));
        }));
        return credential.id;
    }
    std::optional<LiveGrants> count(const base::CredentialId& id) const {
        const auto credential = records->catalog().find<vault::Credential>(id);
        return live_grants(records->catalog(), *credential, *grant_of(records->catalog(), *credential),
                           profile);
    }

    test::ManualClock clock;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    std::unique_ptr<vault::Records> records;
    test::Tenant tenant;
    ProviderProfile profile;
};

TEST_CASE("The grants that a provider counts are those of one client and account that live", "[oauth]") {
    World world;
    const auto one = world.connected("client", "alice");
    world.connected("client", "alice");
    world.connected("client", "alice", GrantState::suspended);
    world.connected("client", "alice", GrantState::needs_reauth);
    world.connected("client", "bob");
    world.connected("other", "alice");
    const auto unknown = world.connected("client", "");
    const auto dead = world.connected("client", "carol", GrantState::needs_reauth);
    const auto found = world.count(one);
    REQUIRE(found);
    CHECK(found->count == 3);
    CHECK(found->most == 2);
    CHECK_FALSE(world.count(unknown));
    CHECK_FALSE(world.count(dead));
    world.profile.refresh_token.max_live_grants.reset();
    CHECK_FALSE(world.count(one));
}

}  // namespace
}  // namespace claviger::oauth
