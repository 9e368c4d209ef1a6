// After a restore: who could act with what has long been taken back acts no more, and nobody is served until
// an operator says so.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "vault/backup_header.h"
#include "vault/records.h"

#include <cstdint>
#include <filesystem>
#include <optional>

namespace claviger::vault {

/// A store that was restored and not yet released.
struct Fence {
    base::Time fenced{};       // when the restored store was first opened
    base::Time made{};         // when its backup was made
    LogHead backup;            // how far it is
    std::uint64_t pinned = 0;  // entries that the pin knew of; 0: there was no pin
    std::uint64_t voided = 0;  // session tokens

    /// Entries that were written after the backup, as far as the pin knows.
    std::uint64_t lost() const { return pinned > backup.size ? pinned - backup.size : 0; }
};

/// Nothing when the store is not fenced. corrupt "mark.refused".
base::Result<std::optional<Fence>> fence_of(const Records& records);

/// In one change: sets the fence, begins another history (KeyRing::begin_history), revokes every session
/// token, erases every connect link, and notes it all. `pinned` as in Fence.
base::Status put_fence(Change& change, const BackupHeader& backup, std::uint64_t pinned);
/// Takes the fence away and notes it. conflict "fence.none" when there is none.
base::Status lift_fence(Change& change);

}  // namespace claviger::vault
