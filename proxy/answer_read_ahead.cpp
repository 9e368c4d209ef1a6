#include "proxy/answer_read_ahead.h"

#include <utility>

namespace claviger::proxy {

net::awaitable<std::optional<std::string_view>> AnswerReadAhead::read_whole(std::size_t most) {
    while (!ended_ && ahead_.size() <= most) {
        const auto part = co_await inside_->next();
        if (!part) {
            broken_ = part.error();
            co_return std::nullopt;
        }
        ahead_ += *part;
        ended_ = part->empty();
    }
    if (ahead_.size() > most) co_return std::nullopt;
    co_return std::string_view(ahead_);
}

net::awaitable<base::Result<std::string_view>> AnswerReadAhead::next() {
    if (!ahead_.empty()) {
        given_ = std::exchange(ahead_, {});
        co_return std::string_view(given_);
    }
    if (broken_) co_return std::unexpected(*broken_);
    if (ended_) co_return std::string_view();
    co_return co_await inside_->next();
}

bool AnswerReadAhead::ready() const { return !ahead_.empty() || broken_ || ended_ || inside_->ready(); }

bool AnswerReadAhead::ended() const { return ahead_.empty() && !broken_ && (ended_ || inside_->ended()); }

}  // namespace claviger::proxy
