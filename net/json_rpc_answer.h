// Notices the answer to one JSON-RPC request in a text that passes by in pieces, without keeping the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::net {

/// One JSON string, decoded piece by piece and kept up to a bound.
class JsonStringReader {
public:
    /// The opening quote has been read. Longer texts than `keep_bytes` are cut one byte behind it; none: only
    /// skipped.
    void start(std::optional<std::size_t> keep_bytes);
    /// Takes bytes up to and including the closing quote and returns where it stopped.
    const char* feed(const char* at, const char* end);
    bool done() const { return done_; }
    std::string_view text() const { return text_; }

private:
    void put(std::string_view piece);
    void put(char byte) { put(std::string_view(&byte, 1)); }
    void put_escaped(char byte);
    void put_code_point(std::uint32_t code);

    std::string text_;
    std::optional<std::size_t> keep_bytes_;
    std::uint32_t code_unit_ = 0, high_surrogate_ = 0;
    int hex_left_ = 0;
    bool escape_ = false;
    bool done_ = false;
};

/// Follows one JSON text at a time and says whether it answers a certain JSON-RPC request: an object, alone
/// or in a batch, whose id is the request's and that has `result` or `error` and no `method`. Keeps a few
/// bytes, whatever the text's length.
class JsonRpcAnswerFinder {
public:
    /// `request_id` is the JSON text of the id, as in the request: `17` or `"a-1"`. Empty or not JSON:
    /// nothing will match.
    explicit JsonRpcAnswerFinder(std::string_view request_id);

    void start();  // a new JSON text begins
    void feed(std::string_view json);
    bool found() const {
        return found_ && !broken_ && ended_;
    }  // in the text since start(), which must be complete
    bool awaits_answer() const { return awaits_; }

private:
    enum class Key { other, id, method, outcome };
    enum class Role { none, key, id, other };
    void open(char bracket);
    void close();
    void begin_string();
    void end_string();
    void end_scalar();
    bool in_message() const { return level_ != 0 && depth_ == level_; }

    std::string expected_;  // decoded when it is a string
    bool awaits_ = false;
    bool expects_string_ = false;

    JsonStringReader string_;
    std::string scalar_;  // an id that is no string, as far as it has come
    std::size_t depth_ = 0;
    std::size_t level_ =
        0;  // the depth at which a message has its keys: 1, or 2 in a batch; 0: not in a message
    Role role_ = Role::none;  // of the string that is being read
    Key key_ = Key::other;
    bool batch_ = false;
    bool expect_key_ = false;
    bool id_matches_ = false;
    bool has_outcome_ = false;
    bool has_method_ = false;
    bool ended_ = false;
    bool found_ = false;
    bool broken_ = false;
};

}  // namespace claviger::net
