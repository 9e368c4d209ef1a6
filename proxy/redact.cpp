#include "proxy/redact.h"

#include "net/wiping.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace claviger::proxy {
namespace {

constexpr std::size_t kSearchableBytes = 4;  // shorter secrets cannot be told from ordinary text
constexpr std::size_t kEncodedBytes = 8;     // below this their encodings cannot either
constexpr std::size_t kShiftSlots = 1'024;
constexpr std::size_t kLongestShift = 200;

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
constexpr std::size_t kForms = 9;         // of long secrets; short ones have the first only
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

struct Span {
    std::size_t from, bytes;
};

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

constexpr std::string_view kEscapable = "\"\\/";  // what stands for itself behind a backslash in JSON

/// A text with its escapes taken away ("\u0061", "\/", "%61"), and where each byte of it began.
struct Unescaped {
    std::string text;
    std::vector<std::size_t> began;  // one more than text: where the rest begins
    bool cut_short = false;          // the last escape is not complete

    explicit Unescaped(std::string_view raw) {
        text.reserve(raw.size());
        began.reserve(raw.size() + 1);
        std::size_t i = 0;
        while (i < raw.size()) {
            const auto [code, used] = read(raw.substr(i));
            if (used == 0) {
                cut_short = true;
                break;
            }
            const auto put = [&](unsigned byte) {
                began.push_back(i);
                text.push_back(static_cast<char>(byte));
            };
            if (code < 0x80 || used < kUnicodeEscape) {
                put(code);
            } else if (code < 0x800) {  // as UTF-8, which is what a secret beyond ASCII is stored in
                put(0xc0 | code >> 6);
                put(0x80 | (code & 63));
            } else {
                put(0xe0 | code >> 12);
                put(0x80 | (code >> 6 & 63));
                put(0x80 | (code & 63));
            }
            i += used;
        }
        began.push_back(i);
    }
    ~Unescaped() { crypto::wipe(std::span(text)); }
    Unescaped(const Unescaped&) = delete;
    Unescaped& operator=(const Unescaped&) = delete;

private:
    static constexpr std::size_t kUnicodeEscape = 6;

    /// One byte, or the code of a "\\u" escape, and how much it took; nothing taken when more is needed to
    /// tell.
    static std::pair<unsigned, std::size_t> read(std::string_view raw) {
        const auto hex = [&](std::size_t from, std::size_t digits) -> std::optional<unsigned> {
            unsigned code = 0;
            for (std::size_t i = from; i < from + digits; ++i) {
                if (i >= raw.size()) return std::nullopt;
                const int digit = hex_digit(raw[i]);
                if (digit < 0) return 0x10000;
                code = code * 16 + static_cast<unsigned>(digit);
            }
            return code;
        };
        const auto plain = [&](std::size_t index) { return static_cast<unsigned>(at(raw, index)); };
        if (raw[0] == '%') {
            const auto code = hex(1, 2);
            if (!code) return {0, 0};
            return *code < 0x100 ? std::pair{*code, std::size_t{3}} : std::pair{plain(0), std::size_t{1}};
        }
        if (raw[0] != '\\') return {plain(0), 1};
        if (raw.size() == 1) return {0, 0};
        if (kEscapable.find(raw[1]) != kEscapable.npos) return {plain(1), 2};
        if (raw[1] != 'u') return {1, 2};  // a control character, which no secret holds
        const auto code = hex(2, 4);
        if (!code) return {0, 0};
        return *code < 0x10000 ? std::pair{*code, kUnicodeEscape} : std::pair{1U, std::size_t{1}};
    }
};

}  // namespace

struct Redactor::State {
    // In locked memory: the shift table of a Wu-Manber search over pairs of bytes, then every pattern.
    std::optional<crypto::Secret> store;
    std::array<Span, kForms> all_patterns{};  // into the store, behind the table
    std::span<Span> patterns;                 // those in use
    std::size_t shortest = 0, longest = 0, plain_bytes = 0;
    std::array<bool, 256> alphabet{};  // the bytes that occur in patterns
    std::string escapable;  // those of the secret's characters that JSON may put a backslash before
    std::string held, out;
    std::uint32_t hits = 0;

    State() = default;
    ~State() {  // the beginning of a secret may have been held until the end
        net::wipe_and_clear(held);
        net::wipe_and_clear(out);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void build(Bytes secret) {
        const std::size_t forms = secret.size() < kSearchableBytes ? 0
                                  : secret.size() < kEncodedBytes  ? 1
                                                                   : kForms;
        if (forms == 0) return;
        store = crypto::Secret::filled(kShiftSlots + kRoomPerByte * secret.size(),
                                       [&](std::span<std::byte> room) {
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
        plain_bytes = secret.size();
        for (const char c : kEscapable)
            if (std::ranges::find(secret, static_cast<std::byte>(c)) != secret.end()) escapable += c;
    }

    /// Forms that need no escaping equal the plain one and are left out.
    bool add_pattern(const std::byte* texts, Span span) {
        const Bytes text(texts + span.from, span.bytes);
        for (const auto& known : patterns)
            if (known.bytes == span.bytes && std::memcmp(texts + known.from, text.data(), span.bytes) == 0)
                return false;
        all_patterns[patterns.size()] = span;
        patterns = std::span(all_patterns).first(patterns.size() + 1);
        shortest = shortest == 0 ? span.bytes : std::min(shortest, span.bytes);
        longest = std::max(longest, span.bytes);
        for (const auto byte : text) alphabet[static_cast<unsigned char>(byte)] = true;
        return true;
    }

    void fill_table(std::span<std::byte> room) {
        window = std::min(shortest, kLongestShift);
        std::memset(room.data(), static_cast<int>(window - 1), kShiftSlots);
        // From the front of all patterns at once: a slot that is met again gets the smaller shift last.
        auto* const shifts = reinterpret_cast<unsigned char*>(room.data());
        std::array<const unsigned char*, kForms> texts;
        const std::size_t count = patterns.size(), last = window - 1;
        for (std::size_t form = 0; form < count; ++form)
            texts[form] = shifts + kShiftSlots + patterns[form].from;
        for (std::size_t i = 1; i <= last; ++i)
            for (std::size_t form = 0; form < count; ++form)
                shifts[slot(texts[form][i - 1], texts[form][i])] = static_cast<unsigned char>(last - i);
    }
    std::size_t window = 0;

    std::size_t longest_match(std::string_view texts, std::string_view rest) const {
        std::size_t best = 0;
        for (const auto& pattern : patterns)
            if (pattern.bytes > best && rest.starts_with(texts.substr(pattern.from, pattern.bytes)))
                best = pattern.bytes;
        return best;
    }

    void find_forms(std::string_view text, std::vector<Span>& found) const {
        if (!store || text.size() < window) return;
        store->expose([&](Bytes bytes) {
            const auto* shifts = reinterpret_cast<const unsigned char*>(bytes.data());
            const std::string_view texts(reinterpret_cast<const char*>(bytes.data()) + kShiftSlots,
                                         bytes.size() - kShiftSlots);
            for (std::size_t end = window - 1; end < text.size();) {
                const auto shift = shifts[slot(at(text, end - 1), at(text, end))];
                if (shift != 0) {
                    end += shift;
                    continue;
                }
                const auto from = end + 1 - window;
                const auto size = longest_match(texts, text.substr(from));
                if (size == 0) {
                    ++end;
                } else {
                    found.push_back({from, size});
                    end = from + size + window - 1;
                }
            }
        });
    }

    std::string_view plain(Bytes bytes) const {
        return {reinterpret_cast<const char*>(bytes.data()) + kShiftSlots + patterns[0].from, plain_bytes};
    }

    /// Whether the secret could stand in the text with escapes; the last one may go on in the next piece.
    bool has_escapes(std::string_view text) const {
        if (text.find('%') != text.npos || text.find("\\u") != text.npos || text.ends_with('\\')) return true;
        return std::ranges::any_of(escapable, [&](char c) {
            const char pair[] = {'\\', c};
            return text.find({pair, 2}) != text.npos;
        });
    }

    void find_escaped(const Unescaped& unescaped, std::vector<Span>& found) const {
        if (!store) return;
        store->expose([&](Bytes bytes) {
            const auto wanted = plain(bytes);
            for (std::size_t i = unescaped.text.find(wanted); i != std::string::npos;
                 i = unescaped.text.find(wanted, i + wanted.size()))
                found.push_back(
                    {unescaped.began[i], unescaped.began[i + wanted.size()] - unescaped.began[i]});
        });
    }

    void mask(char* text, const std::vector<Span>& found) {
        for (const auto& span : found) std::memset(text + span.from, '*', span.bytes);
        hits += static_cast<std::uint32_t>(found.size());
    }

    /// Masks everything found, and gives the text without escapes when it has some. Escapes come first: a
    /// backslash must not stay behind alone. `change(found)` masks, and gives the text as it is then.
    template <class Change>
    std::unique_ptr<const Unescaped> find_all(std::string_view& text, Change change) {
        std::unique_ptr<const Unescaped> unescaped;
        std::vector<Span> found;
        if (has_escapes(text)) {
            unescaped = std::make_unique<const Unescaped>(text);
            find_escaped(*unescaped, found);
            if (!found.empty()) text = change(found);
        }
        const bool stale = !found.empty();
        found.clear();
        find_forms(text, found);
        if (!found.empty()) text = change(found);
        if (unescaped && (stale || !found.empty())) unescaped = std::make_unique<const Unescaped>(text);
        return unescaped;
    }

    /// What was held back and `bytes`, all found in it masked, and the same without escapes, as find_all().
    std::pair<std::string_view, std::unique_ptr<const Unescaped>> masked(std::string_view bytes) {
        std::string_view text = bytes;
        if (!held.empty()) {
            out.assign(held);
            net::append_wiping(out, bytes);
            net::wipe_and_clear(held);
            text = out;
        }
        auto unescaped = find_all(text, [&](const std::vector<Span>& found) {
            if (text.data() != out.data()) out.assign(text);  // ours to change from here on
            mask(out.data(), found);
            return std::string_view(out);
        });
        return {text, std::move(unescaped)};
    }

    /// Where the longest tail begins that is a proper beginning of `wanted`.
    static std::size_t tail_start(std::string_view text, std::string_view wanted) {
        const auto first = text.size() - std::min(text.size(), wanted.size() - 1);
        for (std::size_t from = first; from < text.size(); ++from)
            if (text[from] == wanted[0] && wanted.starts_with(text.substr(from))) return from;
        return text.size();
    }

    std::size_t hold_from(std::string_view text, const Unescaped* unescaped) const {
        if (!store) return text.size();
        std::size_t run = text.size();  // only a run of bytes that occur in patterns can begin one
        while (run > 0 && text.size() - run < longest && alphabet[at(text, run - 1)]) --run;
        return store->expose([&](Bytes bytes) {
            const std::string_view texts(reinterpret_cast<const char*>(bytes.data()) + kShiftSlots,
                                         bytes.size() - kShiftSlots);
            std::size_t hold = text.size();
            if (run < text.size())
                for (const auto& pattern : patterns)
                    hold = std::min(
                        hold, run + tail_start(text.substr(run), texts.substr(pattern.from, pattern.bytes)));
            if (unescaped != nullptr) {
                const auto from = tail_start(unescaped->text, plain(bytes));
                if (from < unescaped->text.size() || unescaped->cut_short)
                    hold = std::min(hold, unescaped->began[from]);
            }
            return hold;
        });
    }
};

Redactor::Redactor(const crypto::Secret& secret) : state_(std::make_unique<State>()) {
    secret.expose([&](Bytes bytes) { state_->build(bytes); });
}
Redactor::~Redactor() = default;
Redactor::Redactor(Redactor&&) noexcept = default;
Redactor& Redactor::operator=(Redactor&&) noexcept = default;

std::string_view Redactor::pass(std::string_view bytes) {
    auto& state = *state_;
    if (!state.store) return bytes;
    const auto [text, unescaped] = state.masked(bytes);
    const std::size_t hold = state.hold_from(text, unescaped.get());
    state.held.assign(text.substr(hold));
    return text.substr(0, hold);
}

std::string_view Redactor::finish(std::string_view last) {
    auto& state = *state_;
    if (!state.store || (last.empty() && state.held.empty())) return last;
    return state.masked(last).first;
}

void Redactor::redact(std::string& text) {
    if (!state_->store) return;
    std::string_view seen = text;
    state_->find_all(seen, [&](const std::vector<Span>& found) {
        state_->mask(text.data(), found);
        return std::string_view(text);
    });
}

std::uint32_t Redactor::hits() const { return state_->hits; }

}  // namespace claviger::proxy
