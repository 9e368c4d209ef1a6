// Moves what a vault holds from one generation of its key to another, a stretch of rows at a time: the keys
// of its secrets, whose values stay as they are, and the metadata of its objects.
#pragma once

#include "vault/records.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace claviger::vault {

/// A row as it was read, and as it shall be.
struct Resealed {
    Table table;
    Bytes key, row;
    std::uint64_t version = 0;  // of what was read
};

/// What was found from one place on.
struct Stretch {
    std::vector<Resealed> rows;
    std::string from;  // where it began
    std::string next;  // where to go on; empty: that was the end
};

/// One table's rows of one vault that a generation seals, found through the vault's objects in memory, so
/// that the rows of other vaults cost nothing. Any thread; keeps no lock between rows.
class GenerationRows {
public:
    /// `table` is data_key or meta. The records outlive it.
    GenerationRows(const Records& records, const Vault& vault, Table table, std::uint64_t from,
                   std::uint64_t to)
        : records_(records), vault_(vault), table_(table), from_(from), to_(to) {}

    /// The rows of the next `credentials` credentials after `at` (empty: from the first), sealed by the other
    /// generation; at the end those of the vault's other objects. corrupt "envelope.refused" for one that
    /// does not open.
    base::Result<Stretch> next(const std::string& at, std::size_t credentials) const;
    /// How many there are.
    base::Result<std::uint64_t> count() const;

private:
    struct Found {
        Bytes key, row;
        std::uint64_t version = 0;
    };
    /// Gives where to go on.
    base::Result<std::string> find(const std::string& at, std::size_t credentials,
                                   std::vector<Found>& found) const;
    base::Status find(ByteView prefix, std::vector<Found>& found) const;
    bool wanted(ByteView key, ByteView row) const;
    base::Result<Resealed> reseal(const Found& found) const;
    base::Result<std::optional<Resealed>> reseal_if_still_there(const Found& found) const;

    const Records& records_;
    const Vault& vault_;
    Table table_;
    std::uint64_t from_, to_;
};

/// Puts the rows into the change's batch, each on the condition that it is still what was read; conflict
/// "storage.conflict" afterwards when one is not: read them again.
void put(Change& change, const std::vector<Resealed>& rows);

/// A fresh generation of the vault's key, which seals from here on; the one before still opens. Stores the
/// vault and gives it as it then is.
base::Result<Vault> begin_generation(Change& change, Vault vault);
/// The vault's key of that generation seals from here on.
base::Result<Vault> return_to_generation(Change& change, Vault vault, std::uint64_t generation);
/// A generation that nothing is sealed with any more is gone; the rotation is complete.
base::Status drop_generation(Change& change, Vault vault, std::uint64_t generation);

}  // namespace claviger::vault
