#include "admin/api/query.h"

#include "base/bytes.h"

#include <charconv>

namespace claviger::admin::api {
namespace {

std::unexpected<base::Error> refuse(std::string_view name, std::string_view why) {
    return base::failure(base::ErrorKind::invalid_request, "query.invalid",
                         std::string(name) + ": " + std::string(why));
}

/// In a query '+' is a space (HTML forms, URLSearchParams).
std::optional<std::string> form_decoded(std::string_view text) {
    std::string spaced(text);
    for (auto& c : spaced)
        if (c == '+') c = ' ';
    return percent_decoded(spaced);
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        const auto byte = i + 2 < text.size() ? base::from_hex(text.substr(i + 1, 2)) : std::nullopt;
        if (!byte) return std::nullopt;
        out += *byte;
        i += 2;
    }
    return out;
}

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            ((out += '%') += hex[byte >> 4]) += hex[byte & 15];
        }
    }
    return out;
}

base::Result<Query> Query::parse(std::string_view text) {
    Query query;
    while (!text.empty()) {
        const auto part = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(text.size(), part.size() + 1));
        if (part.empty()) continue;
        const auto equals = part.find('=');
        auto name = form_decoded(part.substr(0, equals));
        auto value = equals == std::string_view::npos ? std::optional<std::string>("")
                                                      : form_decoded(part.substr(equals + 1));
        if (!name || !value)
            return base::failure(base::ErrorKind::invalid_request, "query.invalid",
                                 "The query has a '%' that two hex digits do not follow.");
        query.values_.emplace_back(std::move(*name), std::move(*value));
    }
    return query;
}

std::optional<std::string> Query::text(std::string_view name) const {
    std::optional<std::string> found;
    for (const auto& [key, value] : values_)
        if (key == name && !value.empty()) found = value;
    return found;
}

std::vector<std::string> Query::texts(std::string_view name) const {
    std::vector<std::string> found;
    for (const auto& [key, value] : values_)
        if (key == name || key == std::string(name) + "[]") found.push_back(value);
    return found;
}

base::Result<std::size_t> Query::limit(std::size_t otherwise, std::size_t most) const {
    const auto given = number("limit");
    const auto range = "must be a number from 1 to " + std::to_string(most);
    if (!given) return refuse("limit", range);
    if (!*given) return otherwise;
    if (**given < 1 || **given > most) return refuse("limit", range);
    return static_cast<std::size_t>(**given);
}

base::Result<bool> Query::flag(std::string_view name) const {
    const auto given = text(name);
    if (!given || *given == "false") return false;
    if (*given == "true") return true;
    return refuse(name, "must be true or false");
}

base::Result<std::optional<std::uint64_t>> Query::number(std::string_view name) const {
    const auto given = text(name);
    if (!given) return std::nullopt;
    std::uint64_t value = 0;
    const auto* end = given->data() + given->size();
    const auto [at, error] = std::from_chars(given->data(), end, value);
    if (error != std::errc() || at != end) return refuse(name, "must be a whole number");
    return value;
}

base::Result<TimeBounds> Query::times(std::string_view name) const {
    using std::chrono::milliseconds;
    TimeBounds bounds;
    const auto tighten = [](std::optional<base::Time>& bound, base::Time time, bool later) {
        if (!bound || (later ? time > *bound : time < *bound)) bound = time;
    };
    for (const std::string_view test : {"gt", "gte", "lt", "lte"}) {
        const auto key = std::string(name) + "[" + std::string(test) + "]";
        const auto given = text(key);
        if (!given) continue;
        const auto time = base::from_rfc3339(*given);
        if (!time) return refuse(key, "must be an RFC 3339 time such as 2026-11-21T10:00:00Z");
        const auto next = *time + milliseconds(1);
        if (test == "gt") tighten(bounds.from, next, true);
        if (test == "gte") tighten(bounds.from, *time, true);
        if (test == "lt") tighten(bounds.to, *time, false);
        if (test == "lte") tighten(bounds.to, next, false);
    }
    return bounds;
}

}  // namespace claviger::admin::api
