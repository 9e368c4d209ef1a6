#include "admin/api/routes.h"

#include "admin/api/access_log.h"
#include "admin/api/agents.h"
#include "admin/api/api_keys.h"
#include "admin/api/backups.h"
#include "admin/api/connect_links.h"
#include "admin/api/credentials.h"
#include "admin/api/environments.h"
#include "admin/api/grant.h"
#include "admin/api/keys.h"
#include "admin/api/oauth_clients.h"
#include "admin/api/operations.h"
#include "admin/api/rotation.h"
#include "admin/api/seal_slots.h"
#include "admin/api/session_tokens.h"
#include "admin/api/sessions.h"
#include "admin/api/shred.h"
#include "admin/api/shreddings.h"
#include "admin/api/stale_credentials.h"
#include "admin/api/validate.h"
#include "admin/api/vaults.h"
#include "admin/api/version_uses.h"
#include "admin/api/webhooks.h"
#include "admin/api/workspaces.h"

#include <algorithm>
#include <array>

namespace claviger::admin::api {
namespace {

using enum Access;
using vault::Role;
constexpr auto kHosted = Dialect::managed_agents;
constexpr auto kOurs = Dialect::extension;

constexpr std::array kRoutes{
    Route{"POST", "vaults", write_objects, kHosted, create_vault},
    Route{"GET", "vaults", read_objects, kHosted, list_vaults},
    Route{"GET", "vaults/{}", read_objects, kHosted, retrieve_vault},
    Route{"POST", "vaults/{}", write_objects, kHosted, update_vault},
    Route{"POST", "vaults/{}/archive", write_objects, kHosted, archive_vault},
    Route{"DELETE", "vaults/{}", write_objects, kHosted, delete_vault},

    Route{"POST", "vaults/{}/credentials", write_objects, kHosted, create_credential},
    Route{"GET", "vaults/{}/credentials", read_objects, kHosted, list_credentials},
    Route{"GET", "vaults/{}/credentials/{}", read_objects, kHosted, retrieve_credential},
    Route{"POST", "vaults/{}/credentials/{}", write_objects, kHosted, update_credential},
    Route{"POST", "vaults/{}/credentials/{}/archive", write_objects, kHosted, archive_credential},
    Route{"DELETE", "vaults/{}/credentials/{}", write_objects, kHosted, delete_credential},
    Route{"POST", "vaults/{}/shred", write_objects, kOurs, shred_vault},
    Route{"POST", "vaults/{}/credentials/{}/shred", write_objects, kOurs, shred_credential},
    Route{"GET", "vaults/{}/credentials/{}/grant", read_objects, kOurs, retrieve_grant},
    Route{"POST", "vaults/{}/credentials/{}/suspend", write_objects, kOurs, suspend_credential},
    Route{"POST", "vaults/{}/credentials/{}/resume", write_objects, kOurs, resume_credential},
    Route{"POST", "vaults/{}/credentials/{}/rotate", write_objects, kOurs, rotate_credential},
    Route{"POST", "vaults/{}/credentials/{}/promote", write_objects, kOurs, promote_credential},
    Route{"POST", "vaults/{}/credentials/{}/roll_back", write_objects, kOurs, roll_credential_back},
    Route{"POST", "vaults/{}/credentials/{}/retire", write_objects, kOurs, retire_credential},
    Route{"GET", "vaults/{}/credentials/{}/versions", read_objects, kOurs, list_credential_versions},
    Route{"GET", "stale_credentials", read_objects, kOurs, list_stale_credentials},
    Route{"POST", "vaults/{}/credentials/{}/mcp_oauth_validate", write_objects, kHosted, validate_credential},

    Route{"POST", "vaults/{}/connect_links", write_objects, kOurs, create_connect_link},
    Route{"GET", "vaults/{}/connect_links", read_objects, kOurs, list_connect_links},
    Route{"GET", "vaults/{}/connect_links/{}", read_objects, kOurs, retrieve_connect_link},
    Route{"DELETE", "vaults/{}/connect_links/{}", write_objects, kOurs, delete_connect_link},
    Route{"POST", "oauth_clients", write_objects, kOurs, create_oauth_client},
    Route{"GET", "oauth_clients", read_objects, kOurs, list_oauth_clients},
    Route{"DELETE", "oauth_clients/{}", write_objects, kOurs, delete_oauth_client},

    Route{"POST", "environments", write_objects, kHosted, create_environment},
    Route{"GET", "environments", read_runs, kHosted, list_environments},
    Route{"GET", "environments/{}", read_runs, kHosted, retrieve_environment},
    Route{"POST", "environments/{}", write_objects, kHosted, update_environment},
    Route{"POST", "environments/{}/archive", write_objects, kHosted, archive_environment},
    Route{"DELETE", "environments/{}", write_objects, kHosted, delete_environment},
    Route{"POST", "environments/{}/duplicate", write_objects, kOurs, duplicate_environment},

    Route{"POST", "agents", write_objects, kHosted, create_agent},
    Route{"GET", "agents", read_runs, kHosted, list_agents},
    Route{"GET", "agents/{}", read_runs, kHosted, retrieve_agent},
    Route{"POST", "agents/{}", write_objects, kHosted, update_agent},
    Route{"POST", "agents/{}/archive", write_objects, kHosted, archive_agent},
    Route{"GET", "agents/{}/versions", read_runs, kHosted, list_agent_versions},

    Route{"POST", "sessions", run, kHosted, create_session},
    Route{"GET", "sessions", read_runs, kHosted, list_sessions},
    Route{"GET", "sessions/{}", read_runs, kHosted, retrieve_session},
    Route{"POST", "sessions/{}", write_objects, kHosted, update_session},
    Route{"POST", "sessions/{}/archive", run, kHosted, archive_session},
    Route{"DELETE", "sessions/{}", write_objects, kHosted, delete_session},
    Route{"POST", "sessions/{}/tokens", write_objects, kOurs, create_session_token},
    Route{"GET", "sessions/{}/tokens", read_objects, kOurs, list_session_tokens},
    Route{"DELETE", "sessions/{}/tokens/{}", write_objects, kOurs, revoke_session_token},

    Route{"POST", "webhooks", write_objects, kOurs, create_webhook},
    Route{"GET", "webhooks", read_objects, kOurs, list_webhooks},
    Route{"GET", "webhooks/{}", read_objects, kOurs, retrieve_webhook},
    Route{"POST", "webhooks/{}", write_objects, kOurs, update_webhook},
    Route{"DELETE", "webhooks/{}", write_objects, kOurs, delete_webhook},
    Route{"POST", "webhooks/{}/regenerate_signing_secret", write_objects, kOurs, regenerate_webhook_secret},
    Route{"POST", "webhooks/{}/test", write_objects, kOurs, test_webhook},
    Route{"GET", "webhooks/{}/deliveries", read_objects, kOurs, list_webhook_deliveries},
    // The same, where the SDKs look for them.
    Route{"POST", "organizations/webhooks", write_objects, kOurs, create_webhook},
    Route{"GET", "organizations/webhooks", read_objects, kOurs, list_webhooks},
    Route{"GET", "organizations/webhooks/{}", read_objects, kOurs, retrieve_webhook},
    Route{"POST", "organizations/webhooks/{}", write_objects, kOurs, update_webhook},
    Route{"DELETE", "organizations/webhooks/{}", write_objects, kOurs, delete_webhook},
    Route{"POST", "organizations/webhooks/{}/regenerate_signing_secret", write_objects, kOurs,
          regenerate_webhook_secret},

    Route{"GET", "seal/slots", read_keys, kOurs, list_seal_slots},
    Route{"POST", "seal/slots", administer, kOurs, create_seal_slot},
    Route{"POST", "seal/slots/{}/verify", administer, kOurs, verify_seal_slot},
    Route{"DELETE", "seal/slots/{}", administer, kOurs, delete_seal_slot},
    Route{"POST", "purge", administer, kOurs, purge_store},
    Route{"POST", "backups", administer, kOurs, create_backup},
    Route{"GET", "backups", read_keys, kOurs, list_backups},
    Route{"GET", "fence", read_keys, kOurs, retrieve_fence},
    Route{"POST", "fence/lift", administer, kOurs, lift_fence},
    Route{"GET", "keys/root", read_keys, kOurs, retrieve_root_key},
    Route{"POST", "keys/root/rotate", administer, kOurs, rotate_root_key},
    Route{"POST", "vaults/{}/rotate_key", administer, kOurs, rotate_vault_key},
    Route{"GET", "shreddings", read_objects, kOurs, list_shreddings},
    Route{"GET", "shreddings/{}", read_objects, kOurs, retrieve_shredding},
    Route{"GET", "operations", read_keys, kOurs, list_operations},
    Route{"GET", "operations/{}", read_keys, kOurs, retrieve_operation},
    Route{"POST", "operations/{}/pause", administer, kOurs, pause_operation},
    Route{"POST", "operations/{}/resume", administer, kOurs, resume_operation},
    Route{"POST", "operations/{}/roll_back", administer, kOurs, roll_back_operation},
    Route{"POST", "operations/{}/retire", administer, kOurs, retire_operation},
    Route{"GET", "access_log", read_log, kOurs, read_access_log},
    Route{"POST", "api_keys", administer, kOurs, create_api_key},
    Route{"GET", "api_keys", read_keys, kOurs, list_api_keys},
    Route{"DELETE", "api_keys/{}", administer, kOurs, revoke_api_key},
    Route{"POST", "workspaces", administer, kOurs, create_workspace},
    Route{"GET", "workspaces", read_keys, kOurs, list_workspaces},
};

/// The segments of a path; one that cannot be an id or a word gives an empty text.
std::vector<std::string> segments_of(std::string_view path) {
    std::vector<std::string> segments;
    for (;;) {
        const auto slash = path.find('/');
        auto segment = percent_decoded(path.substr(0, slash)).value_or("");
        if (segment == "." || segment == ".." || segment.find('/') != std::string::npos) segment.clear();
        segments.push_back(std::move(segment));
        if (slash == std::string_view::npos) return segments;
        path.remove_prefix(slash + 1);
    }
}

/// What stands for the {}, or nothing when the path is another one.
std::optional<std::vector<std::string>> ids_of(std::string_view pattern,
                                               const std::vector<std::string>& segments) {
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const auto slash = pattern.find('/');
        const auto part = pattern.substr(0, slash);
        if (segments[i].empty() || (part != "{}" && part != segments[i])) return std::nullopt;
        if (part == "{}") ids.push_back(segments[i]);
        const bool last = i + 1 == segments.size();
        if (last != (slash == std::string_view::npos)) return std::nullopt;
        if (!last) pattern.remove_prefix(slash + 1);
    }
    return ids;
}

}  // namespace

bool may(Role role, Access access) {
    switch (role) {
        case Role::admin:
            return true;
        case Role::operate:
            return access == read_runs || access == read_objects || access == run || access == write_objects;
        case Role::auditor:
            return access == read_runs || access == read_objects || access == read_log || access == read_keys;
        case Role::agent_runner:
            return access == read_runs || access == run;
    }
    return false;
}

std::string roles_with(Access access) {
    std::string list;
    for (const auto role : {Role::admin, Role::operate, Role::auditor, Role::agent_runner})
        if (may(role, access))
            list += (list.empty() ? "'" : " or '") + std::string(vault::name_of(role)) + "'";
    return list;
}

Match match(std::string_view method, std::string_view path) {
    Match found;
    constexpr std::string_view prefix = "/v1/";
    if (!path.starts_with(prefix)) return found;
    const auto segments = segments_of(path.substr(prefix.size()));
    for (const auto& route : kRoutes) {
        auto ids = ids_of(route.path, segments);
        if (!ids) continue;
        if (route.method == method) {
            found.route = &route;
            found.ids = std::move(*ids);
            return found;
        }
        found.other_methods += (found.other_methods.empty() ? "" : ", ") + std::string(route.method);
    }
    return found;
}

}  // namespace claviger::admin::api
