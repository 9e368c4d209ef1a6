#include "net/frame_memory.h"

#include "tests/crypto/in_child.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace claviger;

constexpr std::size_t kMostKept = 8 * 1024 * 1024;

TEST_CASE("A frame that came back is the next one of its size, and of no other", "[net][frame_memory]") {
    net::FrameMemory memory(kMostKept);
    void* const first = memory.take(700);
    CHECK(memory.kept_bytes() == 0);
    memory.give_back(first, 700);
    CHECK(memory.kept_bytes() == 704);

    void* const smaller = memory.take(640);
    CHECK(smaller != first);
    CHECK(memory.take(703) == first);
    std::memset(first, 'x', 703);
    CHECK(memory.kept_bytes() == 0);
    memory.give_back(smaller, 640);
    memory.give_back(first, 703);
    CHECK(memory.kept_bytes() == 704 + 640);
}

TEST_CASE("Every size is served, and large frames are not kept", "[net][frame_memory]") {
    net::FrameMemory memory(kMostKept);
    for (std::size_t bytes = 1; bytes <= 6'000; ++bytes) {
        void* const frame = memory.take(bytes);
        std::memset(frame, 'x', bytes);  // AddressSanitizer looks whether that is ours
        CHECK(reinterpret_cast<std::uintptr_t>(frame) % alignof(std::max_align_t) == 0);
        memory.give_back(frame, bytes);
    }
    CHECK(memory.kept_bytes() == 64 * (64 * 65 / 2));  // one of each size
}

TEST_CASE("What a burst leaves over is let go, and what is in use is kept", "[net][frame_memory]") {
    net::FrameMemory memory(kMostKept);
    std::vector<void*> burst;
    for (int i = 0; i < 100; ++i) burst.push_back(memory.take(1'000));
    for (void* const frame : burst) memory.give_back(frame, 1'000);
    const auto after_burst = memory.kept_bytes();
    memory.trim();  // none of them was there the whole time before
    CHECK(memory.kept_bytes() == after_burst);
    for (int tick = 0; tick < 10; ++tick) {
        std::array<void*, 8> used;
        for (void*& frame : used) frame = memory.take(1'000);
        for (void* const frame : used) memory.give_back(frame, 1'000);
        memory.trim();
    }
    CHECK(memory.kept_bytes() >= 8 * 1'024);
    CHECK(memory.kept_bytes() <= 10 * 1'024);
}

TEST_CASE("No more than eight megabytes are kept", "[net][frame_memory]") {
    net::FrameMemory memory(kMostKept);
    std::vector<void*> frames;
    for (int i = 0; i < 3'000; ++i) frames.push_back(memory.take(4'096));
    for (void* const frame : frames) memory.give_back(frame, 4'096);
    CHECK(memory.kept_bytes() == kMostKept);
}

TEST_CASE("What has lain longest is let go first", "[net][frame_memory]") {
    net::FrameMemory memory(kMostKept);
    std::array<void*, 4> frames;
    for (void*& frame : frames) frame = memory.take(1'000);
    for (void* const frame : frames) memory.give_back(frame, 1'000);
    memory.trim();
    memory.trim();
    CHECK(memory.kept_bytes() == 2 * 1'024);
    void* const last = memory.take(1'000);
    void* const before = memory.take(1'000);
    CHECK(last == frames[3]);
    CHECK(before == frames[2]);
    memory.give_back(last, 1'000);
    memory.give_back(before, 1'000);
}

TEST_CASE("A frame that is given back twice ends the program", "[net][frame_memory]") {
    // Without the check nothing else would end the child: nothing is taken, and nothing is destroyed.
    const auto given_back = [](int times, std::size_t most_kept) {
        return crypto::holds_in_child([=] {
            auto& memory = *new net::FrameMemory(kMostKept);
            void* const frame = memory.take(500);
            for (int i = 0; i < times; ++i) {
                memory.give_back(frame, 500);
                memory.keep_at_most(most_kept);
            }
            return true;
        });
    };
    CHECK(given_back(1, kMostKept));
    CHECK_FALSE(given_back(2, kMostKept));
    CHECK_FALSE(given_back(2, 0));  // when the lists are full, too
}

TEST_CASE("The frames of coroutines come from there", "[net][frame_memory]") {
    test::Loop loop;
    const auto kept = [] { return net::frame_memory().kept_bytes(); };
    loop.call([] {
        net::frame_memory().keep_at_most(kMostKept);  // under AddressSanitizer, too
        return true;
    });
    CHECK(loop.call(kept) == 0);
    loop.await<bool>([](net::Worker& worker) -> net::awaitable<bool> {
        co_await worker.others_first();
        co_return true;
    });
    CHECK(loop.call(kept) > 0);
}
