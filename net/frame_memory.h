// Memory for the frames of coroutines: a call makes about fifteen, of the same few sizes again and again, and
// many calls are under way at the same time. malloc keeps seven blocks of a size at hand and walks its lists
// for every other (docs/decisions/0027).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace claviger::net {

/// Free frames of one thread, in lists by size. Not thread safe; frames may come back to another thread's
/// object than they were taken from.
class FrameMemory {
public:
    constexpr FrameMemory() = default;
    ~FrameMemory();
    FrameMemory(const FrameMemory&) = delete;
    FrameMemory& operator=(const FrameMemory&) = delete;

    /// At least that many bytes, aligned as operator new aligns, holding whatever they held before. Throws
    /// std::bad_alloc.
    void* take(std::size_t bytes);
    /// `bytes` as they were asked for.
    void give_back(void* frame, std::size_t bytes);
    /// Lets go half of the frames that nobody took since the last time: what is left over from a burst.
    void trim();
    std::size_t kept_bytes() const { return kept_bytes_; }

private:
    static constexpr std::size_t kStep = 64, kSizes = 64;      // lists for 64, 128, … 4,096 bytes
    static constexpr std::size_t kMostKept = 8 * 1024 * 1024;  // in all lists together

    struct Free {
        Free* next;
    };
    struct List {
        Free* first = nullptr;
        std::uint32_t frames = 0, fewest = 0;  // now; since the last trim()
    };
    std::array<List, kSizes> lists_{};
    std::size_t kept_bytes_ = 0;

    void let_go(std::size_t list, std::size_t frames);
};

/// Of the calling thread.
FrameMemory& frame_memory();

}  // namespace claviger::net
