#include "proxy/secret_forms.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace claviger::proxy {
namespace {

constexpr std::size_t kSearchableBytes = 4;  // shorter secrets cannot be told from ordinary text
constexpr std::size_t kEncodedBytes = 8;     // below this their encodings cannot either
constexpr std::size_t kShiftSlots = 1'024;
constexpr std::size_t kLongestShift = 200;
constexpr std::size_t kReadings = 2;  // JSON in a text of JSON is escaped twice

using Bytes = std::span<const std::byte>;

unsigned char at(std::string_view text, std::size_t index) { return static_cast<unsigned char>(text[index]); }

// Each writes one form of the secret into locked memory, whose room the caller has reckoned, and returns
// where the next one goes.

std::byte* write_plain(std::byte* out, Bytes secret) { return std::ranges::copy(secret, out).out; }

std::byte* write_hex(std::byte* out, Bytes secret, const char* digits) {
    for (const auto byte : secret) {
        *out++ = static_cast<std::byte>(digits[static_cast<unsigned>(byte) >> 4]);
        *out++ = static_cast<std::byte>(digits[static_cast<unsigned>(byte) & 15U]);
    }
    return out;
}

/// The characters that depend on the secret alone when it begins at byte `alignment` of a group of three: of
/// the first byte the bits after those that share a character with what stands before, then whole groups,
/// then what fills characters behind these. `secret` has at least two bytes.
std::byte* write_base64(std::byte* out, Bytes secret, std::size_t alignment, const char* alphabet) {
    const std::byte* at = secret.data();
    const auto* const end = at + secret.size();
    const auto next = [&at] { return static_cast<unsigned>(*at++); };
    const auto put = [&](unsigned bits, unsigned characters) {
        while (characters-- > 0) *out++ = static_cast<std::byte>(alphabet[(bits >> 6 * characters) & 63U]);
    };
    if (alignment == 2) put(next(), 1);
    if (alignment == 1) {
        const unsigned first = next();
        put(first << 8 | next(), 2);
    }
    while (end - at >= 3) {
        const unsigned first = next(), second = next();
        put(first << 16 | second << 8 | next(), 4);
    }
    if (at == end) return out;
    const unsigned first = next();
    if (at == end) {
        put(first >> 2, 1);
    } else {
        put((first << 8 | next()) >> 4, 2);
    }
    return out;
}

constexpr char kLower[] = "0123456789abcdef", kUpper[] = "0123456789ABCDEF";
constexpr char kStandard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrlSafe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t kFirstUrlSafe = 6;  // from here on as before, but for two characters of the alphabet
constexpr std::size_t kRoomPerByte = 13;  // all forms together: 1 + 2 + 2 + 6 * 4/3

std::byte* write_form(std::byte* out, Bytes secret, std::size_t form) {
    switch (form) {
        case 0:
            return write_plain(out, secret);
        case 1:
            return write_hex(out, secret, kLower);
        case 2:
            return write_hex(out, secret, kUpper);
        case 3:
        case 4:
        case 5:
            return write_base64(out, secret, form - 3, kStandard);
        default:
            return write_base64(out, secret, form - 6, kUrlSafe);
    }
}

/// Whether base64 among these texts would look different in the URL-safe alphabet.
bool has_marks(std::span<const std::byte> texts) {
    return std::ranges::any_of(texts, [](std::byte b) { return b == std::byte{'+'} || b == std::byte{'/'}; });
}

std::size_t slot(unsigned char a, unsigned char b) {
    return ((static_cast<std::size_t>(a) << 4) ^ (static_cast<std::size_t>(b) * 33)) & (kShiftSlots - 1);
}

/// Where the longest tail begins that is a proper beginning of `wanted`.
std::size_t tail_start(std::string_view text, std::string_view wanted) {
    const auto first = text.size() - std::min(text.size(), wanted.size() - 1);
    for (std::size_t from = first; from < text.size(); ++from)
        if (text[from] == wanted[0] && wanted.starts_with(text.substr(from))) return from;
    return text.size();
}

}  // namespace

SecretForms::SecretForms(const crypto::Secret& secret) {
    secret.expose([this](Bytes bytes) { build(bytes); });
}

void SecretForms::build(Bytes secret) {
    const std::size_t forms = secret.size() < kSearchableBytes ? 0
                              : secret.size() < kEncodedBytes  ? 1
                                                               : kMost;
    if (forms == 0) return;
    store_ =
        crypto::Secret::filled(kShiftSlots + kRoomPerByte * secret.size(), [&](std::span<std::byte> room) {
            std::byte* const texts = room.data() + kShiftSlots;
            std::byte* end = texts;
            for (std::size_t form = 0; form < forms; ++form) {
                if (form == kFirstUrlSafe && !has_marks({texts, end})) break;
                auto* const written = write_form(end, secret, form);
                const Span span{static_cast<std::size_t>(end - texts),
                                static_cast<std::size_t>(written - end)};
                if (add_pattern(texts, span)) end = written;
            }
            fill_table(room);
        });
}

/// Forms that need no escaping equal the plain one and are left out.
bool SecretForms::add_pattern(const std::byte* texts, Span span) {
    const Bytes text(texts + span.from, span.bytes);
    for (const auto& known : patterns_)
        if (known.bytes == span.bytes && std::memcmp(texts + known.from, text.data(), span.bytes) == 0)
            return false;
    all_patterns_[patterns_.size()] = span;
    patterns_ = std::span(all_patterns_).first(patterns_.size() + 1);
    shortest_ = shortest_ == 0 ? span.bytes : std::min(shortest_, span.bytes);
    longest_ = std::max(longest_, span.bytes);
    for (const auto byte : text) alphabet_[static_cast<unsigned char>(byte)] = true;
    return true;
}

void SecretForms::fill_table(std::span<std::byte> room) {
    window_ = std::min(shortest_, kLongestShift);
    std::memset(room.data(), static_cast<int>(window_ - 1), kShiftSlots);
    // From the front of all patterns at once: a slot that is met again gets the smaller shift last.
    auto* const shifts = reinterpret_cast<unsigned char*>(room.data());
    std::array<const unsigned char*, kMost> texts;
    const std::size_t count = patterns_.size(), last = window_ - 1;
    for (std::size_t form = 0; form < count; ++form)
        texts[form] = shifts + kShiftSlots + patterns_[form].from;
    for (std::size_t i = 1; i <= last; ++i)
        for (std::size_t form = 0; form < count; ++form)
            shifts[slot(texts[form][i - 1], texts[form][i])] = static_cast<unsigned char>(last - i);
}

std::size_t SecretForms::longest_match(std::string_view texts, std::string_view rest) const {
    std::size_t best = 0;
    for (const auto& pattern : patterns_)
        if (pattern.bytes > best && rest.starts_with(texts.substr(pattern.from, pattern.bytes)))
            best = pattern.bytes;
    return best;
}

std::vector<Span> SecretForms::find(std::string_view text) const {
    std::vector<Span> found;
    if (text.size() < window_) return found;
    store_->expose([&](Bytes bytes) {
        const auto* shifts = reinterpret_cast<const unsigned char*>(bytes.data());
        const std::string_view texts(reinterpret_cast<const char*>(bytes.data()) + kShiftSlots,
                                     bytes.size() - kShiftSlots);
        for (std::size_t end = window_ - 1; end < text.size();) {
            const auto shift = shifts[slot(at(text, end - 1), at(text, end))];
            if (shift != 0) {
                end += shift;
                continue;
            }
            const auto from = end + 1 - window_;
            const auto size = longest_match(texts, text.substr(from));
            if (size == 0) {
                ++end;
            } else {
                found.push_back({from, size});
                end = from + size + window_ - 1;
            }
        }
    });
    return found;
}

std::vector<Span> SecretForms::find(const Unescaped& reading) const {
    auto found = find(std::string_view(reading.text));
    for (auto& [from, bytes] : found) {
        const auto end = reading.began[from + bytes];
        from = reading.began[from];
        bytes = end - from;
    }
    return found;
}

/// Whether a form could stand behind escapes of the text; the last one may go on in the next piece.
bool SecretForms::has_escapes(std::string_view text) const {
    if (text.find('%') != text.npos) return true;
    for (auto i = text.find('\\'); i != text.npos; i = text.find('\\', i + 1)) {
        if (i + 1 == text.size() || text[i + 1] == 'u') return true;
        if (alphabet_[at(text, i + 1)] && kEscapable.contains(text[i + 1])) return true;
    }
    return false;
}

Readings SecretForms::read(std::string_view text) const {
    Readings readings;
    const Unescaped* outer = nullptr;
    while (readings.size() < kReadings && has_escapes(text)) {
        readings.push_back(std::make_unique<const Unescaped>(text, outer));
        outer = readings.back().get();
        text = outer->text;
    }
    return readings;
}

std::size_t SecretForms::tail_from(std::string_view texts, std::string_view text) const {
    std::size_t run = text.size();  // only a run of bytes that occur in patterns can begin one
    while (run > 0 && text.size() - run < longest_ && alphabet_[at(text, run - 1)]) --run;
    if (run == text.size()) return run;
    std::size_t tail = text.size();
    for (const auto& pattern : patterns_)
        tail = std::min(tail, run + tail_start(text.substr(run), texts.substr(pattern.from, pattern.bytes)));
    return tail;
}

std::size_t SecretForms::hold_from(std::string_view text, const Readings& readings) const {
    return store_->expose([&](Bytes bytes) {
        const std::string_view texts(reinterpret_cast<const char*>(bytes.data()) + kShiftSlots,
                                     bytes.size() - kShiftSlots);
        std::size_t hold = tail_from(texts, text);
        for (const auto& reading : readings) {
            const auto tail = tail_from(texts, reading->text);
            if (tail < reading->text.size() || reading->cut_short)
                hold = std::min(hold, reading->began[tail]);
        }
        if (readings.empty()) return hold;
        // Not within an escape: what is left of it would be read as something else.
        const auto& began = readings.back()->began;
        return *std::prev(std::ranges::upper_bound(began, hold));
    });
}

}  // namespace claviger::proxy
