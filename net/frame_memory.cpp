#include "net/frame_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

namespace claviger::net {
namespace {

#if __has_feature(address_sanitizer)
constexpr std::size_t kMostKept = 0;
#else
constexpr std::size_t kMostKept = 8 * 1024 * 1024;
#endif

}  // namespace

const char FrameMemory::kMark = 0;

void* FrameMemory::take(std::size_t bytes) {
    const std::size_t list = (bytes - 1) / kStep;
    if (list >= kSizes) return ::operator new(bytes);
    List& from = lists_[list];
    Free* const frame = from.first;
    if (!frame) return ::operator new((list + 1) * kStep);
    from.first = frame->next;
    frame->mark = nullptr;
    from.fewest = std::min(from.fewest, --from.frames);
    kept_bytes_ -= (list + 1) * kStep;
    return frame;
}

void FrameMemory::give_back(void* frame, std::size_t bytes) {
    const std::size_t list = (bytes - 1) / kStep;
    if (list >= kSizes) return ::operator delete(frame);
    if (static_cast<Free*>(frame)->mark == &kMark) {
        std::fputs("claviger: broken promise in net: a frame is given back once\n", stderr);
        std::abort();
    }
    if (kept_bytes_ + (list + 1) * kStep > most_kept_) return ::operator delete(frame);
    List& to = lists_[list];
    to.first = new (frame) Free{to.first, &kMark};
    ++to.frames;
    kept_bytes_ += (list + 1) * kStep;
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
        if (list.fewest >= 2) let_go_behind(list, list.frames - list.fewest / 2, (i + 1) * kStep);
        list.fewest = list.frames;
    }
}

FrameMemory::~FrameMemory() {
    for (std::size_t i = 0; i < kSizes; ++i) let_go_behind(lists_[i], 0, (i + 1) * kStep);
}

FrameMemory& frame_memory() {
    thread_local FrameMemory memory(kMostKept);
    return memory;
}

}  // namespace claviger::net
