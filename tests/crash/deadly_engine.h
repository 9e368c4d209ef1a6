// An engine at one of whose batches the process ends as the kernel would end it.
#pragma once

#include "tests/support/vault_forwarding_engine.h"
#include "tests/support/vault_rotation_world.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace claviger::test {

/// A whole line to standard output, at once: the process may not live to flush.
inline void say(const std::string& line) {
    const auto text = line + "\n";
    keys::must(::write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()),
               "no output");
}

/// When the process dies. Batches are counted over all engines that share it. Thread-safe.
class Death {
public:
    enum class Moment { never, before, after };

    Death(std::uint64_t batch, Moment moment) : batch_(batch), moment_(moment) {}

    /// What the batches from here on are part of.
    void enter(std::string stage) {
        const std::lock_guard lock(mutex_);
        stage_ = std::move(stage);
    }
    /// The batch's number, which is said together with its stage.
    std::uint64_t next_batch() {
        const auto number = ++batches_;
        const std::lock_guard lock(mutex_);
        say("batch " + std::to_string(number) + " " + stage_);
        return number;
    }
    void come_if_due(std::uint64_t batch, Moment moment) const {
        if (batch == batch_ && moment == moment_) ::raise(SIGKILL);
    }

private:
    const std::uint64_t batch_;
    const Moment moment_;
    std::atomic<std::uint64_t> batches_ = 0;
    std::mutex mutex_;
    std::string stage_;
};

class DeadlyEngine final : public ForwardingEngine {
public:
    DeadlyEngine(std::unique_ptr<vault::StorageEngine> inner, Death& death)
        : ForwardingEngine(*inner), owned_(std::move(inner)), death_(death) {}

    base::Status commit(std::uint64_t commit_seq, const vault::Batch& batch) override {
        const auto number = death_.next_batch();
        death_.come_if_due(number, Death::Moment::before);
        auto committed = inner_.commit(commit_seq, batch);
        death_.come_if_due(number, Death::Moment::after);
        return committed;
    }

private:
    const std::unique_ptr<vault::StorageEngine> owned_;
    Death& death_;
};

}  // namespace claviger::test
