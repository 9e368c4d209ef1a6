// Values of a credential beside the one in use: the next one, staged until its server has taken it, and the
// one before, kept for a roll-back. Durable steps, each of them part of one commit.
#pragma once

#include "base/result.h"
#include "vault/records.h"

#include <cstdint>
#include <string_view>

namespace claviger::vault {

/// The credential with `kept` as its value: what the rows of that version are opened and verified with.
Credential as_of(Credential credential, const KeptValue& kept);

/// The number of the credential's next version: no version's number is ever used again.
std::uint64_t next_version(const Catalog& catalog, const Credential& credential);

// For use inside Records::change. None of them notes an entry. Each gives the rotation as it is then stored;
// `credential` must be the catalog's newest. Errors besides those named: of Change::seal_value and
// Change::open_secret.

/// Seals `parts` as the next value. One that was staged before is gone.
base::Result<Rotation> stage_value(Change& change, const Credential& credential, const SecretParts& parts);

/// Puts the staged value to use; the one in use is kept until `kept_until`, or is gone at once when that is
/// not later than now. One that was kept before is gone. `version` must be the staged one's: conflict
/// "credential.nothing_staged".
base::Result<Rotation> promote_value(Change& change, Credential& credential, std::uint64_t version,
                                     Time kept_until);

/// Puts the previous value to use once more, as a version of its own; the one in use is kept until
/// `kept_until` instead. conflict "credential.nothing_kept".
base::Result<Rotation> roll_value_back(Change& change, Credential& credential, Time kept_until);

/// Erases the value of that state. conflict "credential.nothing_staged", "credential.nothing_kept".
base::Result<Rotation> retire_value(Change& change, const Credential& credential, ValueState state);

/// Stores the deadline; none clears it. Reminders begin anew.
base::Result<Rotation> set_deadline(Change& change, const Credential& credential,
                                    std::optional<Time> rotate_by);

/// Notes that the credential's server took the value of that version. Nothing when it is not kept any more.
base::Status note_verified(Change& change, const Credential& credential, std::uint64_t version);

/// After a change of where the credential's secret may go, which is part of every seal: seals kept values
/// anew. `before` is what they are sealed with.
base::Status reseal_kept(Change& change, const Credential& before, const Credential& after);

/// Erases everything that is kept, and the rotation. Nothing when there is none.
base::Status forget_rotation(Change& change, const Credential& credential);

}  // namespace claviger::vault
