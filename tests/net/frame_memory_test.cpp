#include "net/frame_memory.h"

#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace claviger;

TEST_CASE("A frame that came back is the next one of its size, and of no other", "[net][frame_memory]") {
    net::FrameMemory memory;
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
    net::FrameMemory memory;
    std::size_t kept = 0;
    for (std::size_t bytes = 1; bytes <= 6'000; ++bytes) {
        void* const frame = memory.take(bytes);
        std::memset(frame, 'x', bytes);  // AddressSanitizer looks whether that is ours
        CHECK(reinterpret_cast<std::uintptr_t>(frame) % alignof(std::max_align_t) == 0);
        memory.give_back(frame, bytes);
        kept = std::max(kept, bytes > 4'096 ? 0 : bytes);
    }
    CHECK(kept == 4'096);
    CHECK(memory.kept_bytes() == 64 * (64 * 65 / 2));  // one of each size
}

TEST_CASE("What a burst leaves over is let go, and what is in use is kept", "[net][frame_memory]") {
    net::FrameMemory memory;
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
    net::FrameMemory memory;
    std::vector<void*> frames;
    for (int i = 0; i < 3'000; ++i) frames.push_back(memory.take(4'096));
    for (void* const frame : frames) memory.give_back(frame, 4'096);
    CHECK(memory.kept_bytes() == 8 * 1024 * 1024);
}

TEST_CASE("The frames of coroutines come from there", "[net][frame_memory]") {
    test::Loop loop;
    const auto kept = [] { return net::frame_memory().kept_bytes(); };
    CHECK(loop.call(kept) == 0);
    const auto made = loop.await<std::size_t>([](net::Worker&) -> net::awaitable<std::size_t> {
        std::array<char, 2'000> part_of_frame{};
        co_await net::asio::post(net::asio::deferred);
        co_return part_of_frame.size();
    });
    CHECK(made == 2'000);
    CHECK(loop.call(kept) > 2'000);
}
