#include "net/http.h"

#include "net/wiping.h"

namespace claviger::net {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

void Headers::add(std::string_view name, std::string_view value) {
    const auto at = static_cast<std::uint32_t>(text_.size());
    const auto name_bytes = static_cast<std::uint32_t>(name.size());
    append_wiping(text_, name);
    append_wiping(text_, value);
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

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (std::size_t i = 0; i < spans_.size(); ++i) {
        if (spans_[i].name_bytes != name.size()) continue;
        const Field field = at(i);
        if (equal_ignoring_case(field.name, name)) return field.value;
    }
    return std::nullopt;
}

std::size_t Headers::count(std::string_view name) const {
    std::size_t found = 0;
    for (std::size_t i = 0; i < spans_.size(); ++i)
        if (spans_[i].name_bytes == name.size() && equal_ignoring_case(at(i).name, name)) ++found;
    return found;
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
