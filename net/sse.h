// text/event-stream taken apart (WHATWG HTML 9.2.6): whole events for filtering, or a cheap watch on a
// relayed stream.
#pragma once

#include "base/result.h"
#include "net/json_rpc_answer.h"

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

/// Where the last event in the bytes of a stream ends; 0 when none does. Of line ends it knows LF and CRLF
/// only, so events may end behind it that another reader of the stream sees.
std::size_t end_of_events(std::string_view bytes);

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
    std::size_t telling_nothing(std::string_view bytes) const;
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
