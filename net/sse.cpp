#include "net/sse.h"

#include "net/key_search.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace claviger::net {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// Finds line ends in one piece of text. Looks at each byte at most twice, also when all lines end with a
/// lone CR.
class LineEnds {
public:
    explicit LineEnds(const char* end) : end_(end) {}

    /// The first CR or LF from `at` on, or the end. `at` never goes back.
    const char* find(const char* at) {
        if (!next_lf_ || next_lf_ < at) next_lf_ = look_for('\n', at, end_);
        return look_for('\r', at, next_lf_);
    }

private:
    static const char* look_for(char byte, const char* at, const char* end) {
        if (at == end) return end;
        const auto* found =
            static_cast<const char*>(std::memchr(at, byte, static_cast<std::size_t>(end - at)));
        return found ? found : end;
    }
    const char* end_;
    const char* next_lf_ = nullptr;
};

}  // namespace

std::size_t end_of_events(std::string_view bytes) {
    for (auto rest = bytes; !rest.empty();) {
        const auto* lf = static_cast<const char*>(::memrchr(rest.data(), '\n', rest.size()));
        if (lf == nullptr) break;
        const auto at = static_cast<std::size_t>(lf - rest.data());
        rest = rest.substr(0, at);
        if (rest.ends_with('\n') || rest.ends_with("\n\r")) return at + 1;
    }
    return 0;
}

base::Status SseSplitter::feed(std::string_view bytes) {
    constexpr auto too_long = [] {
        return base::failure(base::ErrorKind::unavailable, "upstream.event_too_long",
                             "The upstream server sent an event that is longer than allowed.",
                             "Ask the operator whether the limit fits this server.");
    };
    if (failed_) return too_long();
    if (taken_ > 0) {
        text_.erase(0, taken_);
        open_at_ -= taken_;
        first_line_ -= taken_;
        line_at_ -= taken_;
        scanned_ -= taken_;
        blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(next_block_));
        for (auto& block : blocks_) {
            block.first_line -= taken_;
            block.end -= taken_;
        }
        next_block_ = 0;
        taken_ = 0;
    }
    text_.append(bytes);

    const auto* begin = text_.data();
    const auto* end = begin + text_.size();
    LineEnds ends(end);
    while (scanned_ < text_.size()) {
        if (after_cr_) {
            after_cr_ = false;
            if (text_[scanned_] == '\n') {
                // The second half of a CRLF. When the block was over with its CR, this byte opens the next
                // one.
                ++scanned_;
                if (first_line_ == line_at_) first_line_ = scanned_;
                line_at_ = scanned_;
                continue;
            }
        }
        const auto line_end = static_cast<std::size_t>(ends.find(begin + scanned_) - begin);
        scanned_ = line_end;
        if (line_end == text_.size()) break;

        auto line = std::string_view(text_).substr(line_at_, line_end - line_at_);
        if (at_start_ && line.starts_with(kByteOrderMark)) {
            line.remove_prefix(kByteOrderMark.size());
            first_line_ += kByteOrderMark.size();
        }
        at_start_ = false;
        ++scanned_;
        if (text_[line_end] == '\r') {
            if (scanned_ == text_.size())
                after_cr_ = true;
            else if (text_[scanned_] == '\n')
                ++scanned_;
        }
        line_at_ = scanned_;
        if (!line.empty()) continue;
        if (scanned_ - open_at_ > event_bytes_) {
            failed_ = true;
            return too_long();
        }
        blocks_.push_back({first_line_, scanned_});
        open_at_ = first_line_ = scanned_;
    }
    if (text_.size() - open_at_ > event_bytes_) {
        failed_ = true;
        return too_long();
    }
    return {};
}

std::optional<SseEvent> SseSplitter::next() {
    if (next_block_ == blocks_.size()) return std::nullopt;
    const auto block = blocks_[next_block_++];
    auto event = parse(block);
    event.raw = std::string_view(text_).substr(taken_, block.end - taken_);
    taken_ = block.end;
    return event;
}

std::string_view SseSplitter::rest() const { return std::string_view(text_).substr(open_at_); }

SseEvent SseSplitter::parse(Block block) {
    SseEvent event;
    auto data_lines = 0;
    const auto* at = text_.data() + block.first_line;
    const auto* end = text_.data() + block.end;
    LineEnds ends(end);
    while (at < end) {
        const auto* line_end = ends.find(at);
        const std::string_view line(at, static_cast<std::size_t>(line_end - at));
        at = line_end + 1;
        if (*line_end == '\r' && at < end && *at == '\n') ++at;

        const auto colon = line.find(':');
        const auto field = line.substr(0, colon);
        auto value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
        if (value.starts_with(' ')) value.remove_prefix(1);
        if (field == "data") {
            event.has_data = true;
            if (++data_lines == 1) {
                event.data = value;
                continue;
            }
            if (data_lines == 2) joined_ = event.data;
            joined_ += '\n';
            joined_ += value;
        } else if (field == "event") {
            event.name = value;
        } else if (field == "id" && value.find('\0') == value.npos) {
            event.id = value;
            event.has_id = true;
        } else if (field == "retry" && !value.empty() &&
                   value.find_first_not_of("0123456789") == value.npos) {
            std::uint64_t milliseconds = 0;
            const auto [rest, error] =
                std::from_chars(value.data(), value.data() + value.size(), milliseconds);
            if (error == std::errc()) event.retry_milliseconds = milliseconds;
        }
    }
    if (data_lines > 1) event.data = joined_;
    return event;
}

/// How many bytes in front are whole events with neither an id of their own nor the key "id", as most are.
std::size_t SseWatcher::telling_nothing(std::string_view bytes) const {
    if (!between_events() || bytes.starts_with("id") || bytes.starts_with(kByteOrderMark)) return 0;
    auto told = std::min(bytes.find("\nid"), bytes.find("\rid"));
    if (answer_.awaits_answer() && !answered_)
        told = std::min({told, bytes.find("\\u"), find_ignoring_case(bytes, {"\"id\"", 0})});
    return end_of_events(bytes.substr(0, told));
}

void SseWatcher::feed(std::string_view bytes) {
    if (const auto skipped = telling_nothing(bytes); skipped > 0) {
        bytes.remove_prefix(skipped);
        at_start_ = after_cr_ = false;
    }
    const auto* at = bytes.data();
    const auto* end = at + bytes.size();
    LineEnds ends(end);
    while (at != end) {
        if (after_cr_) {
            after_cr_ = false;
            if (*at == '\n') {
                ++at;
                continue;
            }
        }
        const auto* line_end = ends.find(at);
        if (line_end != at) line_bytes({at, static_cast<std::size_t>(line_end - at)});
        if (line_end == end) break;
        end_line();
        after_cr_ = *line_end == '\r';
        at = line_end + 1;
    }
}

void SseWatcher::line_bytes(std::string_view bytes) {
    if (part_ == Part::name) {
        const auto colon = bytes.find(':');
        for (const char byte : bytes.substr(0, colon)) {
            if (name_bytes_ == sizeof name_) break;
            name_[name_bytes_++] = byte;
        }
        if (colon == bytes.npos) return;
        bytes.remove_prefix(colon + 1);
        classify();
        part_ = Part::space;
    }
    if (part_ == Part::space && !bytes.empty()) {
        if (bytes.front() == ' ') bytes.remove_prefix(1);
        part_ = Part::value;
    }
    if (part_ == Part::value && !bytes.empty()) value_bytes(bytes);
}

void SseWatcher::classify() {
    std::string_view name(name_, name_bytes_);
    if (at_start_ && name.starts_with(kByteOrderMark)) name.remove_prefix(kByteOrderMark.size());
    field_ = Field::other;
    if (name == "data") {
        field_ = Field::data;
        fields_ = true;
    } else if (name == "event") {
        field_ = Field::event;
        fields_ = true;
        event_bytes_ = 0;
    } else if (name == "id") {
        field_ = Field::id;
        fields_ = true;
        id_empty_ = id_valid_ = true;
    }
}

void SseWatcher::value_bytes(std::string_view bytes) {
    if (field_ == Field::data) {
        if (answer_.awaits_answer() && !answered_) answer_.feed(bytes);
    } else if (field_ == Field::event) {
        for (const char byte : bytes) {
            if (event_bytes_ == sizeof event_) break;
            event_[event_bytes_++] = byte;
        }
    } else if (field_ == Field::id) {
        id_empty_ = false;
        if (bytes.find('\0') != bytes.npos) id_valid_ = false;
    }
}

void SseWatcher::end_line() {
    if (part_ == Part::name) {  // no colon: the whole line is the name
        const std::string_view name(name_, name_bytes_);
        if (name.empty() || (at_start_ && name == kByteOrderMark)) {
            dispatch();
        } else {
            classify();
        }
    }
    if (field_ == Field::data) answer_.feed("\n");
    if (field_ == Field::id && id_valid_) pending_id_ = !id_empty_;
    part_ = Part::name;
    field_ = Field::other;
    name_bytes_ = 0;
    at_start_ = false;
}

void SseWatcher::dispatch() {
    const std::string_view event(event_, event_bytes_);
    if (answer_.found() && (event.empty() || event == "message")) answered_ = true;
    resumable_ = pending_id_;
    answer_.start();
    event_bytes_ = 0;
    fields_ = false;
}

}  // namespace claviger::net
