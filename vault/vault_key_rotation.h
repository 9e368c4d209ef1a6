// Moves what a vault holds from one generation of its key to another, a stretch of rows at a time: the keys
// of its secrets, whose values stay as they are, and the metadata of its objects.
#pragma once

#include "vault/records.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace claviger::vault {

/// A row as it was read, and as it shall be.
struct Resealed {
    Table table;
    Bytes key;
    Row was;
    Bytes row;
};

/// What was found from one place on.
struct Stretch {
    std::vector<Resealed> rows;
    std::string from;  // where it began
    std::string next;  // where to go on; empty: that was the end
};

/// One table's rows of one vault that a generation seals, found through the vault's objects in memory, so
/// that the rows of other vaults cost nothing, and in the order of their keys. Any thread; keeps no lock
/// between rows.
class GenerationRows {
public:
    /// Remembers the credentials that the vault has now (16 bytes each): rows of later ones are sealed by the
    /// vault's newest generation anyway. `table` is data_key or meta. The records outlive it.
    GenerationRows(const Records& records, const Vault& vault, Table table, std::uint64_t from,
                   std::uint64_t to);

    /// The rows of the next `credentials` credentials behind `at` (the hexadecimal id of one; anything else:
    /// from the first), sealed by the other generation; at the end those of the vault's other objects.
    /// corrupt "envelope.refused" for one that does not open.
    base::Result<Stretch> next(const std::string& at, std::size_t credentials) const;

private:
    struct Found {
        Bytes key;
        Row row;
    };
    struct Keys;
    using Ids = std::span<const base::CredentialId>;
    Ids behind(const std::string& at, std::size_t most) const;
    void open_in_memory(Ids credentials) const;
    std::vector<Bytes> prefixes_of(Ids credentials, bool others) const;
    bool wanted(ByteView key, ByteView row) const;
    base::Result<Bytes> reseal(const Found& found, const Keys& keys) const;
    base::Result<std::optional<Bytes>> reseal_if_still_there(const Found& found, const Keys& keys) const;

    const Records& records_;
    base::WorkspaceId workspace_;
    base::VaultId vault_;
    Table table_;
    std::uint64_t from_, to_;
    std::vector<base::CredentialId> credentials_;  // ascending
};

/// How many rows the vault's key seals; emptied credentials count as if they still had a secret.
std::uint64_t count_sealed_rows(const Catalog& catalog, const Vault& vault);

/// Puts the rows into the change's batch, each on the condition that it is still what was read; conflict
/// "storage.conflict" afterwards when one is not: read them again.
void put(Change& change, std::vector<Resealed> rows);

/// A fresh generation of the vault's key, which seals from here on; the one before still opens. Stores the
/// vault and gives it as it then is.
base::Result<Vault> begin_generation(Change& change, Vault vault);
/// The vault's key of that generation seals from here on.
base::Result<Vault> return_to_generation(Change& change, Vault vault, std::uint64_t generation);
/// A generation that nothing is sealed with any more is gone; the rotation is complete.
base::Status drop_generation(Change& change, Vault vault, std::uint64_t generation);

}  // namespace claviger::vault
