// The generations of the root key that are alive in one unsealed store, and what follows from each alone.
#pragma once

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#include <cstdint>
#include <map>
#include <memory>

namespace claviger::vault {

/// One generation. Const members are safe from several threads.
class RootKey {
public:
    RootKey(std::uint64_t epoch, crypto::Key key);

    std::uint64_t epoch() const { return epoch_; }
    const crypto::Key& key() const { return key_; }
    /// Wraps the keys of vaults, workspaces, log days and the instance.
    const crypto::Key& wrap_key() const { return wrap_key_; }
    /// Seals the head of the log.
    const crypto::Key& head_key() const { return head_key_; }
    /// Of a state record in which this generation is the active one.
    crypto::Digest state_mac(base::ByteView authenticated) const;

private:
    std::uint64_t epoch_;
    crypto::Key key_, wrap_key_, head_key_, mac_key_;
};

/// Those that are alive, by epoch. Shared: by the ring, and by threads that read while a rotation goes on.
struct RootKeys {
    std::map<std::uint64_t, std::shared_ptr<const RootKey>> live;
    std::uint64_t active = 0;

    /// Null when that generation is not alive here.
    const RootKey* find(std::uint64_t epoch) const;
    /// The active one, which is always there.
    const RootKey& in_use() const;
};

}  // namespace claviger::vault
