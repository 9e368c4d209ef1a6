#include "vault/root_keys.h"

#include "crypto/key_tree.h"

namespace claviger::vault {

RootKey::RootKey(std::uint64_t epoch, crypto::Key key)
    : epoch_(epoch),
      key_(std::move(key)),
      wrap_key_(crypto::derive(key_, crypto::Purpose::vault_key_wrap)),
      head_key_(crypto::derive(key_, crypto::Purpose::row_sums, 2)),
      mac_key_(crypto::derive(key_, crypto::Purpose::state_mac)) {}

crypto::Digest RootKey::state_mac(base::ByteView authenticated) const {
    return crypto::blake2b_keyed(mac_key_, authenticated);
}

const RootKey* RootKeys::find(std::uint64_t epoch) const {
    const auto found = live.find(epoch);
    return found == live.end() ? nullptr : found->second.get();
}

const RootKey& RootKeys::in_use() const { return *live.at(active); }

}  // namespace claviger::vault
