#include "net/http.h"

#include "net/wiping.h"

#include <algorithm>

namespace claviger::net {
namespace {

/// Different characters that are the same letter.
bool same_letter(char a, char b) {
    const char lower = static_cast<char>(a | 0x20);
    return (a ^ b) == 0x20 && lower >= 'a' && lower <= 'z';
}

}  // namespace

bool equal_ignoring_case(const char* a, const char* b, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
        if (a[i] != b[i] && !same_letter(a[i], b[i])) return false;
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
