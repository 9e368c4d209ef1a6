// An answer whose first bytes were looked at before it is passed on.
#pragma once

#include "net/client.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// Gives the same bytes, end or error as the answer inside would.
class AnswerReadAhead final : public net::Answer {
public:
    explicit AnswerReadAhead(std::unique_ptr<net::Answer> inside) : inside_(std::move(inside)) {}

    /// Waits for the body, before the first next(). Nothing when it is longer than `most` or did not come
    /// whole; what came of it is kept for next() all the same. The view lives until next().
    net::awaitable<std::optional<std::string_view>> read_whole(std::size_t most);

    const net::ResponseHead& head() const override { return inside_->head(); }
    net::awaitable<base::Result<std::string_view>> next() override;
    void idle_limit(std::chrono::milliseconds limit) override { inside_->idle_limit(limit); }
    std::optional<std::uint64_t> declared_length() const override { return inside_->declared_length(); }
    bool ready() const override;
    bool ended() const override;
    void cancel() override { inside_->cancel(); }

private:
    std::unique_ptr<net::Answer> inside_;
    std::string ahead_, given_;
    std::optional<base::Error> broken_;
    bool ended_ = false;
};

}  // namespace claviger::proxy
