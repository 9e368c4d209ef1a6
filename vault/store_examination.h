// Everything in a store, read again: for `claviger fsck` and for backups.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/hash.h"
#include "vault/key_ring.h"
#include "vault/storage_engine.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::vault {

/// One thing that is not as it was written.
struct StoreFault {
    std::string place;  // "meta row 04…", "log entry 1234", "credential vcrd_…": for operators, no secret
    std::string code;   // of the refusal: "envelope.refused"
    std::string why;
};

struct StoreExamination {
    static constexpr std::size_t kNamedFaults = 100;

    std::uint64_t commit_seq = 0;
    std::uint64_t objects = 0, secrets = 0, keys = 0, names = 0, entries = 0, tiles = 0, index_blocks = 0;
    crypto::Digest root{};  // of the log as read
    std::uint64_t faults = 0;
    std::vector<StoreFault> named;  // the first of them

    bool sound() const { return faults == 0; }
};

/// What is being read, and how far that is; called a few times a second's worth of work.
using ExaminationProgress =
    std::function<void(std::string_view what, std::uint64_t done, std::uint64_t total)>;

/// Opens every row with the keys it is bound to, compares the sums over rows with the head and the rows of
/// secrets with the versions that credentials have, reads and hashes every log entry and compares tiles and
/// root. Writes nothing, and nobody else may: what is committed meanwhile looks like a fault. Blocks for as
/// long as that takes. A fault ends nothing: all of them are counted. The engine's own failures (unavailable,
/// corrupt "storage.corrupt") end it.
base::Result<StoreExamination> examine_store(const StorageEngine& engine, KeyRing& keys,
                                             const ExaminationProgress& progress);

}  // namespace claviger::vault
