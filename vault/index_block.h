// The index over 4096 consecutive log entries: which of them concern a workspace, a credential, an agent, ...
#pragma once

#include "vault/log_entry.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace claviger::vault {

inline constexpr std::uint64_t kBlockEntries = 4096;

enum class Dimension : std::uint8_t {  // on disk: append only
    workspace = 1,
    vault = 2,
    credential = 3,
    session = 4,
    agent = 5,
    environment = 6,
    server = 7,
    tool = 8,
    kind = 9,
    verdict = 10,
};

/// The value under which an entry stands in a dimension: 16 bytes, or one of kind and verdict. Empty: it does
/// not apply.
base::ByteView value_in(const LogEntry& entry, Dimension dimension);

/// `entries` are the kBlockEntries of one block, in order. Layout: docs/storage_format.md.
base::Bytes encode_index_block(std::span<const LogEntry> entries);

/// The object that a block's row is sealed as.
base::RawId block_id(std::uint64_t block);

/// Offsets of entries within their block, ascending.
using Offsets = std::vector<std::uint16_t>;

class IndexBlock {
public:
    /// corrupt "log.index_refused" when it is none. Bytes that opened are still checked to the last length.
    static base::Result<IndexBlock> parse(base::Bytes bytes);

    base::Time first() const { return first_; }
    base::Time last() const { return last_; }
    /// Of the entries with that value; nothing when a posting list is malformed.
    std::optional<Offsets> find(Dimension dimension, base::ByteView value) const;

private:
    base::Bytes bytes_;
    base::Time first_{}, last_{};
    std::size_t dimensions_at_ = 0;
};

}  // namespace claviger::vault
