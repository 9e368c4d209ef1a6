#include "admin/api/replay.h"

#include <ranges>

namespace claviger::admin::api {
namespace {

Answer copy_of(const Answer& answer) {
    Answer copy{.body = answer.body, .shown_once = {}, .shown_as = answer.shown_as};
    copy.shown_once = crypto::Secret::copy_of(answer.shown_once);
    return copy;
}

}  // namespace

crypto::Digest Replay::name_of(const base::ApiKeyId& key, const net::Request& request) const {
    const auto body = crypto::blake2b_keyed(key_, request.body);
    base::Bytes text(key.key());
    for (const std::string_view part : {std::string_view(request.method), std::string_view(request.target)}) {
        base::append_big_endian(text, static_cast<std::uint64_t>(part.size()));
        text += part;
    }
    text += crypto::view(body);
    return crypto::blake2b_keyed(key_, text);
}

Replay::Entry Replay::enter(const crypto::Digest& name, Attempt attempt, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forget_until(now - kKeep);
    if (attempt == Attempt::repeated) {
        for (const auto& kept : std::views::reverse(kept_))
            if (kept.name == name) return {Entry::Means::replay, copy_of(kept.answer)};
        if (running_.contains(name)) return {Entry::Means::busy};
    }
    ++running_[name];
    return {.means = Entry::Means::run, .running = Running(*this, name)};
}

Replay::Running::~Running() {
    if (replay_ == nullptr) return;
    const std::lock_guard lock(replay_->mutex_);
    if (const auto found = replay_->running_.find(name_); --found->second == 0)
        replay_->running_.erase(found);
}

void Replay::Running::answered(const Answer& answer, Clock::time_point now) {
    replay_->keep(name_, answer, now);
}

void Replay::keep(const crypto::Digest& name, const Answer& answer, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forget_until(now - kKeep);
    if (answer.body.size() > kBytes / 4) return;
    bytes_ += answer.body.size();
    kept_.push_back({name, now, copy_of(answer)});
    while (kept_.size() > kAnswers || bytes_ > kBytes) {
        bytes_ -= kept_.front().answer.body.size();
        kept_.pop_front();
    }
}

void Replay::forget_until(Clock::time_point limit) {
    while (!kept_.empty() && kept_.front().at < limit) {
        bytes_ -= kept_.front().answer.body.size();
        kept_.pop_front();
    }
}

}  // namespace claviger::admin::api
