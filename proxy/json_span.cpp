#include "proxy/json_span.h"

#include <boost/json/basic_parser_impl.hpp>

namespace claviger::proxy {
namespace {

namespace json = boost::json;
using ErrorCode = boost::system::error_code;

/// Accepts everything; only the parser's own strictness counts.
struct Checker {
    static constexpr std::size_t max_object_size = ~std::size_t{0};
    static constexpr std::size_t max_array_size = ~std::size_t{0};
    static constexpr std::size_t max_key_size = ~std::size_t{0};
    static constexpr std::size_t max_string_size = ~std::size_t{0};
    using Text = json::string_view;
    bool on_document_begin(ErrorCode&) { return true; }
    bool on_document_end(ErrorCode&) { return true; }
    bool on_object_begin(ErrorCode&) { return true; }
    bool on_object_end(std::size_t, ErrorCode&) { return true; }
    bool on_array_begin(ErrorCode&) { return true; }
    bool on_array_end(std::size_t, ErrorCode&) { return true; }
    bool on_key_part(Text, std::size_t, ErrorCode&) { return true; }
    bool on_key(Text, std::size_t, ErrorCode&) { return true; }
    bool on_string_part(Text, std::size_t, ErrorCode&) { return true; }
    bool on_string(Text, std::size_t, ErrorCode&) { return true; }
    bool on_number_part(Text, ErrorCode&) { return true; }
    bool on_int64(std::int64_t, Text, ErrorCode&) { return true; }
    bool on_uint64(std::uint64_t, Text, ErrorCode&) { return true; }
    bool on_double(double, Text, ErrorCode&) { return true; }
    bool on_bool(bool, ErrorCode&) { return true; }
    bool on_null(ErrorCode&) { return true; }
    bool on_comment_part(Text, ErrorCode&) { return true; }
    bool on_comment(Text, ErrorCode&) { return true; }
};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::size_t skip_spaces(std::string_view text, std::size_t at) {
    while (at < text.size() && is_space(text[at])) ++at;
    return at;
}

/// `at` stands on the opening quote; gives the place behind the closing one.
std::size_t skip_string(std::string_view text, std::size_t at) {
    for (++at; at < text.size() && text[at] != '"'; ++at)
        if (text[at] == '\\') ++at;
    return std::min(at + 1, text.size());
}

std::size_t skip_value(std::string_view text, std::size_t at) {
    if (at >= text.size()) return at;
    if (text[at] == '"') return skip_string(text, at);
    if (text[at] != '{' && text[at] != '[') {
        while (at < text.size() && !is_space(text[at]) && text[at] != ',' && text[at] != '}' &&
               text[at] != ']')
            ++at;
        return at;
    }
    std::size_t depth = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (c == '"') {
            at = skip_string(text, at);
            continue;
        }
        ++at;
        if (c == '{' || c == '[') ++depth;
        if ((c == '}' || c == ']') && --depth == 0) break;
    }
    return at;
}

/// Steps over "," and spaces; false at the closing bracket or the end.
bool next_item(std::string_view text, std::size_t& at, char closing) {
    at = skip_spaces(text, at);
    if (at < text.size() && text[at] == ',') at = skip_spaces(text, at + 1);
    return at < text.size() && text[at] != closing;
}

}  // namespace

bool valid_json(std::string_view text, std::size_t depth) {
    json::parse_options options;
    options.max_depth = depth;
    json::basic_parser<Checker> parser(options);
    ErrorCode error;
    const auto used = parser.write_some(false, text.data(), text.size(), error);
    return !error && used == text.size();
}

void for_each_member(std::string_view object,
                     const std::function<bool(const std::string&, std::string_view)>& visit) {
    auto at = skip_spaces(object, 0);
    if (at >= object.size() || object[at] != '{') return;
    ++at;
    while (next_item(object, at, '}')) {
        if (object[at] != '"') return;
        const auto key_end = skip_string(object, at);
        const auto key = string_value(object.substr(at, key_end - at));
        at = skip_spaces(object, key_end);
        if (!key || at >= object.size() || object[at] != ':') return;
        at = skip_spaces(object, at + 1);
        const auto end = skip_value(object, at);
        if (end == at || !visit(*key, object.substr(at, end - at))) return;
        at = end;
    }
}

void for_each_element(std::string_view array, const std::function<bool(std::string_view)>& visit) {
    auto at = skip_spaces(array, 0);
    if (at >= array.size() || array[at] != '[') return;
    ++at;
    while (next_item(array, at, ']')) {
        const auto end = skip_value(array, at);
        if (end == at || !visit(array.substr(at, end - at))) return;
        at = end;
    }
}

std::optional<std::string_view> member(std::string_view object, std::string_view key) {
    std::optional<std::string_view> found;
    for_each_member(object, [&](const std::string& name, std::string_view value) {
        if (name == key) found = value;
        return true;
    });
    return found;
}

std::optional<std::string> string_value(std::string_view value) {
    if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::nullopt;
    value = value.substr(1, value.size() - 2);
    if (value.find('\\') == std::string_view::npos) return std::string(value);

    std::string out;
    const auto unit = [&](std::size_t at) -> std::optional<std::uint32_t> {
        std::uint32_t code = 0;
        if (at + 4 > value.size()) return std::nullopt;
        for (std::size_t i = at; i < at + 4; ++i) {
            const char c = value[i];
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) return std::nullopt;
            code = code * 16 + static_cast<std::uint32_t>(digit);
        }
        return code;
    };
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (value[i] != '\\') {
            out += value[i];
            continue;
        }
        if (++i >= value.size()) return std::nullopt;
        constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
        if (const auto simple = from.find(value[i]); simple != std::string_view::npos) {
            out += to[simple];
            continue;
        }
        auto code = value[i] == 'u' ? unit(i + 1) : std::nullopt;
        if (!code) return std::nullopt;
        i += 4;
        if (*code >= 0xd800 && *code < 0xdc00) {  // the first half of a pair
            const auto low = i + 6 < value.size() && value[i + 1] == '\\' && value[i + 2] == 'u'
                                 ? unit(i + 3)
                                 : std::nullopt;
            if (!low || *low < 0xdc00 || *low > 0xdfff) return std::nullopt;
            code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
            i += 6;
        }
        if (*code < 0x80) {
            out += static_cast<char>(*code);
        } else if (*code < 0x800) {
            out += static_cast<char>(0xc0 | (*code >> 6));
            out += static_cast<char>(0x80 | (*code & 63));
        } else if (*code < 0x10000) {
            out += static_cast<char>(0xe0 | (*code >> 12));
            out += static_cast<char>(0x80 | ((*code >> 6) & 63));
            out += static_cast<char>(0x80 | (*code & 63));
        } else {
            out += static_cast<char>(0xf0 | (*code >> 18));
            out += static_cast<char>(0x80 | ((*code >> 12) & 63));
            out += static_cast<char>(0x80 | ((*code >> 6) & 63));
            out += static_cast<char>(0x80 | (*code & 63));
        }
    }
    return out;
}

}  // namespace claviger::proxy
