#include "proxy/answer_read_ahead.h"

#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <boost/asio/use_future.hpp>

#include <string>
#include <vector>

using namespace claviger;

namespace {

/// Gives its parts one by one, then its end or an error.
class Parts final : public net::Answer {
public:
    Parts(std::vector<std::string> parts, bool breaks) : parts_(std::move(parts)), breaks_(breaks) {}
    const net::ResponseHead& head() const override { return head_; }
    net::awaitable<base::Result<std::string_view>> next() override {
        if (at_ < parts_.size()) co_return std::string_view(parts_[at_++]);
        if (breaks_)
            co_return base::failure(base::ErrorKind::unavailable, "upstream.closed", "It broke off.");
        co_return std::string_view();
    }
    void idle_limit(std::chrono::milliseconds) override {}
    std::optional<std::uint64_t> declared_length() const override { return std::nullopt; }
    bool ready() const override { return true; }
    bool ended() const override { return !breaks_ && at_ == parts_.size(); }
    void cancel() override {}

private:
    net::ResponseHead head_;
    std::vector<std::string> parts_;
    bool breaks_;
    std::size_t at_ = 0;
};

struct Seen {
    bool whole = false;
    std::string all;
    std::string_view error;
};

net::awaitable<Seen> read(std::vector<std::string> parts, bool breaks, std::size_t most) {
    proxy::AnswerReadAhead answer(std::make_unique<Parts>(std::move(parts), breaks));
    Seen seen;
    const auto whole = co_await answer.read_whole(most);
    seen.whole = whole.has_value();
    for (;;) {
        const auto part = co_await answer.next();
        if (!part) {
            seen.error = part.error().code;
            break;
        }
        seen.all += *part;
        if (answer.ended() || part->empty()) break;
    }
    co_return seen;
}

Seen passed(std::vector<std::string> parts, bool breaks, std::size_t most) {
    boost::asio::io_context context;
    auto seen = boost::asio::co_spawn(context, read(std::move(parts), breaks, most), boost::asio::use_future);
    context.run();
    return seen.get();
}

}  // namespace

TEST_CASE("What was looked at of an answer passes on unchanged", "[proxy][answer_read_ahead]") {
    SECTION("a short one is seen whole") {
        const auto seen = passed({"ab", "cd"}, false, 4);
        CHECK(seen.whole);
        CHECK(seen.all == "abcd");
        CHECK(seen.error.empty());
    }
    SECTION("a longer one is not waited for") {
        const auto seen = passed({"ab", "cd", "ef", "gh"}, false, 4);
        CHECK_FALSE(seen.whole);
        CHECK(seen.all == "abcdefgh");
    }
    SECTION("one that breaks off breaks off for the next reader too") {
        const auto seen = passed({"ab"}, true, 4);
        CHECK_FALSE(seen.whole);
        CHECK(seen.all == "ab");
        CHECK(seen.error == "upstream.closed");
    }
    SECTION("an empty one") {
        const auto seen = passed({}, false, 4);
        CHECK(seen.whole);
        CHECK(seen.all.empty());
    }
}
