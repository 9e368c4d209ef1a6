// That an operator's word overruled the pin: in the store from the commit that puts it on record until the
// pin has followed and, after a restore, the fence knows how much the overruled pin knew of.
#pragma once

#include "base/result.h"
#include "crypto/hash.h"
#include "vault/key_ring.h"
#include "vault/ledger.h"
#include "vault/storage_engine.h"

#include <cstdint>
#include <optional>

namespace claviger::vault {

struct Overruling {
    std::uint64_t entries = 0;  // that the pin knew of; 0: it was missing
    crypto::Digest pinned{};    // their root
    crypto::Digest accepted{};  // the root that the operator named
};

/// Nothing when there is none. corrupt "mark.refused".
base::Result<std::optional<Overruling>> overruling_of(const StorageEngine& engine, const KeyRing& keys);
base::Status put_overruling(Transaction& transaction, const Overruling& overruling);
void clear_overruling(Transaction& transaction);

}  // namespace claviger::vault
