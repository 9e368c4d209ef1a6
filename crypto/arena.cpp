#include "crypto/arena.h"

#include "base/require.h"

#include <pthread.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) (static_cast<void>(data), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (static_cast<void>(data), static_cast<void>(bytes))
#endif

namespace claviger::crypto {
namespace {

constexpr std::size_t kTail = 16;  // behind the payload: room for the canary, and it keeps slots aligned
constexpr std::size_t kChunkBytes = 64 * 1024;
constexpr std::size_t kSlotsAtLeast = 4;

std::size_t page_bytes() {
    static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
}

/// The system call itself: sanitizers replace the library's mlock() by one that does nothing.
long lock_pages(void* data, std::size_t bytes) { return syscall(SYS_mlock, data, bytes); }

bool all_zero(const std::byte* data, std::size_t size) {
    return data[0] == std::byte{} && std::memcmp(data, data + 1, size - 1) == 0;
}

}  // namespace

std::size_t whole_pages(std::size_t bytes) {
    return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

std::byte* map_locked(std::size_t bytes) {
    const std::size_t guard = page_bytes();
    void* const outer = mmap(nullptr, bytes + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (outer == MAP_FAILED) return nullptr;
    std::byte* const data = static_cast<std::byte*>(outer) + guard;
    if (mprotect(data, bytes, PROT_READ | PROT_WRITE) != 0 || madvise(data, bytes, MADV_DONTDUMP) != 0 ||
        madvise(data, bytes, MADV_DONTFORK) != 0 || lock_pages(data, bytes) != 0) {
        munmap(outer, bytes + 2 * guard);
        return nullptr;
    }
    return data;
}

void unmap_locked(std::byte* data, std::size_t bytes) {
    munmap(data - page_bytes(), bytes + 2 * page_bytes());
}

Arena& Arena::instance() {
    static Arena* const arena = new Arena;  // never destroyed: static secrets may outlive any other static
    return *arena;
}

Arena::Arena() {
    base::require(sodium_init() >= 0, "libsodium starts");
    base::require(getrandom(&canary_, sizeof canary_, 0) == sizeof canary_, "the kernel gives randomness");
    // A child of fork() does not inherit the chunks (MADV_DONTFORK), so it starts with an empty arena.
    pthread_atfork([] { instance().lock_all(); }, [] { instance().unlock_all(); },
                   [] {
                       instance().forget_all();
                       instance().unlock_all();
                   });
}

std::size_t Arena::class_of(std::size_t size) {
    return size <= kSmallest ? 0 : static_cast<std::size_t>(std::bit_width((size - 1) / kSmallest));
}

std::byte* Arena::allocate(std::size_t size) {
    const std::size_t index = class_of(size);
    std::byte* data = nullptr;
    if (index < kClasses) {
        const std::size_t slot_bytes = (kSmallest << index) + kTail;
        SizeClass& sizes = classes_[index];
        {
            const std::lock_guard lock(sizes.mutex);
            if (sizes.free.empty()) grow(sizes, slot_bytes);
            data = sizes.free.back();
            sizes.free.pop_back();
        }
        ASAN_UNPOISON_MEMORY_REGION(data, slot_bytes);
        base::require(all_zero(data, slot_bytes), "nobody writes to a secret after its end");
        put_canary(data, size);
        ASAN_POISON_MEMORY_REGION(data + size, slot_bytes - size);
    } else {
        if (size > SIZE_MAX / 2) throw std::bad_alloc();
        const std::size_t bytes = whole_pages(size + kTail);
        data = map_locked(bytes);
        if (!data) throw std::bad_alloc();
        locked_bytes_ += bytes;
        put_canary(data, size);
        ASAN_POISON_MEMORY_REGION(data + size, bytes - size);
    }
    return data;
}

void Arena::release(std::byte* data, std::size_t size) noexcept {
    const std::size_t index = class_of(size);
    if (index < kClasses) {
        const std::size_t slot_bytes = (kSmallest << index) + kTail;
        ASAN_UNPOISON_MEMORY_REGION(data, slot_bytes);
        check_canary(data, size);
        sodium_memzero(data, size + sizeof canary_);
        ASAN_POISON_MEMORY_REGION(data, slot_bytes);
        const std::lock_guard lock(classes_[index].mutex);
        classes_[index].free.push_back(data);
    } else {
        const std::size_t bytes = whole_pages(size + kTail);
        ASAN_UNPOISON_MEMORY_REGION(data, bytes);
        check_canary(data, size);
        sodium_memzero(data, bytes);
        unmap_locked(data, bytes);
        locked_bytes_ -= bytes;
    }
}

void Arena::grow(SizeClass& sizes, std::size_t slot_bytes) {
    const std::size_t bytes = whole_pages(std::max(kChunkBytes, kSlotsAtLeast * slot_bytes));
    const std::size_t slots = bytes / slot_bytes;
    sizes.free.reserve(sizes.slots + slots);
    std::byte* const chunk = map_locked(bytes);
    if (!chunk) throw std::bad_alloc();
    ASAN_POISON_MEMORY_REGION(chunk, bytes);
    locked_bytes_ += bytes;
    sizes.slots += slots;
    for (std::size_t i = slots; i-- > 0;) sizes.free.push_back(chunk + i * slot_bytes);
}

void Arena::put_canary(std::byte* data, std::size_t size) const {
    std::memcpy(data + size, &canary_, sizeof canary_);
}

void Arena::check_canary(const std::byte* data, std::size_t size) const {
    base::require(std::memcmp(data + size, &canary_, sizeof canary_) == 0,
                  "nobody writes past the end of a secret");
}

void Arena::lock_all() {
    for (SizeClass& sizes : classes_) sizes.mutex.lock();
}

void Arena::unlock_all() {
    for (SizeClass& sizes : classes_) sizes.mutex.unlock();
}

void Arena::forget_all() {
    for (SizeClass& sizes : classes_) {
        sizes.free.clear();
        sizes.slots = 0;
    }
    locked_bytes_ = 0;
}

}  // namespace claviger::crypto
