// Where a secret may go, as one digest that is part of its seal.
#pragma once

#include "base/bytes.h"
#include "crypto/hash.h"

#include <cstdint>
#include <string>
#include <vector>

namespace claviger::crypto {

/// Lists are sets: their order and repeated entries make no difference. Texts are compared as bytes, so
/// the caller normalises them first.
struct Constraints {
    std::vector<std::string> hosts;  // host:port
    std::vector<std::string> path_prefixes;
    std::vector<std::string> methods;
    std::string injection;  // such as "header:authorization:Bearer"
    std::string audience;
    std::vector<std::string> scopes;
    std::vector<std::string> environments;
    std::vector<std::string> agent_classes;
    std::vector<std::string> tools;
    std::int64_t expires_ms = 0;  // Unix milliseconds; 0: never

    bool operator==(const Constraints&) const = default;
};

/// Deterministic CBOR (RFC 8949 section 4.2): a map with the keys 1 to 10 in the order above, all of
/// them always present, lists sorted by their bytes and without repetitions.
base::Bytes canonical_cbor(const Constraints& constraints);

/// BLAKE2b-256 of canonical_cbor(); what belongs into Place::constraints.
Digest constraint_digest(const Constraints& constraints);

}  // namespace claviger::crypto
