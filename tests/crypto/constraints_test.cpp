// Where a secret may go has one encoding, so that it has one digest.
#include "crypto/constraints.h"

#include "tests/crypto/vectors.h"

#include <functional>
#include <set>

using namespace claviger;
using namespace claviger::crypto;

namespace {

Constraints full() {
    return {.hosts = {"mcp.example.com:443", "api.example.com:443"},
            .path_prefixes = {"/mcp"},
            .methods = {"POST", "DELETE", "GET", "POST"},
            .injection = "header:authorization:Bearer",
            .audience = "https://mcp.example.com/mcp",
            .scopes = {"repo", "read:org"},
            .environments = {"env_01" + std::string(22, '1')},
            .agent_classes = {},
            .tools = {std::string(24, 't'), std::string(300, 'u')},
            .expires_ms = 1795255200000};
}

}  // namespace

TEST_CASE("Constraints encode to the bytes that every seal on disk has bound", "[crypto]") {
    CHECK(canonical_cbor(full()) == golden("constraints.full.cbor"));
    CHECK(view(constraint_digest(full())) == golden("constraints.full.digest"));
    CHECK(canonical_cbor({}) == golden("constraints.empty.cbor"));
    CHECK(view(constraint_digest({})) == golden("constraints.empty.digest"));
}

TEST_CASE("Order and repetition in a list make no difference", "[crypto]") {
    auto same = full();
    std::swap(same.hosts[0], same.hosts[1]);
    same.methods = {"GET", "POST", "DELETE"};
    CHECK(constraint_digest(same) == constraint_digest(full()));
}

TEST_CASE("Every single constraint is part of the digest, and none can pass for another", "[crypto]") {
    const std::vector<std::function<void(Constraints&)>> changes = {
        [](Constraints& c) { c.hosts.push_back("x"); },
        [](Constraints& c) { c.path_prefixes.push_back("x"); },
        [](Constraints& c) { c.methods.push_back("x"); },
        [](Constraints& c) { c.injection = "x"; },
        [](Constraints& c) { c.audience = "x"; },
        [](Constraints& c) { c.scopes.push_back("x"); },
        [](Constraints& c) { c.environments.push_back("x"); },
        [](Constraints& c) { c.agent_classes.push_back("x"); },
        [](Constraints& c) { c.tools.push_back("x"); },
        [](Constraints& c) { c.expires_ms = 1; },
        [](Constraints& c) { c.expires_ms = -1; },
        [](Constraints& c) { c.hosts = {"ab", "c"}; },
        [](Constraints& c) { c.hosts = {"a", "bc"}; },
        [](Constraints& c) { c.hosts = {"abc"}; },
        [](Constraints& c) { c.hosts = {std::string(70000, 'h')}; },
        [](Constraints& c) { c.expires_ms = std::int64_t{1} << 40; },
    };
    std::set<Digest> digests{constraint_digest({})};
    for (const auto& change : changes) {
        Constraints constraints;
        change(constraints);
        digests.insert(constraint_digest(constraints));
    }
    CHECK(digests.size() == changes.size() + 1);
}
