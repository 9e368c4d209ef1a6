// Which credential a call uses; and when there is none, an explanation that an operator can act on.
#include "policy/credential_search.h"

#include "tests/support/spec.h"

#include <string>
#include <vector>

using namespace claviger;
using policy::CredentialSearch;
using policy::VaultView;

namespace {

constexpr std::string_view kLinear = "https://mcp.linear.app/mcp";

VaultView bound(std::string name, std::vector<policy::CredentialView> credentials = {}) {
    return {.id = "vlt_" + name,
            .name = name,
            .bound_to_environment = true,
            .bound_environment_names = {"prod"},
            .credentials = std::move(credentials)};
}

VaultView bound_elsewhere(std::string name, std::vector<std::string> environments,
                          std::vector<policy::CredentialView> credentials) {
    auto vault = bound(std::move(name), std::move(credentials));
    vault.bound_to_environment = false;
    vault.bound_environment_names = std::move(environments);
    return vault;
}

policy::CredentialView credential(std::string name, std::string_view url = kLinear) {
    return {.id = "vcrd_" + name, .name = name, .normal_url = std::string(url)};
}

CredentialSearch look_up(const std::vector<VaultView>& session, const std::vector<VaultView>& others = {},
                         std::string_view tool = {}, std::string_view url = kLinear) {
    return policy::search_credential({.normal_url = url,
                                      .tool = tool,
                                      .environment = {"env_1", "prod"},
                                      .now = *base::from_rfc3339("2026-11-21T10:00:00Z"),
                                      .session_vaults = session,
                                      .other_vaults = others});
}

}  // namespace

TEST_CASE("The first vault of the session with an active credential for the URL wins",
          "[policy][credential_search]") {
    auto old = credential("old");
    old.archived = true;
    const std::vector vaults{
        bound("alice", {credential("slack", "https://mcp.slack.com/mcp"), old, credential("linear")}),
        bound("shared", {credential("other")})};
    const auto found = look_up(vaults);
    REQUIRE(found.chosen);
    CHECK(found.code == "credential.found");
    CHECK(found.chosen->vault == 0);
    CHECK(found.chosen->credential == 2);
    CHECK(found.explanation == "credential 'linear' of vault 'alice'");

    const auto reversed = look_up({vaults[1], vaults[0]});
    REQUIRE(reversed.chosen);
    CHECK(reversed.explanation == "credential 'other' of vault 'shared'");
}

TEST_CASE("Vaults that are archived or not bound to the environment are passed over",
          "[policy][credential_search]") {
    auto archived = bound("gone", {credential("linear")});
    archived.archived = true;
    const auto found = look_up({archived, bound_elsewhere("alice-dev", {"dev"}, {credential("linear")}),
                                bound("shared", {credential("linear")})});
    REQUIRE(found.chosen);
    CHECK(found.chosen->vault == 2);
}

TEST_CASE("A credential that is not meant for the tool ends the search", "[policy][credential_search]") {
    auto limited = credential("linear");
    limited.allowed_tools = {"list_issues", "get_issue"};
    const std::vector vaults{bound("alice", {limited}), bound("shared", {credential("broad")})};

    const auto refused = look_up(vaults, {}, "delete_issue");
    CHECK_FALSE(refused.chosen);
    CHECK(refused.code == "credential.tool_not_allowed");
    CHECK(refused.message == "The credential for this server may not be used with this tool.");
    CHECK(refused.explanation ==
          "credential 'linear' of vault 'alice' is for https://mcp.linear.app/mcp but not for tool "
          "'delete_issue'; it allows only 'list_issues', 'get_issue'");

    CHECK(look_up(vaults, {}, "get_issue").chosen);
    CHECK(look_up(vaults, {}, {}).chosen);  // initialize, tools/list and the like
}

TEST_CASE("A credential past its date is still used, and the explanation says so",
          "[policy][credential_search]") {
    auto expired = credential("");
    expired.expires = base::from_rfc3339("2026-11-20T00:00:00Z");
    const auto found = look_up({bound("alice", {expired})});
    REQUIRE(found.chosen);
    CHECK(found.explanation ==
          "credential 'vcrd_' of vault 'alice'; it expired at 2026-11-20T00:00:00Z, so the server may refuse "
          "it");
}

TEST_CASE("A failed search names what was searched and every near miss", "[policy][credential_search]") {
    auto archived_credential = credential("linear");
    archived_credential.archived = true;
    auto archived_vault = bound("gone", {credential("linear")});
    archived_vault.archived = true;

    const struct {
        const char* what;
        std::vector<VaultView> session, others;
        std::string_view code;
        std::string explanation;
    } table[] = {
        {"bound elsewhere",
         {bound("alice"), bound("shared"), bound_elsewhere("alice-dev", {"dev"}, {credential("linear")})},
         {},
         "credential.vault_not_bound",
         "no credential for https://mcp.linear.app/mcp in vaults [alice, shared] bound to environment "
         "'prod'; "
         "vault 'alice-dev' has one but is bound only to 'dev'"},
        {"bound nowhere",
         {bound("alice"), bound_elsewhere("new", {}, {credential("linear")})},
         {},
         "credential.vault_not_bound",
         "no credential for https://mcp.linear.app/mcp in vaults [alice] bound to environment 'prod'; "
         "vault 'new' has one but is not bound to any environment"},
        {"archived",
         {bound("alice", {archived_credential}), archived_vault},
         {},
         "credential.archived",
         "no credential for https://mcp.linear.app/mcp in vaults [alice] bound to environment 'prod'; "
         "vault 'alice' has one but the credential is archived; vault 'gone' has one but the vault is "
         "archived"},
        {"not in the session",
         {bound("alice")},
         {bound("bob", {credential("linear")}),
          bound_elsewhere("bob-dev", {"dev", "test"}, {credential("linear")})},
         "credential.not_found",
         "no credential for https://mcp.linear.app/mcp in vaults [alice] bound to environment 'prod'; "
         "vault 'bob' has one but is not among the session's vaults; "
         "vault 'bob-dev' has one but is not among the session's vaults and is bound only to 'dev', 'test'"},
        {"another URL",
         {bound("alice",
                {credential("a", "https://mcp.linear.app/sse"),
                 credential("b", "https://mcp.linear.app:8443/mcp"),
                 credential("c", "http://mcp.linear.app/mcp"), credential("d", "https://mcp.linaer.app/mcp"),
                 credential("e", "https://mcp.slack.com/mcp")})},
         {},
         "credential.not_found",
         "no credential for https://mcp.linear.app/mcp in vaults [alice] bound to environment 'prod'; "
         "vault 'alice' has one for https://mcp.linear.app/sse (the same host, another path); "
         "vault 'alice' has one for https://mcp.linear.app:8443/mcp (the same host, another port); "
         "vault 'alice' has one for http://mcp.linear.app/mcp (http instead of https); "
         "vault 'alice' has one for https://mcp.linaer.app/mcp (a similar host name)"},
        {"no vaults",
         {},
         {},
         "credential.not_found",
         "no credential for https://mcp.linear.app/mcp: the session has no vaults"},
        {"no vault of use",
         {bound_elsewhere("alice", {"dev"}, {})},
         {},
         "credential.not_found",
         "no credential for https://mcp.linear.app/mcp: none of the session's vaults is active and bound to "
         "environment 'prod'"},
    };
    for (const auto& row : table) {
        INFO(row.what);
        const auto result = look_up(row.session, row.others);
        CHECK_FALSE(result.chosen);
        CHECK(result.code == row.code);
        CHECK(result.explanation == row.explanation);
        CHECK(result.message == "No credential is available to this session for this server.");
    }
}

TEST_CASE("A crowd of near misses is counted, not recited", "[policy][credential_search]") {
    std::vector<VaultView> others;
    for (int i = 0; i < 40; ++i) others.push_back(bound("v" + std::to_string(i), {credential("linear")}));
    const auto result = look_up({bound("alice")}, others);
    CHECK_THAT(result.explanation, Catch::EndsWith("; and 34 more near misses"));
    CHECK(result.explanation.size() < 1000);
}

TEST_CASE("IPv6 hosts and ports are told apart in near misses", "[policy][credential_search]") {
    const auto result = look_up({bound("alice", {credential("a", "http://[::1]:3000/mcp")})}, {}, {},
                                "http://[::1]:3001/mcp");
    CHECK_THAT(result.explanation, Catch::Contains("another port"));
}

TEST_CASE("Edit distance counts edits up to a bound", "[policy][credential_search]") {
    using policy::edit_distance;
    CHECK(edit_distance("", "", 2) == 0);
    CHECK(edit_distance("linear", "linear", 2) == 0);
    CHECK(edit_distance("linear", "linaer", 2) == 2);
    CHECK(edit_distance("linear", "liner", 2) == 1);
    CHECK(edit_distance("liner", "linear", 2) == 1);
    CHECK(edit_distance("ab", "", 2) == 2);
    CHECK(edit_distance("linear", "slack", 2) == 3);
    CHECK(edit_distance("a", "abcdefgh", 2) == 3);
}
