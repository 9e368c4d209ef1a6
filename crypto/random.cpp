#include "crypto/random.h"

#include "base/require.h"
#include "crypto/secret.h"

#include <pthread.h>
#include <sys/random.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace claviger::crypto {
namespace {

std::atomic<unsigned> forks = 0;  // grows in every child, which makes blocks from before the fork stale
[[maybe_unused]] const int forks_are_counted = pthread_atfork(nullptr, nullptr, [] { ++forks; });

// What is left of it when its thread ends was never given out, so it needs no wiping.
struct Block {
    std::array<std::byte, 4096> bytes;
    std::size_t left = 0;
    unsigned fork = 0;
};

thread_local Block block;

}  // namespace

void kernel_random_bytes(std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        base::require(got > 0 || errno == EINTR, "the kernel gives randomness");
        if (got > 0) out = out.subspan(static_cast<std::size_t>(got));
    }
}

void random_bytes(std::span<std::byte> out) {
    if (out.size() > block.bytes.size() / 8) return kernel_random_bytes(out);
    const unsigned fork_now = forks.load(std::memory_order_relaxed);
    if (block.left < out.size() || block.fork != fork_now) {
        kernel_random_bytes(block.bytes);
        block.left = block.bytes.size();
        block.fork = fork_now;
    }
    if (out.empty()) return;
    block.left -= out.size();
    const auto taken = std::span<std::byte>(block.bytes).subspan(block.left, out.size());
    std::memcpy(out.data(), taken.data(), taken.size());
    wipe(taken);
}

base::RawId random_id_bytes() {
    base::RawId id;
    random_bytes(std::as_writable_bytes(std::span(id)));
    return id;
}

base::Bytes random_token_text(std::string_view prefix) {
    std::array<std::byte, 32> token;
    kernel_random_bytes(token);
    base::Bytes text = base::to_base64url(base::as_view(token));
    wipe(std::span<std::byte>(token));
    base::Bytes out;
    out.reserve(prefix.size() + text.size());
    out.append(prefix).append(text);
    wipe(std::span<char>(text));
    return out;
}

}  // namespace claviger::crypto
