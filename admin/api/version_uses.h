// Who used which version of a credential's value: read from the access log, newest first.
#pragma once

#include "admin/api/call.h"

#include <map>
#include <optional>
#include <vector>

namespace claviger::admin::api {

struct VersionUse {
    struct Session {
        base::SessionId id;
        base::Time last{};
    };
    std::optional<base::Time> last;
    std::vector<Session> sessions;  // the latest first, at most kMostSessions
    std::uint64_t running = 0;      // calls without an outcome yet

    static constexpr std::size_t kMostSessions = 20;
};

struct VersionUses {
    std::map<std::uint64_t, VersionUse> by_version;
    std::optional<base::Time> since;  // entries before this were not looked at; none: all were
};

/// Reads the newest entries about the credential, a few thousand at most. Errors: of AccessLog::query.
base::Result<VersionUses> uses_of_versions(const Call& call, const vault::Credential& credential);

/// Whether the value from before is left alone now. conflict "credential.version_in_use".
base::Status check_unused(const vault::Credential& credential, const vault::KeptValue& previous,
                          const VersionUses& uses);

/// Every version of the credential's value that is known of, the newest first, and who used it.
net::awaitable<Answered> list_credential_versions(Call& call);

}  // namespace claviger::admin::api
