#include "net/http.h"

#include "net/wiping.h"

#include <algorithm>
#include <cstring>

namespace claviger::net {
namespace {

using Word = std::uint64_t;
constexpr Word kEach = 0x0101010101010101;  // times a byte: that byte in all eight

/// Eight bytes at once: whether they are the same but for the case of ASCII letters.
bool same_letters(const char* a, const char* b) {
    Word in_a, in_b;
    std::memcpy(&in_a, a, sizeof in_a);
    std::memcpy(&in_b, b, sizeof in_b);
    const Word other_case = in_a ^ in_b;
    if (other_case == 0) return true;
    if ((other_case & ~(kEach * 0x20)) != 0) return false;
    // The highest bit of each byte, where no carry reaches the next one, says whether it is a letter.
    const Word lower = (in_a | kEach * 0x20) & kEach * 0x7f;
    const Word letter = (lower + kEach * (0x80 - 'a')) & ~(lower + kEach * (0x7f - 'z')) & ~in_a;
    return (other_case << 2 & ~letter) == 0;
}

}  // namespace

bool equal_ignoring_case(const char* a, const char* b, std::size_t size) {
    if (size >= sizeof(Word)) {  // the last eight may take some of those before with them
        for (std::size_t at = 0; at + sizeof(Word) < size; at += sizeof(Word))
            if (!same_letters(a + at, b + at)) return false;
        return same_letters(a + size - sizeof(Word), b + size - sizeof(Word));
    }
    for (std::size_t i = 0; i < size; ++i) {
        const char lower = static_cast<char>(a[i] | 0x20);
        if (a[i] != b[i] && ((a[i] ^ b[i]) != 0x20 || lower < 'a' || lower > 'z')) return false;
    }
    return true;
}

void Headers::add(std::string_view name, std::string_view value) {
    const auto at = static_cast<std::uint32_t>(text_.size());
    const auto name_bytes = static_cast<std::uint32_t>(name.size());
    append_wiping(text_, {name, value});
    spans_.push_back({at, name_bytes, at + name_bytes, static_cast<std::uint32_t>(value.size())});
}

void Headers::clear() {
    wipe_and_clear(text_);
    spans_.clear();
}

Headers::Field Headers::at(std::size_t index) const {
    const Span& span = spans_[index];
    const std::string_view text = text_;
    return {text.substr(span.name_at, span.name_bytes), text.substr(span.value_at, span.value_bytes)};
}

bool Headers::is_named(const Span& span, std::string_view name) const {
    return equal_ignoring_case({text_.data() + span.name_at, span.name_bytes}, name);
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (const Span& span : spans_)
        if (is_named(span, name)) return std::string_view(text_.data() + span.value_at, span.value_bytes);
    return std::nullopt;
}

std::optional<std::string_view> Headers::find_only(std::string_view name) const {
    std::optional<std::string_view> found;
    for (const Span& span : spans_) {
        if (!is_named(span, name)) continue;
        if (found) return std::nullopt;
        found = std::string_view(text_.data() + span.value_at, span.value_bytes);
    }
    return found;
}

std::size_t Headers::count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(spans_, [&](const Span& span) { return is_named(span, name); }));
}

std::string_view Request::path() const { return std::string_view(target).substr(0, target.find('?')); }

std::string_view Request::query() const {
    const auto mark = target.find('?');
    return mark == std::string::npos ? std::string_view{} : std::string_view(target).substr(mark + 1);
}

void Request::wipe() {
    wipe_and_clear(method);
    wipe_and_clear(target);
    headers.clear();
    wipe_and_clear(body);
}

}  // namespace claviger::net
