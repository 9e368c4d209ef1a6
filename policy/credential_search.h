// Which credential a call uses, and when there is none: what was searched and what came near.
#pragma once

#include "base/clock.h"
#include "policy/policy.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::policy {

/// What may be known of a credential without opening it.
struct CredentialView {
    std::string id;
    std::string name;  // display name; may be empty
    std::string normal_url;
    bool archived = false;
    std::vector<std::string> allowed_tools = {};  // empty: every tool
    std::optional<base::Time> expires = {};       // a reminder; the server has the last word
};

struct VaultView {
    std::string id;
    std::string name;
    bool archived = false;
    bool bound_to_environment = false;                      // to the session's own
    std::vector<std::string> bound_environment_names = {};  // all it is bound to
    std::vector<CredentialView> credentials = {};
};

struct CredentialQuery {
    std::string_view normal_url;
    std::string_view tool;  // of tools/call, empty for every other method
    Named environment;
    base::Time now;
    std::span<const VaultView> session_vaults;  // in the session's order
    std::span<const VaultView> other_vaults;    // the rest of the workspace, only looked at for near misses
};

struct CredentialSearch {
    struct Place {
        std::size_t vault;       // index into session_vaults
        std::size_t credential;  // index into its credentials
    };
    std::optional<Place> chosen;
    std::string_view code;    // "credential.found", "credential.not_found", "credential.vault_not_bound",
                              // "credential.archived", "credential.tool_not_allowed"
    std::string message;      // for the agent: names nothing that it might not know
    std::string explanation;  // for the operator: what was searched, what came near
};

/// The first vault of the session that is bound to the environment and has an active credential for the URL
/// decides; later vaults are not asked, even when that credential is not allowed for the tool.
CredentialSearch search_credential(const CredentialQuery& query);

/// How many single-character edits lie between the two; `most` + 1 when there are more than `most`.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t most);

}  // namespace claviger::policy
