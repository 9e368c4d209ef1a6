// Randomness for nonces, ids and tokens; keys and secrets take theirs with Secret::random.
#pragma once

#include "base/bytes.h"
#include "base/id.h"

#include <cstddef>
#include <span>
#include <string_view>

namespace claviger::crypto {

/// From the kernel, drawn in blocks per thread; each byte is given out once and wiped from its block.
/// Safe from any thread and after fork(): the child drops the parent's blocks. Aborts when the kernel
/// has no randomness to give, because nothing could go on safely.
void random_bytes(std::span<std::byte> out);

/// Straight from the kernel, never through a block in ordinary memory: for what is secret itself.
void kernel_random_bytes(std::span<std::byte> out);

base::RawId random_id_bytes();

template <class Id>
Id random_id() {
    return Id{random_id_bytes()};
}

/// `prefix` followed by 32 random bytes as 43 base64url characters. The text is the caller's to wipe.
base::Bytes random_token_text(std::string_view prefix);

}  // namespace claviger::crypto
