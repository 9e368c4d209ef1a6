#include "oauth/scope_need.h"

#include "oauth/refresher.h"
#include "tests/support/spec.h"

#include <string>

namespace claviger::oauth {
namespace {

using Remedy = ScopeNeed::Remedy;

vault::Credential credential_with(std::optional<std::string> grant = {}) {
    vault::Credential credential;
    credential.refresh.emplace().grant = std::move(grant);
    return credential;
}

StoredGrant granted(Scopes requested, Scopes got = {}) {
    StoredGrant grant;
    grant.facts.state = GrantState::ready;
    grant.facts.scopes_requested = std::move(requested);
    grant.scopes_granted = std::move(got);
    return grant;
}

}  // namespace

TEST_CASE("What a refused operation lacks, and who can help", "[oauth]") {
    struct Row {
        const char* what;
        std::optional<std::string> minted;
        StoredGrant grant;
        Scopes challenged, missing;
        Remedy remedy;
        const char* says;
    };
    auto asked_before = granted({"read"});
    asked_before.facts.step_ups.push_back({"write_note", {"read", "write"}, 1, true});
    const Row rows[] = {
        {"a scope more",
         {},
         granted({"read"}),
         {"read", "write"},
         {"write"},
         Remedy::consent,
         "connect link"},
        {"asked for, and not given",
         {},
         granted({"read", "write"}, {"read"}),
         {"write"},
         {"write"},
         Remedy::none,
         "not granted"},
        {"given, and still not enough",
         {},
         granted({"write"}),
         {"write"},
         {"write"},
         Remedy::none,
         "lack the rights"},
        {"not named, but known from before",
         {},
         asked_before,
         {},
         {"write"},
         Remedy::consent,
         "connect link"},
        {"not named at all", {}, granted({"read"}), {}, {}, Remedy::consent, "does not say which"},
        {"minted without a person",
         "client_credentials",
         granted({"read"}),
         {"write"},
         {"write"},
         Remedy::configuration,
         "let the client have them"},
        {"names that no scope can have",
         {},
         granted({}),
         {"a b", "q\"q", "ok", std::string(201, 'x')},
         {"ok"},
         Remedy::consent,
         "ok"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto need = scope_need(credential_with(row.minted), row.grant, "write_note", row.challenged);
        CHECK(need.missing == row.missing);
        CHECK(need.remedy == row.remedy);
        const auto error = why_out_of_scope(need);
        CHECK(error.code == "upstream.insufficient_scope");
        CHECK_THAT(error.message + error.hint, Catch::Contains(row.says));
        for (const auto& scope : row.missing) CHECK_THAT(error.message, Catch::Contains(scope));
    }
}

TEST_CASE("Names from a server are kept within bounds", "[oauth]") {
    CHECK(presentable(Scopes(65, "x")).empty());
    CHECK(operation_name("write note\n") == "write?note?");
    CHECK(operation_name(std::string(200, 'x')).size() == 128);
}

TEST_CASE("Who is told to wait is told what a person has to grant meanwhile", "[oauth]") {
    auto grant = granted({"read", "write"});
    grant.facts.state = GrantState::backoff;
    grant.facts.reason = "invalid_scope";
    CHECK_THAT(why_unusable(grant, base::Time{}).hint, !Catch::Contains("grant:"));
    grant.facts.step_ups.push_back({std::string(kRefreshOperation), {"read", "write"}, 1, true});
    CHECK_THAT(why_unusable(grant, base::Time{}).hint, Catch::Contains("grant: read write"));
}

}  // namespace claviger::oauth
