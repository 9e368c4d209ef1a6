// Answers kept for a minute, for clients that repeat a request because its answer was lost.
#pragma once

#include "admin/api/call.h"
#include "crypto/hash.h"

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace claviger::admin::api {

/// Any thread. Bounded: the oldest answers go when more than kAnswers or kBytes would be kept.
class Replay {
public:
    static constexpr std::size_t kAnswers = 1'000;
    static constexpr std::size_t kBytes = 8 * 1024 * 1024;
    static constexpr std::chrono::seconds kKeep{60};
    using Clock = std::chrono::steady_clock;

    /// Says which request this is: key, method, target and body, under a key that only this process has.
    crypto::Digest name_of(const base::ApiKeyId& key, const net::Request& request) const;

    /// A request that is being worked on for as long as this lives, however its work ends. Outlived by the
    /// Replay.
    class Running {
    public:
        Running(Replay& replay, const crypto::Digest& name) : replay_(&replay), name_(name) {}
        ~Running();
        Running(Running&& other) noexcept
            : replay_(std::exchange(other.replay_, nullptr)), name_(other.name_) {}
        Running& operator=(Running&&) = delete;

        /// Keeps the answer for who asks again. Without it nothing is kept: the work failed.
        void answered(const Answer& answer, Clock::time_point now);

    private:
        Replay* replay_;
        crypto::Digest name_;
    };

    enum class Attempt { first, repeated };
    /// What to do with a request, decided and noted in one step: carry it out, answer it as it was answered
    /// within the last minute, or say that the same request is still being worked on. Only repeated ones get
    /// anything but `run`.
    struct Entry {
        enum class Means { run, replay, busy } means = Means::run;
        std::optional<Answer> answer = {};    // of `replay`
        std::optional<Running> running = {};  // of `run`
    };
    Entry enter(const crypto::Digest& name, Attempt attempt, Clock::time_point now);

private:
    struct Kept {
        crypto::Digest name{};
        Clock::time_point at;
        Answer answer;
    };
    void keep(const crypto::Digest& name, const Answer& answer, Clock::time_point now);
    void forget_until(Clock::time_point limit);

    const crypto::Key key_ = crypto::Key::generate();
    std::mutex mutex_;
    std::deque<Kept> kept_;  // oldest first
    std::map<crypto::Digest, std::size_t> running_;
    std::size_t bytes_ = 0;
};

}  // namespace claviger::admin::api
