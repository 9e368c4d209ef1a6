#include "oauth/lifetime_text.h"

#include "oauth/token_response.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

namespace claviger::oauth {
namespace {

using namespace std::chrono;

constexpr std::int64_t kYear10000 = 253'402'300'800;  // seconds

constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Reads a text from front to back; the first mismatch makes everything after it fail.
class Scanner {
public:
    explicit Scanner(std::string_view text) : text_(text) {}

    int digits(std::size_t count) {
        int value = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (text_.empty() || text_.front() < '0' || text_.front() > '9') return fail();
            value = value * 10 + (text_.front() - '0');
            text_.remove_prefix(1);
        }
        return value;
    }
    void literal(std::string_view expected) {
        if (text_.starts_with(expected))
            text_.remove_prefix(expected.size());
        else
            fail();
    }
    unsigned month() {
        for (unsigned i = 0; i < kMonths.size(); ++i)
            if (text_.starts_with(kMonths[i])) {
                text_.remove_prefix(3);
                return i + 1;
            }
        return static_cast<unsigned>(fail());
    }
    bool next_is(char c) const { return text_.starts_with(c); }
    bool done() const { return !failed_ && text_.empty(); }

private:
    int fail() {
        failed_ = true;
        return 0;
    }

    std::string_view text_;
    bool failed_ = false;
};

struct Fields {
    int year = 0, day = 0, hour = 0, minute = 0, second = 0;
    unsigned month = 0;

    void read_clock(Scanner& in) {
        hour = in.digits(2), in.literal(":");
        minute = in.digits(2), in.literal(":");
        second = in.digits(2);
    }
    std::optional<base::Time> moment() const {
        const year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                  std::chrono::day{static_cast<unsigned>(day)}};
        if (!date.ok() || year < 1970 || hour > 23 || minute > 59 || second > 60) return std::nullopt;
        return base::Time(sys_days(date)) + hours(hour) + minutes(minute) + seconds(second);
    }
};

int full_year(int two_digits, base::Time now) {
    const int current = static_cast<int>(year_month_day(floor<days>(now)).year());
    int year = current / 100 * 100 + two_digits;
    if (year > current + 50) year -= 100;
    return year;
}

}  // namespace

std::optional<std::int64_t> strict_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<std::int64_t> strict_integer(const nlohmann::json& value) {
    if (value.is_string()) return strict_integer(std::string_view(value.get_ref<const std::string&>()));
    if (!value.is_number_integer()) return std::nullopt;
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
    return value.get<std::int64_t>();
}

std::optional<base::Time> after(base::Time start, std::int64_t amount, std::int64_t milliseconds_each) {
    if (amount <= 0) return start;
    if (amount > milliseconds(kLongestLifetime).count() / milliseconds_each) return std::nullopt;
    return start + milliseconds(amount * milliseconds_each);
}

std::optional<base::Time> unix_time(std::int64_t amount, std::int64_t milliseconds_each) {
    if (amount < 0 || amount >= kYear10000 * 1000 / milliseconds_each) return std::nullopt;
    return base::Time(milliseconds(amount * milliseconds_each));
}

std::optional<base::Time> numeric_date(const nlohmann::json& value) {
    if (value.is_number_float()) {
        const double seconds = std::floor(value.get<double>());
        if (!(seconds >= 0 && seconds < 1e12)) return std::nullopt;
        return unix_time(static_cast<std::int64_t>(seconds), 1000);
    }
    const auto seconds = strict_integer(value);
    return seconds ? unix_time(*seconds, 1000) : std::nullopt;
}

std::optional<base::Time> http_date(std::string_view text, base::Time now) {
    const auto name_end = text.find_first_of(", ");
    if (name_end == std::string_view::npos || name_end < 3) return std::nullopt;
    Scanner in(text.substr(name_end));
    Fields fields;
    if (in.next_is(',')) {
        in.literal(", ");
        fields.day = in.digits(2);
        const bool dashes = in.next_is('-');  // RFC 850: "Sunday, 06-Nov-94 08:49:37 GMT"
        in.literal(dashes ? "-" : " ");
        fields.month = in.month();
        in.literal(dashes ? "-" : " ");
        fields.year = dashes ? full_year(in.digits(2), now) : in.digits(4);
        in.literal(" ");
        fields.read_clock(in);
        in.literal(" GMT");
    } else {  // asctime: "Sun Nov  6 08:49:37 1994"
        in.literal(" ");
        fields.month = in.month();
        in.literal(" ");
        if (in.next_is(' ')) {
            in.literal(" ");
            fields.day = in.digits(1);
        } else {
            fields.day = in.digits(2);
        }
        in.literal(" ");
        fields.read_clock(in);
        in.literal(" ");
        fields.year = in.digits(4);
    }
    return in.done() ? fields.moment() : std::nullopt;
}

std::optional<seconds> retry_after(std::string_view text, base::Time now) {
    constexpr seconds kLongest = hours(1);
    if (const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
        number) {
        const auto value = strict_integer(text);
        return value && *value < kLongest.count() ? seconds(*value) : kLongest;
    }
    const auto at = http_date(text, now);
    if (!at) return std::nullopt;
    return std::clamp(ceil<seconds>(*at - now), seconds(0), kLongest);
}

}  // namespace claviger::oauth
