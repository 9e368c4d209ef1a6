// The locked memory that all secrets share.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace claviger::crypto {

/// Hands out slots of a few sizes, cut from locked chunks that stay out of core dumps and forked children.
/// A free slot is all zeros; a slot in use ends with a canary. Both are checked when the slot changes hands,
/// and the program ends when something wrote where it must not. Chunks are kept until the program ends.
/// Safe from any thread.
class Arena {
public:
    /// The only one. It outlives every static object.
    static Arena& instance();

    /// Zeroed memory of `size` bytes, size > 0. Throws std::bad_alloc when it cannot be had or locked.
    std::byte* allocate(std::size_t size);
    /// Wipes and takes back what allocate(size) gave.
    void release(std::byte* data, std::size_t size) noexcept;

    std::size_t locked_bytes() const { return locked_bytes_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t kSmallest = 32;
    static constexpr std::size_t kClasses = 10;  // 32 bytes to 16 KiB, each twice the one before

    struct SizeClass {
        std::mutex mutex;
        std::vector<std::byte*> free;  // has room for every slot of the class, so giving back never allocates
        std::size_t slots = 0;
    };

    Arena();
    static std::size_t class_of(std::size_t size);
    void grow(SizeClass& sizes, std::size_t slot_bytes);
    void put_canary(std::byte* data, std::size_t size) const;
    void check_canary(const std::byte* data, std::size_t size) const;
    void lock_all();
    void unlock_all();
    void forget_all();

    std::array<SizeClass, kClasses> classes_;
    std::atomic<std::size_t> locked_bytes_ = 0;
    std::uint64_t canary_ = 0;
};

/// Zeroed, locked pages between two guard pages; nullptr when they cannot be had or locked.
/// `bytes` is a multiple of the page size.
std::byte* map_locked(std::size_t bytes);
void unmap_locked(std::byte* data, std::size_t bytes);
std::size_t whole_pages(std::size_t bytes);

}  // namespace claviger::crypto
