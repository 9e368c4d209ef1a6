#include "crypto/secret.h"

#include "base/require.h"
#include "crypto/arena.h"
#include "crypto/random.h"

#include <sodium.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

namespace claviger::crypto {
namespace {

/// The kernel's own count of locked memory: mlock() can be a silent no-op in some sandboxes.
std::optional<std::size_t> kernel_locked_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        std::size_t kilobytes = 0;
        if (word == "VmLck:" && status >> kilobytes) return kilobytes * 1024;
    }
    return std::nullopt;
}

std::unexpected<base::Error> not_lockable(std::size_t room_bytes, std::string detail) {
    return base::failure(base::ErrorKind::unavailable, "memory.not_lockable",
                         "Memory for secrets cannot be locked, so they could reach the disk through swap.",
                         "Raise RLIMIT_MEMLOCK to at least " + std::to_string(room_bytes / 1024) +
                             " KiB above what is locked already (systemd: LimitMEMLOCK=64M, container: "
                             "--ulimit memlock=67108864, shell: ulimit -l 65536) and start again.",
                         std::move(detail));
}

}  // namespace

Secret::Secret(std::size_t size) : data_(size ? Arena::instance().allocate(size) : nullptr), size_(size) {}

Secret::~Secret() {
    if (data_) Arena::instance().release(data_, size_);
}

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this != &other) {
        if (data_) Arena::instance().release(data_, size_);
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Secret Secret::copy_of(std::span<const std::byte> source) {
    Secret secret(source.size());
    if (!source.empty()) std::memcpy(secret.data_, source.data(), source.size());
    return secret;
}

Secret Secret::copy_of(std::string_view source) { return copy_of(std::as_bytes(std::span(source))); }

Secret Secret::copy_of(const Secret& source) {
    return copy_of(std::span<const std::byte>(source.data_, source.size_));
}

std::optional<Secret> Secret::copy_of(const std::optional<Secret>& source) {
    if (!source) return std::nullopt;
    return copy_of(*source);
}

Secret Secret::random(std::size_t size) {
    Secret secret(size);
    kernel_random_bytes(std::span(secret.data_, size));
    return secret;
}

bool operator==(const Secret& a, const Secret& b) {
    return a.size_ == b.size_ && (a.size_ == 0 || sodium_memcmp(a.data_, b.data_, a.size_) == 0);
}

Key Key::generate() { return Key(Secret::random(kBytes)); }

base::Result<Key> Key::from(Secret secret) {
    if (secret.size() != kBytes)
        return base::failure(base::ErrorKind::corrupt, "key.wrong_size", "A key must be exactly 32 bytes.",
                             {}, "got " + std::to_string(secret.size()) + " bytes");
    return Key(std::move(secret));
}

base::Status prove_locked_memory(std::size_t room_bytes) {
    base::require(sodium_init() >= 0, "libsodium starts");
    const auto before = kernel_locked_bytes();
    if (!before) return not_lockable(room_bytes, "/proc/self/status has no VmLck line");
    const std::size_t bytes = whole_pages(room_bytes);
    std::byte* const proof = map_locked(bytes);
    if (!proof) return not_lockable(room_bytes, std::string("mlock: ") + std::strerror(errno));
    const auto during = kernel_locked_bytes();
    unmap_locked(proof, bytes);
    if (!during || *during < *before + bytes)
        return not_lockable(room_bytes, "mlock reports success, but VmLck went from " +
                                            std::to_string(*before) + " to " +
                                            std::to_string(during.value_or(0)) + " bytes");
    return {};
}

base::Status forbid_core_dumps() {
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return base::failure(base::ErrorKind::unavailable, "memory.core_dumps",
                             "Core dumps cannot be switched off, so a crash could write secrets to the disk.",
                             "Allow setrlimit and prctl in the sandbox that the program runs in.",
                             std::strerror(errno));
    return {};
}

void wipe(std::span<char> bytes) { sodium_memzero(bytes.data(), bytes.size()); }
void wipe(std::span<std::byte> bytes) { sodium_memzero(bytes.data(), bytes.size()); }

std::size_t locked_bytes() { return Arena::instance().locked_bytes(); }

}  // namespace claviger::crypto
