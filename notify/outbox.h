// What is to be done elsewhere, done: takes the store's outbox items when they are due, tries, and tries
// again, until they are done or given up.
#pragma once

#include "net/worker.h"
#include "vault/records.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::notify {

/// How one attempt ended.
struct Attempt {
    enum class End {
        done,
        again,   // later: see kOutboxWaits
        dropped  // never again: another attempt would end the same way
    };
    End end = End::again;
    std::string_view reason = {};  // unless done: a code of vault/log_entry.cpp's list
    std::uint16_t status = 0;      // of the HTTP answer; 0: there was none
    std::optional<std::chrono::seconds> retry_after = {};  // what the other side asked for; at most an hour
    std::chrono::microseconds took{0};
};

enum class Fate { done, postponed, given_up };

/// Knows one kind of items. Outlives the Outbox.
class Carrier {
public:
    virtual ~Carrier() = default;
    /// One attempt, on the outbox's worker. The item may change or go away meanwhile.
    virtual net::awaitable<Attempt> carry(vault::Ref<vault::OutboxItem> item) = 0;
    /// In the commit that takes the item out, or postpones it. Must note an entry.
    virtual base::Status settle(vault::Change& change, const vault::OutboxItem& item, const Attempt& attempt,
                                Fate fate) = 0;
};

/// Ten attempts in about 24 hours. The n-th wait follows the n-th attempt, give or take a tenth.
inline constexpr std::array<std::chrono::seconds, 9> kOutboxWaits{
    std::chrono::seconds(10),     std::chrono::seconds(60),     std::chrono::seconds(300),
    std::chrono::seconds(1'200),  std::chrono::seconds(3'600),  std::chrono::seconds(7'200),
    std::chrono::seconds(14'400), std::chrono::seconds(21'600), std::chrono::seconds(36'000)};
inline constexpr std::chrono::hours kOutboxAge{24};
/// How long to wait after that many attempts (1, 2, …). `seed` spreads items that failed together.
std::chrono::milliseconds outbox_wait(std::uint64_t attempts, std::optional<std::chrono::seconds> retry_after,
                                      std::uint64_t seed);

struct OutboxLimits {
    std::size_t in_flight = 32;
    std::size_t in_flight_each = 4;  // of one webhook endpoint or credential
    std::chrono::milliseconds look_every{500};
};

struct OutboxCounters {
    std::atomic<std::uint64_t> done{0}, postponed{0}, given_up{0}, in_flight{0};
};

class Outbox {
public:
    using Carriers = std::vector<std::pair<vault::OutboxKind, Carrier*>>;
    /// Everything is borrowed and outlives this. Nothing happens before start().
    Outbox(net::Worker& worker, vault::Records& records, Carriers carriers, OutboxLimits limits = {});
    /// What is still under way never settles: its item stays, and is tried again after the next start.
    ~Outbox();

    void start();  // any thread, once
    /// Begins nothing more, and waits for what is under way. From any thread but the worker's.
    void drain(std::chrono::milliseconds grace);
    const OutboxCounters& counters() const;

private:
    struct State;
    std::shared_ptr<State> state_;  // with the worker's tick and the attempts under way, which end later
};

}  // namespace claviger::notify
