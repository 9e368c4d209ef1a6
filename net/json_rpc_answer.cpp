#include "net/json_rpc_answer.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <utility>

namespace claviger::net {
namespace {

/// The first quote or backslash: most of a stream is inside of strings. In windows, so that a far quote is
/// not looked for again at every backslash.
const char* skip_plain(const char* at, const char* end) {
    constexpr std::ptrdiff_t kWindow = 256;
    while (at != end) {
        const auto window = static_cast<std::size_t>(std::min(end - at, kWindow));
        const auto* quote = static_cast<const char*>(std::memchr(at, '"', window));
        const auto* stop = quote ? quote : at + window;
        const auto* backslash =
            static_cast<const char*>(std::memchr(at, '\\', static_cast<std::size_t>(stop - at)));
        if (backslash || quote) return backslash ? backslash : quote;
        at = stop;
    }
    return at;
}

bool is_json_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

std::optional<double> number(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// 1, 1.0 and 1e0 are one id to a server that parses and prints numbers; long integers are compared as text
/// only.
bool same_scalar(std::string_view a, std::string_view b) {
    if (a == b) return true;
    if (a.find_first_of(".eE") == a.npos && b.find_first_of(".eE") == b.npos) return false;
    const auto left = number(a), right = number(b);
    return left && right && *left == *right;
}

}  // namespace

void JsonStringReader::start(std::optional<std::size_t> keep_bytes) {
    text_.clear();
    keep_bytes_ = keep_bytes;
    code_unit_ = high_surrogate_ = 0;
    hex_left_ = 0;
    escape_ = done_ = false;
}

const char* JsonStringReader::feed(const char* at, const char* end) {
    while (at != end && !done_) {
        if (escape_ || hex_left_ > 0) {
            put_escaped(*at++);
            continue;
        }
        const auto* stop = skip_plain(at, end);
        put({at, stop});
        at = stop;
        if (at == end) break;
        (*at++ == '"' ? done_ : escape_) = true;
    }
    return at;
}

void JsonStringReader::put(std::string_view piece) {
    if (keep_bytes_ && text_.size() <= *keep_bytes_)
        text_ += piece.substr(0, *keep_bytes_ + 1 - text_.size());
}

void JsonStringReader::put_escaped(char byte) {
    if (escape_) {
        escape_ = false;
        switch (byte) {
            case 'u':
                hex_left_ = 4;
                code_unit_ = 0;
                return;
            case 'b':
                return put('\b');
            case 'f':
                return put('\f');
            case 'n':
                return put('\n');
            case 'r':
                return put('\r');
            case 't':
                return put('\t');
            default:
                return put(byte);
        }
    }
    std::uint32_t digit = 0;
    std::from_chars(&byte, &byte + 1, digit, 16);
    code_unit_ = code_unit_ << 4 | digit;
    if (--hex_left_ > 0) return;
    if (code_unit_ >= 0xd800 && code_unit_ < 0xdc00) {
        high_surrogate_ = code_unit_;
        return;
    }
    if (code_unit_ >= 0xdc00 && code_unit_ < 0xe000 && high_surrogate_ != 0)
        code_unit_ = 0x10000 + ((high_surrogate_ - 0xd800) << 10) + (code_unit_ - 0xdc00);
    high_surrogate_ = 0;
    put_code_point(code_unit_);
}

void JsonStringReader::put_code_point(std::uint32_t code) {
    if (code < 0x80) return put(static_cast<char>(code));
    if (code < 0x800) {
        put(static_cast<char>(0xc0 | code >> 6));
    } else {
        if (code < 0x10000) {
            put(static_cast<char>(0xe0 | code >> 12));
        } else {
            put(static_cast<char>(0xf0 | code >> 18));
            put(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
        }
        put(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    }
    put(static_cast<char>(0x80 | (code & 0x3f)));
}

JsonRpcAnswerFinder::JsonRpcAnswerFinder(std::string_view request_id) {
    if (request_id.starts_with('"')) {
        // Strings are compared decoded: a server may print "é" as "\u00e9".
        const auto* end = request_id.data() + request_id.size();
        string_.start(request_id.size());
        awaits_ = string_.feed(request_id.data() + 1, end) == end && string_.done();
        expects_string_ = true;
        expected_ = string_.text();
    } else {
        awaits_ = !request_id.empty();
        expected_ = request_id;
    }
    start();
}

void JsonRpcAnswerFinder::start() {
    scalar_.clear();
    depth_ = level_ = 0;
    role_ = Role::none;
    key_ = Key::other;
    batch_ = expect_key_ = false;
    id_matches_ = has_outcome_ = has_method_ = false;
    ended_ = found_ = broken_ = false;
}

void JsonRpcAnswerFinder::feed(std::string_view json) {
    const auto* at = json.data();
    const auto* end = at + json.size();
    while (at != end && !broken_) {
        if (role_ != Role::none) {
            at = string_.feed(at, end);
            if (string_.done()) end_string();
            continue;
        }
        const char byte = *at++;
        if (is_json_space(byte)) {
            if (!scalar_.empty()) end_scalar();
            continue;
        }
        if (ended_) {
            broken_ = true;  // text behind the end of the value: no client reads it as JSON
            break;
        }
        switch (byte) {
            case '"':
                begin_string();
                break;
            case '{':
            case '[':
                open(byte);
                break;
            case '}':
            case ']':
                close();
                break;
            case ',':
                if (!in_message()) break;
                end_scalar();
                key_ = Key::other;
                expect_key_ = true;
                break;
            case ':':
                if (in_message()) expect_key_ = false;
                break;
            default:
                if (depth_ == 0) broken_ = true;  // a bare number or word is no message
                if (in_message() && !expect_key_ && key_ == Key::id && scalar_.size() <= expected_.size() + 8)
                    scalar_ += byte;
        }
    }
}

void JsonRpcAnswerFinder::open(char bracket) {
    ++depth_;
    if (depth_ == 1 && bracket == '[') batch_ = true;
    if (bracket != '{' || depth_ != (batch_ ? 2u : 1u)) return;
    level_ = depth_;
    expect_key_ = true;
    key_ = Key::other;
    id_matches_ = has_outcome_ = has_method_ = false;
}

void JsonRpcAnswerFinder::close() {
    if (in_message()) {
        end_scalar();
        if (id_matches_ && has_outcome_ && !has_method_) found_ = true;
        level_ = 0;
    }
    if (depth_ == 0) {
        broken_ = true;
        return;
    }
    if (--depth_ == 0) ended_ = true;
}

void JsonRpcAnswerFinder::begin_string() {
    if (depth_ == 0) {
        broken_ = true;
        return;
    }
    constexpr std::size_t kLongestKey = 6;  // "method", "result"
    if (in_message() && expect_key_) {
        role_ = Role::key;
        string_.start(kLongestKey);
    } else if (in_message() && key_ == Key::id && expects_string_) {
        role_ = Role::id;
        string_.start(expected_.size());
    } else {
        role_ = Role::other;
        string_.start(std::nullopt);
    }
}

void JsonRpcAnswerFinder::end_string() {
    const auto role = std::exchange(role_, Role::none);
    if (role == Role::id) id_matches_ = string_.text() == expected_;
    if (role != Role::key) return;
    const auto name = string_.text();
    key_ = Key::other;
    if (name == "id") {
        key_ = Key::id;
        id_matches_ = false;  // of two ids the last one counts, as in JSON.parse
    } else if (name == "method") {
        key_ = Key::method;
        has_method_ = true;
    } else if (name == "result" || name == "error") {
        key_ = Key::outcome;
        has_outcome_ = true;
    }
}

void JsonRpcAnswerFinder::end_scalar() {
    if (scalar_.empty()) return;
    if (!expects_string_) id_matches_ = same_scalar(scalar_, expected_);
    scalar_.clear();
}

}  // namespace claviger::net
