// Bytes that must not leak: kept in locked memory, wiped on release, impossible to print.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace claviger::crypto {

/// Owns sensitive bytes in locked memory that core dumps and forked children do not get; wiped when
/// destroyed or moved from. Fixed size: nothing can shrink it and leave a tail. Not copyable, not
/// printable; equality takes constant time. Const members are safe from several threads.
/// Making one costs no system call, except above 16 KiB or when the arena grows.
/// Throws std::bad_alloc when memory cannot be had or cannot be locked.
/// After fork() the child may make secrets of its own, but touching one of the parent's ends it.
class Secret {
public:
    static Secret copy_of(std::span<const std::byte> source);  // the source stays yours to wipe
    static Secret copy_of(std::string_view source);
    static Secret copy_of(const Secret& source);
    static std::optional<Secret> copy_of(const std::optional<Secret>& source);
    /// Straight from the kernel into locked memory.
    static Secret random(std::size_t size);

    /// Lets `fill(std::span<std::byte>)` write `size` bytes once; read-only afterwards. They start as zeros.
    template <class Fill>
    static Secret filled(std::size_t size, Fill&& fill) {
        Secret secret(size);
        std::forward<Fill>(fill)(std::span<std::byte>(secret.data_, secret.size_));
        return secret;
    }

    Secret(Secret&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Secret& operator=(Secret&& other) noexcept;
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret();

    std::size_t size() const { return size_; }

    /// The only door. The view dies when `use` returns; copying out of it is a review finding.
    /// Grep ".expose(" to see every place that ever looks at a secret.
    template <class Use>
    decltype(auto) expose(Use&& use) const {
        return std::forward<Use>(use)(std::span<const std::byte>(data_, size_));
    }

    friend bool operator==(const Secret& a, const Secret& b);
    template <class Stream>
    friend Stream& operator<<(Stream&, const Secret&) = delete;

private:
    explicit Secret(std::size_t size);

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Exactly 32 secret bytes that seal, derive or authenticate.
class Key {
public:
    static constexpr std::size_t kBytes = 32;

    static Key generate();
    /// ErrorKind::corrupt, "key.wrong_size", when the secret is not 32 bytes.
    static base::Result<Key> from(Secret secret);
    /// Lets `fill(std::span<std::byte>)` write the 32 bytes.
    template <class Fill>
    static Key filled(Fill&& fill) {
        return Key(Secret::filled(kBytes, std::forward<Fill>(fill)));
    }

    template <class Use>
    decltype(auto) expose(Use&& use) const {
        return secret_.expose(std::forward<Use>(use));
    }

    friend bool operator==(const Key& a, const Key& b) { return a.secret_ == b.secret_; }
    template <class Stream>
    friend Stream& operator<<(Stream&, const Key&) = delete;

private:
    explicit Key(Secret secret) : secret_(std::move(secret)) {}

    Secret secret_;
};

/// For start-up, before the first secret is read: locks memory and checks with the kernel that it is
/// locked and that `room_bytes` more could be. ErrorKind::unavailable, "memory.not_lockable".
base::Status prove_locked_memory(std::size_t room_bytes = 1 << 20);

/// No core file, no ptrace by the same user, no reading of /proc/self/mem by others. For start-up.
/// ErrorKind::unavailable, "memory.core_dumps".
base::Status forbid_core_dumps();

/// Overwrites with zeros in a way that the compiler may not drop.
void wipe(std::span<char> bytes);
void wipe(std::span<std::byte> bytes);

/// Bytes of locked memory that the secrets' arena holds now, in use or free.
std::size_t locked_bytes();

}  // namespace claviger::crypto
