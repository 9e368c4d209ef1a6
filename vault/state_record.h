// The one row that is readable without a key: who this store is, and the seal slots that lead to its root
// key.
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/seal_slot.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace claviger::vault {

enum class EpochState : std::uint8_t { pending = 1, active = 2, retiring = 3 };  // on disk: append only

/// A generation of the root key.
struct RootEpoch {
    std::uint64_t epoch = 0;
    EpochState state{};
    base::Time created{};  // when its key was made
};

/// The root key of one epoch, sealed by a slot's key.
struct RootWrap {
    std::uint64_t epoch = 0;
    base::Bytes wrapped;
};

struct SealSlot {
    crypto::SlotParameters parameters;
    std::uint64_t commit_seq = 0;  // of the commit that made the slot, 0 for tokens; part of its wraps' place
    base::Time created{};
    std::vector<RootWrap> wraps;  // of the live epochs; those sealed to a public key share one ephemeral key
    std::string name = {};        // what operators call it; at most kMaxSlotName bytes
    std::optional<base::Time> verified = {};  // when it last gave the root key back

    const RootWrap* wrap_of(std::uint64_t epoch) const;
};

/// Layout: docs/storage_format.md.
struct StateRecord {
    base::RawId instance{};
    base::Time created{};
    std::vector<RootEpoch> epochs;
    std::uint64_t last_epoch = 0;  // the highest that was ever given out: none is used twice
    std::uint64_t history = 0;     // 0 as it was made; each restore begins another, see next_history()
    std::vector<SealSlot> slots;

    /// 0 when there is none.
    std::uint64_t active_epoch() const;
    RootEpoch* find(EpochState state);  // the first in that state; null: none
    const RootEpoch* find(EpochState state) const;
    /// What the next root key is numbered: above all that this history gave out, and any that it left behind.
    std::uint64_t next_epoch() const;
    /// The number of the history that a restore begins. Keys that are made in it are numbered above it, so it
    /// lies kHistoryLeap above what the one it leaves can have given out; and by chance beyond that, so that
    /// two restores of one backup differ.
    std::uint64_t next_history() const;
};

inline constexpr std::size_t kMaxSlots = 32;
inline constexpr std::size_t kMaxEpochs = 16;
inline constexpr std::size_t kMaxSlotName = 64;
inline constexpr std::uint64_t kHistoryLeap = 65'536;  // keys of one owner that no history makes

/// Where the root key of `epoch` belongs when `slot` seals it.
crypto::Place wrap_place(const StateRecord& record, const SealSlot& slot, std::uint64_t epoch);

/// Everything but the MAC.
base::Bytes encode(const StateRecord& record);
/// The record and, behind it, the MAC that only the root key can check. corrupt "state.refused" when it is
/// none.
struct StoredState {
    StateRecord record;
    base::Bytes authenticated;  // the bytes that the MAC covers
    base::Bytes mac;
};
base::Result<StoredState> decode_state(base::ByteView row);

}  // namespace claviger::vault
