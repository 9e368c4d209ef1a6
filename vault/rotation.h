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

/// Since when the credential's value of that version is gone; none while it is in use or kept. At the latest:
/// where nobody noted it, since the value in use is there.
std::optional<Time> gone_since(const Catalog& catalog, const Credential& newest, std::uint64_t version);

/// The number of the credential's next version: no version's number is ever used again.
std::uint64_t next_version(const Catalog& catalog, const Credential& credential);

// For use inside Records::change. None of them notes an entry. Each gives the rotation as it is then stored;
// `credential` must be the catalog's newest. Errors besides those named: of Change::seal_value and
// Change::open_secret.

/// Seals `parts` as the next value, which is to be rotated in turn by `rotate_by`. One that was staged before
/// is gone.
base::Result<Rotation> stage_value(Change& change, const Credential& credential, const SecretParts& parts,
                                   std::optional<Time> rotate_by);

/// How a staged value comes into use.
struct Promotion {
    bool verified = false;  // its server has just taken it
    Time kept_until{};      // how long the one in use is kept; not later than now: it is gone at once
};

/// Puts the staged value of that version to use. One that was kept before is gone. conflict
/// "credential.nothing_staged".
base::Result<Rotation> promote_value(Change& change, Credential& credential, std::uint64_t version,
                                     const Promotion& promotion);

/// Puts the previous value to use once more, as a version of its own; the one in use is kept until
/// `kept_until` instead. conflict "credential.nothing_kept".
base::Result<Rotation> roll_value_back(Change& change, Credential& credential, Time kept_until);

/// Erases the value of that state. conflict "credential.nothing_staged", "credential.nothing_kept".
base::Result<Rotation> retire_value(Change& change, const Credential& credential, ValueState state);

/// The refusal when there is no value of that state.
base::Error nothing_kept(ValueState state, const Credential& credential);

/// By when the value in use is to be rotated; none: nobody says.
struct Deadline {
    std::optional<Time> rotate_by;
};

/// What an update of the credential means for its rotation: another deadline, if one is given, and new seals
/// of what is kept when where the secret may go has changed, because that is part of every seal. Nothing is
/// stored when neither changes.
base::Status update_rotation(Change& change, const Credential& before, const Credential& after,
                             const std::optional<Deadline>& deadline);

/// Erases everything that is kept, and the rotation. Nothing when there is none.
base::Status forget_rotation(Change& change, const Credential& credential);

}  // namespace claviger::vault
