// Memory for the frames of coroutines: a call makes about fifteen, of the same few sizes again and again, and
// many calls are under way at the same time. malloc keeps seven blocks of a size at hand and walks its lists
// for every other (docs/decisions/0027).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace claviger::net {

/// Free frames, in lists by size. Not thread safe; a frame may come back to another object than it was taken
/// from.
class FrameMemory {
public:
    /// Keeps that many bytes in all lists together.
    explicit constexpr FrameMemory(std::size_t most_kept) : most_kept_(most_kept) {}
    ~FrameMemory();
    FrameMemory(const FrameMemory&) = delete;
    FrameMemory& operator=(const FrameMemory&) = delete;

    /// At least that many bytes, aligned as operator new aligns, holding whatever they held before. Throws
    /// std::bad_alloc.
    void* take(std::size_t bytes);
    /// `bytes` as they were asked for. Aborts when the frame lies in a list already: two coroutines would get
    /// it.
    void give_back(void* frame, std::size_t bytes);
    /// Lets go half of the frames that nobody took since the last time, those that have lain longest: what is
    /// left over from a burst.
    void trim();

    std::size_t kept_bytes() const { return kept_bytes_; }
    void keep_at_most(std::size_t bytes) { most_kept_ = bytes; }  // from now on

private:
    static constexpr std::size_t kSizes = 64;  // lists for 64, 128, … 4,096 bytes

    struct Free {
        Free* next;
        const void* mark;  // kMark; in a frame that is in use it is the address of a function
    };
    static const char kMark;
    struct List {
        Free* first = nullptr;                 // the last that came back
        std::uint32_t frames = 0, fewest = 0;  // now; since the last trim()
    };
    std::array<List, kSizes> lists_{};
    std::size_t kept_bytes_ = 0, most_kept_;

    void let_go_behind(List& list, std::size_t kept, std::size_t bytes_of_one);
};

/// Of the calling thread. Keeps 8 MiB; nothing under AddressSanitizer, which finds uses of what was freed by
/// not handing it out again soon.
FrameMemory& frame_memory();

}  // namespace claviger::net
