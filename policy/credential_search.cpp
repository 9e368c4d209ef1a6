#include "policy/credential_search.h"

#include "policy/quote.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace claviger::policy {
namespace {

constexpr std::size_t kNearMisses = 6;  // told in full; the rest is counted
constexpr std::size_t kSimilarHostEdits = 2;

enum class Membership { session, other };

std::string listed(const std::vector<std::string>& names) {
    std::string result;
    for (const auto& name : names) result += (result.empty() ? "" : ", ") + in_quotes(name);
    return result;
}

const CredentialView* find_for(const VaultView& vault, std::string_view url) {
    const CredentialView* archived = nullptr;
    for (const auto& credential : vault.credentials) {
        if (credential.normal_url != url) continue;
        if (!credential.archived) return &credential;
        archived = &credential;
    }
    return archived;
}

bool permits(const CredentialView& credential, std::string_view tool) {
    return tool.empty() || credential.allowed_tools.empty() ||
           std::ranges::find(credential.allowed_tools, tool) != credential.allowed_tools.end();
}

std::string binding_fault(const VaultView& vault) {
    if (vault.bound_to_environment) return {};
    if (vault.bound_environment_names.empty()) return "is not bound to any environment";
    return "is bound only to " + listed(vault.bound_environment_names);
}

/// Why a vault that has a credential for this very URL was of no use; empty when it has none.
std::string exact_miss(const VaultView& vault, std::string_view url, Membership membership) {
    const auto* credential = find_for(vault, url);
    if (credential == nullptr) return {};
    std::vector<std::string> faults;
    if (vault.archived) faults.emplace_back("the vault is archived");
    if (credential->archived) faults.emplace_back("the credential is archived");
    if (membership == Membership::other) faults.emplace_back("is not among the session's vaults");
    if (auto fault = binding_fault(vault); !fault.empty()) faults.push_back(std::move(fault));
    if (faults.empty()) return {};
    std::string result = "vault " + in_quotes(vault.name) + " has one but ";
    for (std::size_t i = 0; i < faults.size(); ++i) result += (i == 0 ? "" : " and ") + faults[i];
    return result;
}

struct UrlParts {
    std::string_view scheme, host, port, rest;
};

/// Of a normal URL.
UrlParts parts_of(std::string_view url) {
    UrlParts parts;
    const auto scheme_end = std::min(url.find("://"), url.size());
    parts.scheme = url.substr(0, scheme_end);
    url.remove_prefix(std::min(scheme_end + 3, url.size()));
    const auto authority = url.substr(0, url.find_first_of("/?"));
    parts.rest = url.substr(authority.size());
    const auto colon = authority.find(':', authority.starts_with('[') ? authority.find(']') : 0);
    parts.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) parts.port = authority.substr(colon + 1);
    return parts;
}

/// How a stored URL misses the wanted one; empty when they have nothing in common.
std::string url_difference(std::string_view wanted_url, std::string_view stored_url) {
    const auto wanted = parts_of(wanted_url);
    const auto stored = parts_of(stored_url);
    if (wanted.host != stored.host)
        return edit_distance(wanted.host, stored.host, kSimilarHostEdits) <= kSimilarHostEdits
                   ? "a similar host name"
                   : "";
    if (wanted.rest != stored.rest) return "the same host, another path";
    if (wanted.scheme != stored.scheme)
        return std::string(stored.scheme) + " instead of " + std::string(wanted.scheme);
    return "the same host, another port";
}

void add_url_misses(std::vector<std::string>& misses, const VaultView& vault, std::string_view url) {
    if (vault.archived) return;
    for (const auto& credential : vault.credentials) {
        if (credential.archived || credential.normal_url == url) continue;
        const auto difference = url_difference(url, credential.normal_url);
        if (!difference.empty())
            misses.push_back("vault " + in_quotes(vault.name) + " has one for " + credential.normal_url +
                             " (" + difference + ")");
    }
}

std::string searched(const CredentialQuery& query) {
    const auto in_environment = "bound to environment " + in_quotes(query.environment.name);
    if (query.session_vaults.empty()) return "the session has no vaults";
    std::string names;
    for (const auto& vault : query.session_vaults)
        if (vault.bound_to_environment && !vault.archived) names += (names.empty() ? "" : ", ") + vault.name;
    if (names.empty()) return "none of the session's vaults is active and " + in_environment;
    return "in vaults [" + names + "] " + in_environment;
}

std::string explain_absence(const CredentialQuery& query) {
    std::vector<std::string> misses;
    const auto add_exact = [&](std::span<const VaultView> vaults, Membership membership) {
        for (const auto& vault : vaults)
            if (auto miss = exact_miss(vault, query.normal_url, membership); !miss.empty())
                misses.push_back(std::move(miss));
    };
    add_exact(query.session_vaults, Membership::session);
    add_exact(query.other_vaults, Membership::other);
    for (const auto& vault : query.session_vaults) add_url_misses(misses, vault, query.normal_url);
    for (const auto& vault : query.other_vaults) add_url_misses(misses, vault, query.normal_url);

    const auto where = searched(query);
    auto text = "no credential for " + std::string(query.normal_url) +
                (where.starts_with("in ") ? " " : ": ") + where;
    for (std::size_t i = 0; i < std::min(misses.size(), kNearMisses); ++i) text += "; " + misses[i];
    if (misses.size() > kNearMisses)
        text += "; and " + std::to_string(misses.size() - kNearMisses) + " more near misses";
    return text;
}

std::string_view absence_code(const CredentialQuery& query) {
    std::string_view code = "credential.not_found";
    for (const auto& vault : query.session_vaults) {
        const auto* credential = find_for(vault, query.normal_url);
        if (credential == nullptr) continue;
        if (vault.archived || credential->archived) {
            code = "credential.archived";
        } else if (!vault.bound_to_environment) {
            return "credential.vault_not_bound";  // the nearest miss: one call mends it
        }
    }
    return code;
}

CredentialSearch found_in(const CredentialQuery& query, std::size_t vault_index,
                          const CredentialView& credential) {
    const auto& vault = query.session_vaults[vault_index];
    const auto label = credential.name.empty() ? credential.id : credential.name;
    if (!permits(credential, query.tool))
        return {std::nullopt, "credential.tool_not_allowed",
                "The credential for this server may not be used with this tool.",
                "credential " + in_quotes(label) + " of vault " + in_quotes(vault.name) + " is for " +
                    std::string(query.normal_url) + " but not for tool " + in_quotes(query.tool) +
                    "; it allows only " + listed(credential.allowed_tools)};
    auto explanation = "credential " + in_quotes(label) + " of vault " + in_quotes(vault.name);
    if (credential.expires && *credential.expires <= query.now)
        explanation +=
            "; it expired at " + base::to_rfc3339(*credential.expires) + ", so the server may refuse it";
    const auto index = static_cast<std::size_t>(&credential - vault.credentials.data());
    return {CredentialSearch::Place{vault_index, index}, "credential.found", "", std::move(explanation)};
}

}  // namespace

CredentialSearch search_credential(const CredentialQuery& query) {
    for (std::size_t i = 0; i < query.session_vaults.size(); ++i) {
        const auto& vault = query.session_vaults[i];
        if (vault.archived || !vault.bound_to_environment) continue;
        const auto* credential = find_for(vault, query.normal_url);
        if (credential != nullptr && !credential->archived) return found_in(query, i, *credential);
    }
    return {std::nullopt, absence_code(query), "No credential is available to this session for this server.",
            explain_absence(query)};
}

std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t most) {
    if (a.size() > b.size()) std::swap(a, b);
    if (b.size() - a.size() > most) return most + 1;
    std::vector<std::size_t> row(a.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t j = 1; j <= b.size(); ++j) {
        std::size_t diagonal = std::exchange(row[0], j);
        for (std::size_t i = 1; i <= a.size(); ++i) {
            const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[i], std::min({row[i - 1] + 1, row[i] + 1, replaced}));
        }
        if (*std::ranges::min_element(row) > most) return most + 1;
    }
    return std::min(row.back(), most + 1);
}

}  // namespace claviger::policy
