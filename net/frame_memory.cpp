#include "net/frame_memory.h"

#include "base/require.h"

#include <algorithm>
#include <new>
#include <utility>

namespace claviger::net {
namespace {

#if __has_feature(address_sanitizer)
constexpr std::size_t kMostKept = 0;
#else
constexpr std::size_t kMostKept = 8 * 1024 * 1024;
#endif

constexpr std::size_t kStep = 64;  // from one list to the next

// The list of frames of that many bytes, and how many bytes each frame in it has.
constexpr std::size_t list_of(std::size_t bytes) { return (bytes - 1) / kStep; }
constexpr std::size_t size_in(std::size_t list) { return (list + 1) * kStep; }

}  // namespace

const char FrameMemory::kMark = 0;

void* FrameMemory::take(std::size_t bytes) {
    const std::size_t list = list_of(bytes);
    if (list >= kSizes) return ::operator new(bytes);
    List& from = lists_[list];
    Free* const frame = from.first;
    if (!frame) return ::operator new(size_in(list));
    from.first = frame->next;
    frame->mark = nullptr;
    from.fewest = std::min(from.fewest, --from.frames);
    kept_bytes_ -= size_in(list);
    return frame;
}

void FrameMemory::give_back(void* frame, std::size_t bytes) {
    const std::size_t list = list_of(bytes);
    if (list >= kSizes) return ::operator delete(frame);
    base::require(static_cast<Free*>(frame)->mark != &kMark, "a frame is given back once");
    if (kept_bytes_ + size_in(list) > most_kept_) return ::operator delete(frame);
    List& to = lists_[list];
    to.first = new (frame) Free{to.first, &kMark};
    ++to.frames;
    kept_bytes_ += size_in(list);
}

void FrameMemory::let_go_behind(List& list, std::size_t kept, std::size_t bytes_of_one) {
    Free** last = &list.first;
    for (std::size_t i = 0; i < kept; ++i) last = &(*last)->next;
    for (Free* frame = std::exchange(*last, nullptr); frame;) {
        Free* const next = frame->next;
        frame->mark = nullptr;  // whatever malloc hands this out for
        ::operator delete(frame);
        frame = next;
        kept_bytes_ -= bytes_of_one;
        --list.frames;
    }
}

void FrameMemory::trim() {
    for (std::size_t i = 0; i < kSizes; ++i) {
        List& list = lists_[i];
        if (list.fewest >= 2) let_go_behind(list, list.frames - list.fewest / 2, size_in(i));
        list.fewest = list.frames;
    }
}

FrameMemory::~FrameMemory() {
    for (std::size_t i = 0; i < kSizes; ++i) let_go_behind(lists_[i], 0, size_in(i));
}

FrameMemory& frame_memory() {
    thread_local FrameMemory memory(kMostKept);
    return memory;
}

}  // namespace claviger::net
