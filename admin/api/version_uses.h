// Who uses which version of a credential's value: what runs is counted in memory, the last use of a version
// stands beside the use counts, and who it was in the access log.
#pragma once

#include "admin/api/call.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace claviger::admin::api {

struct VersionUse {
    struct Session {
        base::SessionId id;
        std::optional<base::Time> last;  // absent: before the uses that were read
    };
    std::optional<base::Time> last;  // absent: it is none of the versions that were used last
    std::vector<Session> sessions;   // those with streams now, then the latest first; at most kMostSessions
    std::uint64_t running = 0;       // calls that run now

    static constexpr std::size_t kMostSessions = 20;
};

/// Reads a thousand of the version's uses at most. Errors: of AccessLog::query.
base::Result<VersionUse> use_of_version(const Call& call, const vault::Credential& credential,
                                        std::uint64_t version);

/// Whether no call runs with the value from before. conflict "credential.version_in_use".
base::Status check_unused(const Call& call, const vault::Credential& credential,
                          const vault::KeptValue& previous);

/// Every version of the credential's value that is known of, the newest first, and who used it.
net::awaitable<Answered> list_credential_versions(Call& call);

}  // namespace claviger::admin::api
