// Ways into a store that need more than one secret read from one place, and what opens a store that no server
// has open: for `claviger fsck` and `claviger backup verify`.
#pragma once

#include "admin/cli/arguments.h"
#include "base/result.h"
#include "crypto/recipient.h"
#include "crypto/share_file.h"
#include "vault/key_ring.h"

#include <functional>
#include <optional>

namespace claviger::server {

/// The seal slots as they can be known without any key. corrupt "state.missing" when the store says nothing
/// of itself.
base::Result<vault::InstanceSummary> summary_of(const vault::StorageEngine& engine);

/// The slot that the share is of. invalid_request as crypto::examine() when the store has no such slot;
/// corrupt "slot.parameters_refused". The pointer is into `store`.
base::Result<const vault::SlotSummary*> slot_of_share(const vault::InstanceSummary& store,
                                                      const crypto::ShareFile& share);
/// What opens a slot with a public key for whoever has its identity. corrupt "slot.parameters_refused".
base::Result<vault::SealInput> input_for(const vault::SlotSummary& slot, const crypto::Identity& identity);

/// Reads what opens that store. Blocks: on people, and on tokens.
using Opening = std::function<base::Result<vault::SealInput>(const vault::StorageEngine&)>;

/// The one way in that --key-file, --passphrase-stdin, --share with --identity, --identity alone, or --pkcs11
/// with
/// --config name; nothing when none is named. Reads nothing yet. "cli.usage" for more than one.
base::Result<std::optional<Opening>> opening_named_by(const admin::cli::Arguments& arguments);

}  // namespace claviger::server
