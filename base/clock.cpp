#include "base/clock.h"

#include <cstdio>

namespace claviger::base {
namespace {

using namespace std::chrono;

std::optional<int> number(std::string_view text, std::size_t at, std::size_t digits) {
    if (text.size() < at + digits) return std::nullopt;
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
        if (text[i] < '0' || text[i] > '9') return std::nullopt;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

}  // namespace

Time SystemClock::now() const { return floor<milliseconds>(system_clock::now()); }

std::string to_rfc3339(Time time) {
    const auto day = floor<days>(time);
    const year_month_day date(day);
    const hh_mm_ss clock(time - day);
    char text[40];
    const int size =
        std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02ld:%02ld:%02ld", static_cast<int>(date.year()),
                      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                      static_cast<long>(clock.hours().count()), static_cast<long>(clock.minutes().count()),
                      static_cast<long>(clock.seconds().count()));
    std::string out(text, static_cast<std::size_t>(size));
    if (const auto millis = clock.subseconds().count(); millis != 0) {
        char fraction[8];
        std::snprintf(fraction, sizeof fraction, ".%03ld", static_cast<long>(millis));
        out += fraction;
    }
    return out + "Z";
}

std::optional<Time> from_rfc3339(std::string_view text) {
    const auto y = number(text, 0, 4), mo = number(text, 5, 2), d = number(text, 8, 2);
    const auto h = number(text, 11, 2), mi = number(text, 14, 2), s = number(text, 17, 2);
    if (!y || !mo || !d || !h || !mi || !s) return std::nullopt;
    if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
        text[16] != ':')
        return std::nullopt;
    const year_month_day date{year{*y}, month{static_cast<unsigned>(*mo)}, day{static_cast<unsigned>(*d)}};
    if (!date.ok() || *y < 1970 || *h > 23 || *mi > 59 || *s > 60) return std::nullopt;

    std::size_t at = 19;
    milliseconds fraction{0};
    if (at < text.size() && text[at] == '.') {
        std::size_t digits = 0;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
            if (digits < 3)
                fraction += milliseconds((text[at] - '0') * (digits == 0 ? 100 : digits == 1 ? 10 : 1));
        }
        if (digits == 0 || digits > 9) return std::nullopt;
    }
    minutes offset{0};
    if (at + 1 == text.size() && (text[at] == 'Z' || text[at] == 'z')) {
        // UTC
    } else if (at + 6 == text.size() && (text[at] == '+' || text[at] == '-') && text[at + 3] == ':') {
        const auto oh = number(text, at + 1, 2), om = number(text, at + 4, 2);
        if (!oh || !om || *oh > 23 || *om > 59) return std::nullopt;
        offset = minutes(*oh * 60 + *om) * (text[at] == '-' ? -1 : 1);
    } else {
        return std::nullopt;
    }
    return Time(sys_days(date)) + hours(*h) + minutes(*mi) + seconds(*s) + fraction - offset;
}

}  // namespace claviger::base
