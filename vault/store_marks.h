// What a store knows about itself: that its log is pinned outside, that it was restored from a backup.
#pragma once

#include "base/result.h"
#include "vault/key_ring.h"
#include "vault/ledger.h"
#include "vault/storage_engine.h"

#include <optional>
#include <string_view>

namespace claviger::vault {

/// Rows of Table::state beside the record and the head, by these keys.
inline constexpr ByteView kPinnedMark = "pinned";  // the log has a pin; empty
inline constexpr ByteView kFencedMark = "fenced";  // restored, and not yet released; see vault/fence.h
inline constexpr ByteView kOverruledMark =
    "overruled";  // the pin was, and has not followed; vault/overruling.h

/// Nothing when the mark is not set. corrupt "mark.refused" when its row does not open at its place.
base::Result<std::optional<Bytes>> read_mark(const StorageEngine& engine, const KeyRing& keys, ByteView mark);
/// The refusal of a mark that is not as Claviger wrote it: corrupt "mark.refused". `why` is for the detail.
std::unexpected<base::Error> refused_mark(ByteView mark, std::string_view why);
/// Sealed by the instance's key. Fails as KeyRing::owner_key.
base::Status set_mark(Transaction& transaction, ByteView mark, ByteView content);
void clear_mark(Transaction& transaction, ByteView mark);

}  // namespace claviger::vault
