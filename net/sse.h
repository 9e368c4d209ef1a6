// text/event-stream taken apart (WHATWG HTML 9.2.6): whole events for filtering, or a cheap watch on a
// relayed stream.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::net {

/// One block up to and including its blank line. The views live until the next feed().
struct SseEvent {
    std::string_view raw;                             // every byte, so that it can be relayed untouched
    std::string_view data;                            // the data lines joined by LF
    std::string_view name;                            // the last `event` field; empty means "message"
    std::string_view id;                              // the last `id` field without NUL
    std::optional<std::uint64_t> retry_milliseconds;  // the last `retry` field of digits
    bool has_data = false;  // false: clients dispatch nothing for it (comments, bare id lines)
    bool has_id = false;
};

/// Cuts a stream into events at any chunk borders; line ends may be LF, CRLF or CR. The raw bytes of all
/// events followed by rest() are the input, byte for byte.
class SseSplitter {
public:
    static constexpr std::size_t kEventBytes = 4 * 1024 * 1024;
    explicit SseSplitter(std::size_t event_bytes = kEventBytes) : event_bytes_(event_bytes) {}

    /// Takes the next bytes; views given out before die. Fails, then and ever after, when one event is longer
    /// than the limit: unavailable "upstream.event_too_long". Events that were complete before it can still
    /// be taken.
    base::Status feed(std::string_view bytes);
    /// The next complete event, if there is one.
    std::optional<SseEvent> next();
    /// What has come of an event that is not complete; clients discard it when the stream ends here.
    std::string_view rest() const;

private:
    struct Block {
        std::size_t first_line, end;  // first_line skips a byte order mark and the LF of a CRLF cut in two
    };
    SseEvent parse(Block block);

    std::size_t event_bytes_;
    std::string text_;           // from the first byte not yet given away
    std::vector<Block> blocks_;  // complete and not yet given away
    std::size_t next_block_ = 0;
    std::size_t taken_ = 0;       // end of the last block given away
    std::size_t open_at_ = 0;     // start of the incomplete block
    std::size_t first_line_ = 0;  // its first line
    std::size_t line_at_ = 0;     // start of the incomplete line
    std::size_t scanned_ = 0;
    std::string joined_;
    bool after_cr_ = false;
    bool at_start_ = true;
    bool failed_ = false;
};

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
    void put(char byte);
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

/// Watches the bytes of a relayed stream without keeping them, and knows what the client at its end knows.
class SseWatcher {
public:
    explicit SseWatcher(std::string_view request_id) : answer_(request_id) {}

    void feed(std::string_view bytes);
    /// A complete event held the response to the request.
    bool answered() const { return answered_; }
    /// The last event id that the client holds is not empty: it may come back with Last-Event-ID.
    bool resumable() const { return resumable_; }
    /// No event is under way, so an event of our own may be put in here.
    bool between_events() const { return part_ == Part::name && name_bytes_ == 0 && !fields_; }

private:
    enum class Part { name, space, value };
    enum class Field { other, data, event, id };
    void line_bytes(std::string_view bytes);
    void value_bytes(std::string_view bytes);
    void classify();
    void end_line();
    void dispatch();

    JsonRpcAnswerFinder answer_;
    Part part_ = Part::name;
    Field field_ = Field::other;
    char name_[9];  // the longest name we know behind a byte order mark, and one byte more
    std::size_t name_bytes_ = 0;
    char event_[8];  // "message" and one byte more
    std::size_t event_bytes_ = 0;
    bool id_empty_ = true;
    bool id_valid_ = true;
    bool pending_id_ = false;  // what the client will hold once the event ends
    bool fields_ = false;
    bool after_cr_ = false;
    bool at_start_ = true;
    bool answered_ = false;
    bool resumable_ = false;
};

}  // namespace claviger::net
