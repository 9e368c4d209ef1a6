#include "oauth/scope_need.h"

#include "oauth/mint.h"

#include <algorithm>

namespace claviger::oauth {
namespace {

constexpr std::size_t kMostScopes = 64, kLongestScope = 200, kLongestOperation = 128;

/// RFC 6749 3.3.
bool shows(char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; }

Scopes without(const Scopes& scopes, const Scopes& held) {
    Scopes left;
    for (const auto& scope : scopes)
        if (std::ranges::find(held, scope) == held.end()) left.push_back(scope);
    return left;
}

/// What an earlier refusal said that the operation needs.
Scopes needed_before(const GrantFacts& facts, std::string_view operation) {
    for (const auto& step_up : facts.step_ups)
        if (step_up.pending && step_up.operation == operation_name(operation)) return step_up.scopes;
    return {};
}

}  // namespace

Scopes presentable(const Scopes& scopes) {
    Scopes names;
    for (const auto& scope : scopes)
        if (!scope.empty() && scope.size() <= kLongestScope && std::ranges::all_of(scope, shows))
            names.push_back(scope);
    if (names.size() > kMostScopes) names.clear();
    return names;
}

std::string operation_name(std::string_view operation) {
    std::string name(operation.substr(0, kLongestOperation));
    std::ranges::replace_if(name, [](char c) { return !shows(c); }, '?');
    return name;
}

ScopeNeed scope_need(const vault::Credential& credential, const StoredGrant& grant,
                     std::string_view operation, const Scopes& challenged) {
    const auto& facts = grant.facts;
    const auto& granted = grant.scopes_granted.empty() ? facts.scopes_requested : grant.scopes_granted;
    auto named = presentable(challenged);
    if (named.empty()) named = needed_before(facts, operation);
    ScopeNeed need{.missing = without(named, granted)};
    if (credential.refresh && minting_grant(*credential.refresh)) {
        need.remedy = ScopeNeed::Remedy::configuration;
    } else if (!named.empty() && contains_all(facts.scopes_requested, named)) {
        need.remedy = ScopeNeed::Remedy::none;
        if (need.missing.empty()) need.missing = std::move(named);
    }
    return need;
}

base::Error why_out_of_scope(const ScopeNeed& need) {
    base::Error error{base::ErrorKind::denied, "upstream.insufficient_scope", {}};
    error.message = "The account that is connected to this server does not allow this operation";
    error.message += need.missing.empty() ? ", and the server does not say which scope is missing."
                                          : "; missing scopes: " + join_scopes(need.missing) + ".";
    switch (need.remedy) {  // no default: a new remedy must be given its words here
        case ScopeNeed::Remedy::consent:
            error.hint =
                "Somebody has to grant them: ask an administrator for a connect link for this credential, "
                "which asks for them as well; then call again.";
            break;
        case ScopeNeed::Remedy::configuration:
            error.hint =
                "Ask an administrator to let the client have them at the authorization server, and to "
                "connect "
                "the credential again with them.";
            break;
        case ScopeNeed::Remedy::none:
            error.hint =
                "They were asked for before and not granted, so calling again does not help: the account may "
                "lack the rights. Ask an administrator.";
            break;
    }
    return error;
}

}  // namespace claviger::oauth
