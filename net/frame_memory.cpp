#include "net/frame_memory.h"

#include <algorithm>
#include <new>

#include <sanitizer/asan_interface.h>  // what it poisons is poisoned under AddressSanitizer alone

namespace claviger::net {

void* FrameMemory::take(std::size_t bytes) {
    const std::size_t list = (bytes - 1) / kStep;
    if (list >= kSizes) return ::operator new(bytes);
    List& from = lists_[list];
    Free* const frame = from.first;
    if (!frame) return ::operator new((list + 1) * kStep);
    from.first = frame->next;
    from.fewest = std::min(from.fewest, --from.frames);
    kept_bytes_ -= (list + 1) * kStep;
    ASAN_UNPOISON_MEMORY_REGION(frame, (list + 1) * kStep);
    return frame;
}

void FrameMemory::give_back(void* frame, std::size_t bytes) {
    const std::size_t list = (bytes - 1) / kStep;
    if (list >= kSizes || kept_bytes_ >= kMostKept) return ::operator delete(frame);
    List& to = lists_[list];
    to.first = new (frame) Free{to.first};
    ASAN_POISON_MEMORY_REGION(to.first + 1, (list + 1) * kStep - sizeof(Free));
    ++to.frames;
    kept_bytes_ += (list + 1) * kStep;
}

void FrameMemory::let_go(std::size_t list, std::size_t frames) {
    List& from = lists_[list];
    for (; frames > 0; --frames) {
        Free* const frame = from.first;
        from.first = frame->next;
        --from.frames;
        kept_bytes_ -= (list + 1) * kStep;
        ASAN_UNPOISON_MEMORY_REGION(frame, (list + 1) * kStep);
        ::operator delete(frame);
    }
}

void FrameMemory::trim() {
    for (std::size_t list = 0; list < kSizes; ++list) {
        let_go(list, lists_[list].fewest / 2);
        lists_[list].fewest = lists_[list].frames;
    }
}

FrameMemory::~FrameMemory() {
    for (std::size_t list = 0; list < kSizes; ++list) let_go(list, lists_[list].frames);
}

FrameMemory& frame_memory() {
    thread_local FrameMemory memory;
    return memory;
}

}  // namespace claviger::net
