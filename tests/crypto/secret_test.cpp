// Secrets stay in locked memory, leave nothing behind and cannot be shown.
#include "crypto/secret.h"

#include "tests/crypto/in_child.h"
#include "tests/crypto/vectors.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <ostream>
#include <sstream>
#include <thread>
#include <type_traits>

using namespace claviger;
using namespace claviger::crypto;

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

static_assert(!Printable<Secret> && !Printable<Key>);
static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(!std::is_copy_constructible_v<Key> && !std::is_copy_assignable_v<Key>);
static_assert(std::is_nothrow_move_constructible_v<Secret> && std::is_nothrow_move_assignable_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string> && !std::is_convertible_v<Secret, bool>);

namespace {

const std::byte* address_of(const Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return bytes.data(); });
}

std::size_t kernel_locked_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        std::size_t kilobytes = 0;
        if (word == "VmLck:" && status >> kilobytes) return kilobytes * 1024;
    }
    return 0;
}

/// The VmFlags line of the mapping that holds the address.
std::string mapping_flags(const void* address) {
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin = 0;
        unsigned long end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
            here = begin <= reinterpret_cast<unsigned long>(address) &&
                   reinterpret_cast<unsigned long>(address) < end;
        if (here && line.starts_with("VmFlags:")) return line + " ";
    }
    return {};
}

bool without_the_right_to_lock() {
    const rlimit none{0, 0};
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && (geteuid() != 0 || setuid(65534) == 0);
}

}  // namespace

TEST_CASE("A secret holds what it was given, whatever its size", "[crypto]") {
    for (const std::size_t size : {1u, 31u, 32u, 33u, 64u, 65u, 512u, 4096u, 16384u, 16385u, 300000u}) {
        const auto bytes = run(3, size);
        const auto secret = Secret::copy_of(bytes);
        CHECK(secret.size() == size);
        CHECK(bytes_of(secret) == bytes);
        CHECK(secret == Secret::copy_of(base::as_span(bytes)));
    }
    CHECK(Secret::copy_of("").size() == 0);
    CHECK(Secret::copy_of("") == Secret::random(0));
}

TEST_CASE("Secrets are equal only when every byte is", "[crypto]") {
    const auto secret = Secret::copy_of("correct horse");
    CHECK(secret == Secret::copy_of("correct horse"));
    CHECK_FALSE(secret == Secret::copy_of("correct horsf"));
    CHECK_FALSE(secret == Secret::copy_of("Correct horse"));
    CHECK_FALSE(secret == Secret::copy_of("correct hors"));
    CHECK_FALSE(secret == Secret::copy_of(""));
    CHECK_FALSE(Secret::random(32) == Secret::random(32));
}

TEST_CASE("A secret that is moved from is empty, and the one moved to is whole", "[crypto]") {
    auto first = Secret::copy_of("one");
    auto second = Secret::copy_of("second, and longer");

    second = std::move(first);

    CHECK(bytes_of(second) == "one");
    CHECK(first.size() == 0);  // NOLINT(bugprone-use-after-move): that is the promise
    auto& same = second;
    second = std::move(same);
    CHECK(bytes_of(second) == "one");
}

TEST_CASE("Memory of an ended secret comes back as zeros", "[crypto]") {
    const std::byte* before = nullptr;
    {
        const auto secret = Secret::copy_of(std::string(48, 'x'));
        before = address_of(secret);
    }
    const auto next = Secret::filled(60, [](std::span<std::byte> bytes) {
        CHECK(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; }));
    });
    CHECK(address_of(next) == before);
}

TEST_CASE("A fill that fails part of the way leaves nothing behind", "[crypto]") {
    CHECK_THROWS_AS(Secret::filled(40,
                                   [](std::span<std::byte> bytes) {
                                       std::ranges::fill(bytes, std::byte{7});
                                       throw std::bad_alloc();
                                   }),
                    std::bad_alloc);
    CHECK(bytes_of(Secret::filled(40, [](std::span<std::byte>) {})) == std::string(40, '\0'));
}

TEST_CASE("Secrets lie in memory that is locked, not dumped and not forked", "[crypto]") {
    for (const std::size_t size : {32u, 5000u, 100000u}) {
        const auto secret = Secret::random(size);
        const auto flags = mapping_flags(address_of(secret));
        INFO(size << " bytes: " << flags);
        CHECK(flags.find(" lo ") != std::string::npos);
        CHECK(flags.find(" dd ") != std::string::npos);
        CHECK(flags.find(" dc ") != std::string::npos);
    }
}

TEST_CASE("The kernel counts the arena's growth as locked, and large secrets give theirs back", "[crypto]") {
    const auto kernel_before = kernel_locked_bytes();
    const auto ours_before = locked_bytes();

    std::vector<Secret> secrets;
    for (int i = 0; i < 4000; ++i) secrets.push_back(Secret::random(64));
    const auto grown = locked_bytes() - ours_before;

    CHECK(grown > 0);
    CHECK(kernel_locked_bytes() - kernel_before == grown);
    secrets.clear();
    CHECK(locked_bytes() - ours_before == grown);  // kept for the next ones
    for (int i = 0; i < 4000; ++i) secrets.push_back(Secret::random(64));
    CHECK(locked_bytes() - ours_before == grown);
    {
        const auto large = Secret::random(1 << 20);
        CHECK(locked_bytes() - ours_before > grown + (1 << 20));
    }
    CHECK(locked_bytes() - ours_before == grown);
}

TEST_CASE("Two threads can make, pass on and end secrets at the same time", "[crypto]") {
    const auto hammer = [](unsigned seed, bool& sound) {
        std::vector<Secret> kept;
        for (unsigned i = 0; i < 20000; ++i) {
            seed = seed * 1664525 + 1013904223;
            const std::string bytes((seed >> 16) % 700 + 1, static_cast<char>('a' + i % 26));
            kept.push_back(Secret::copy_of(bytes));
            sound = sound && bytes_of(kept.back()) == bytes;
            if (kept.size() > 50) kept.erase(kept.begin() + (seed >> 8) % 50);
        }
        for (const auto& secret : kept) {
            const auto bytes = bytes_of(secret);
            sound = sound && bytes == std::string(bytes.size(), bytes[0]);
        }
    };
    bool first_sound = true;
    bool second_sound = true;
    std::thread other(hammer, 1, std::ref(first_sound));
    hammer(2, second_sound);
    other.join();
    CHECK(first_sound);
    CHECK(second_sound);
}

TEST_CASE("Writing past the end of a secret ends the program", "[crypto]") {
    CHECK(holds_in_child([] {
        const auto secret =
            Secret::filled(40, [](std::span<std::byte> bytes) { bytes.data()[39] = std::byte{1}; });
        return secret.size() == 40;
    }));
    CHECK_FALSE(holds_in_child([] {
        const auto secret =
            Secret::filled(40, [](std::span<std::byte> bytes) { bytes.data()[40] = std::byte{1}; });
        return secret.size() == 40;
    }));
}

TEST_CASE("Writing to a secret after its end ends the program", "[crypto]") {
    CHECK_FALSE(holds_in_child([] {
        std::byte* kept = nullptr;
        {
            const auto secret = Secret::filled(40, [&](std::span<std::byte> bytes) { kept = bytes.data(); });
        }
        kept[3] = std::byte{1};
        return Secret::random(40).size() == 40;
    }));
}

TEST_CASE("A forked child gets none of its parent's secrets and can make its own", "[crypto]") {
    const auto secret = Secret::copy_of("the parent's");
    CHECK_FALSE(holds_in_child([&] { return bytes_of(secret).size() == secret.size(); }));
    CHECK(holds_in_child([] { return bytes_of(Secret::copy_of("the child's")) == "the child's"; }));
    CHECK(bytes_of(secret) == "the parent's");
}

TEST_CASE("Start-up goes on when memory can be locked", "[crypto]") {
    const auto proved = prove_locked_memory();
    INFO((proved ? "" : proved.error().detail));
    CHECK(proved);
}

TEST_CASE("Start-up stops with a way out when memory cannot be locked", "[crypto]") {
    CHECK(holds_in_child([] {
        if (!without_the_right_to_lock()) return false;
        const auto proved = prove_locked_memory();
        return !proved && proved.error().kind == base::ErrorKind::unavailable &&
               proved.error().code == "memory.not_lockable" &&
               proved.error().hint.find("RLIMIT_MEMLOCK") != std::string::npos;
    }));
}

TEST_CASE("Start-up stops when locking only pretends to work", "[crypto]") {
    CHECK(holds_in_child([] {
        if (!replace_system_call(SYS_mlock, 0)) return false;
        const auto proved = prove_locked_memory();
        return !proved && proved.error().code == "memory.not_lockable" &&
               proved.error().detail.find("VmLck") != std::string::npos;
    }));
}

TEST_CASE("A secret is refused rather than kept in memory that is not locked", "[crypto]") {
    for (const std::size_t size : {32u, 100000u})
        CHECK(holds_in_child([&] {
            if (!without_the_right_to_lock()) return false;
            try {
                return Secret::random(size).size() == 0;
            } catch (const std::bad_alloc&) {
                return true;
            }
        }));
}

TEST_CASE("A process that forbids core dumps has none", "[crypto]") {
    CHECK(holds_in_child([] {
        rlimit cores{1, 1};
        return forbid_core_dumps() && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
               getrlimit(RLIMIT_CORE, &cores) == 0 && cores.rlim_cur == 0 && cores.rlim_max == 0;
    }));
}

TEST_CASE("Start-up stops when core dumps cannot be forbidden", "[crypto]") {
    CHECK(holds_in_child([] {
        if (!replace_system_call(SYS_prlimit64, EPERM)) return false;
        const auto forbidden = forbid_core_dumps();
        return !forbidden && forbidden.error().code == "memory.core_dumps" &&
               forbidden.error().kind == base::ErrorKind::unavailable && !forbidden.error().hint.empty();
    }));
}

TEST_CASE("Wiping leaves zeros", "[crypto]") {
    std::string text = "hunter2";
    wipe(std::span<char>(text));
    CHECK(text == std::string(7, '\0'));
}

TEST_CASE("A key is exactly 32 bytes", "[crypto]") {
    CHECK(bytes_of(key_of(run(0, 32))) == run(0, 32));
    CHECK_FALSE(Key::generate() == Key::generate());
    for (const std::size_t size : {0u, 31u, 33u}) {
        const auto key = Key::from(Secret::random(size));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "key.wrong_size");
        CHECK(key.error().kind == base::ErrorKind::corrupt);
    }
}
