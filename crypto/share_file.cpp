#include "crypto/share_file.h"

#include "base/require.h"
#include "crypto/hash.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace claviger::crypto {
namespace {

using base::ErrorKind;

constexpr std::string_view kWord = "claviger-share";
constexpr std::uint8_t kVersion = 1;
/// Crockford's: no I, L, O and U, which people mistake for others.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kGroup = 5;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kFixedBytes = 1 + 16 + 16 + 3 + 1 + Key::kBytes + kChecksumBytes;
constexpr std::size_t kMaxBytes = kFixedBytes + kMaxHolderBytes;
constexpr std::size_t kMaxText = 4096;

std::unexpected<base::Error> refused(std::string_view code, std::string message, std::string hint) {
    return base::failure(ErrorKind::invalid_request, code, std::move(message), std::move(hint));
}

std::unexpected<base::Error> malformed(std::string detail) {
    auto error =
        refused("share.malformed", "This is not a share of a Claviger store.",
                "A share is the text that begins with claviger-share, alone or in its file. An encrypted "
                "one (.age) needs the holder's identity file.");
    error.error().detail = std::move(detail);
    return error;
}

std::array<char, kChecksumBytes> checksum_of(base::ByteView body) {
    auto digest = blake2b(body);
    std::array<char, kChecksumBytes> sum;
    std::memcpy(sum.data(), digest.data(), sum.size());
    return sum;
}

/// -1 for what is no symbol.
int symbol(char c) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == 'o') c = '0';
    if (c == 'i' || c == 'l') c = '1';
    const auto at = kAlphabet.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '-'; }

/// The text's bytes, of which `used` are filled.
struct Decoded {
    Secret bytes;
    std::size_t used = 0;
};

/// Nothing for other characters, too many of them, or bits left over that are not zero.
std::optional<Decoded> decode(std::string_view text) {
    std::size_t used = 0;
    bool good = true;
    auto bytes = Secret::filled(kMaxBytes, [&](std::span<std::byte> out) {
        unsigned bits = 0, held = 0;
        for (const char c : text) {
            if (is_space(c)) continue;
            const int value = symbol(c);
            if (value < 0) good = false;
            if (!good) break;
            bits = (bits << 5 | static_cast<unsigned>(value)) & 0xfff;
            held += 5;
            if (held < 8) continue;
            held -= 8;
            if (used == out.size())
                good = false;
            else
                out[used++] = static_cast<std::byte>(bits >> held & 0xff);
        }
        good = good && held < 5 && (bits & ((1U << held) - 1)) == 0;
    });
    if (!good) return std::nullopt;
    return Decoded{std::move(bytes), used};
}

/// The part of the text that is the share: comments are skipped, and what stands before the word.
std::optional<std::string_view> share_part(std::string_view text) {
    std::optional<std::string_view> found;
    while (!text.empty()) {
        const auto end = text.find('\n');
        auto line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
        if (line.empty() || line.front() == '#') continue;
        if (found) {  // a share that was wrapped over several lines
            found = std::string_view(found->data(),
                                     static_cast<std::size_t>(line.data() + line.size() - found->data()));
            continue;
        }
        const auto starts = [&](std::string_view word) {
            return line.size() >= word.size() &&
                   std::ranges::equal(line.substr(0, word.size()), word, [](char a, char b) {
                       return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
                   });
        };
        if (!starts(kWord)) return std::nullopt;
        found = line.substr(kWord.size());
    }
    return found;
}

std::string quoted_holder(base::ByteView body) {
    constexpr std::size_t at = 1 + 16 + 16 + 3;
    const auto size = body.size() > at ? static_cast<unsigned char>(body[at]) : 0U;
    if (body.size() < at + 1 + size) return {};
    const auto name = body.substr(at + 1, size);
    return is_holder_name(name) ? std::string(name) : std::string();
}

}  // namespace

bool is_holder_name(std::string_view name) {
    if (name.empty() || name.size() > kMaxHolderBytes) return false;
    return std::ranges::none_of(name,
                                [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }) &&
           name.front() != ' ' && name.back() != ' ';
}

Secret share_text(const ShareFile& file) {
    base::require(is_holder_name(file.holder), "callers of share_text() check the holder's name");
    base::Bytes body(1, static_cast<char>(kVersion));
    body.reserve(kMaxBytes);
    for (const auto& id : {file.instance, file.set})
        body.append(reinterpret_cast<const char*>(id.data()), id.size());
    for (const auto number :
         {file.share.number, file.threshold, file.count, static_cast<std::uint8_t>(file.holder.size())})
        body.push_back(static_cast<char>(number));
    body += file.holder;
    file.share.value.expose([&](std::span<const std::byte> value) { body += base::as_view(value); });
    const auto sum = checksum_of(body);
    body.append(sum.data(), sum.size());

    base::Bytes text = "# Share " + std::to_string(file.share.number) + " of " + std::to_string(file.count) +
                       ", kept by " + file.holder + "; any " + std::to_string(file.threshold) +
                       " open the store. Keep it secret.\n";
    text.reserve(text.size() + kWord.size() + body.size() * 2 + 8);
    text += kWord;
    std::size_t written = 0;
    unsigned bits = 0, held = 0;
    const auto put = [&](unsigned value) {
        if (written++ % kGroup == 0) text.push_back('-');
        text.push_back(kAlphabet[value & 31]);
    };
    for (const char c : body) {
        bits = (bits << 8 | static_cast<unsigned char>(c)) & 0xfff;
        for (held += 8; held >= 5; held -= 5) put(bits >> (held - 5));
    }
    if (held > 0) put(bits << (5 - held));
    text.push_back('\n');
    auto secret = Secret::copy_of(std::string_view(text));
    wipe(std::span(text.data(), text.size()));
    wipe(std::span(body.data(), body.size()));
    return secret;
}

base::Result<ShareFile> parse_share(const Secret& text) {
    return text.expose([](std::span<const std::byte> bytes) -> base::Result<ShareFile> {
        if (bytes.size() > kMaxText) return malformed("too long");
        const auto part = share_part(base::as_view(bytes));
        if (!part) return malformed("the word claviger-share is missing");
        const auto decoded = decode(*part);
        if (!decoded) return malformed("not base32");
        return decoded->bytes.expose([&](std::span<const std::byte> all) -> base::Result<ShareFile> {
            const auto body = base::as_view(all.first(decoded->used));
            if (!body.empty() && static_cast<unsigned char>(body[0]) > kVersion && body.size() >= kFixedBytes)
                return refused(
                    "share.version", "The share was written by a later version of Claviger, or is damaged.",
                    "Use the version that the store runs with, or ask its holder for another copy.");
            if (body.size() < kFixedBytes + 1) return malformed("too short");
            const auto checked = body.substr(0, body.size() - kChecksumBytes);
            const auto sum = checksum_of(checked);
            if (base::ByteView(sum.data(), sum.size()) != body.substr(checked.size())) {
                const auto holder = quoted_holder(body);
                return refused(
                    "share.damaged",
                    "The share" + (holder.empty() ? std::string() : " of " + holder) +
                        " is damaged: its checksum does not hold.",
                    "Compare it with the holder's copy, character by character, and give it again.");
            }
            const auto name_bytes = static_cast<unsigned char>(body[36]);
            ShareFile file{.holder = {}, .share = {0, Key::filled([](std::span<std::byte>) {})}};
            file.holder = quoted_holder(body);
            if (body[0] != kVersion || body.size() != kFixedBytes + name_bytes || file.holder.empty())
                return malformed("fields");
            std::copy_n(body.begin() + 1, 16, file.instance.begin());
            std::copy_n(body.begin() + 17, 16, file.set.begin());
            file.share.number = static_cast<std::uint8_t>(body[33]);
            file.threshold = static_cast<std::uint8_t>(body[34]);
            file.count = static_cast<std::uint8_t>(body[35]);
            file.share.value = Key::filled([&](std::span<std::byte> out) {
                std::memcpy(out.data(), body.data() + 37 + name_bytes, out.size());
            });
            if (file.share.number == 0 || file.share.number > file.count || file.threshold > file.count ||
                file.threshold < kMinThreshold || file.count > kMaxShares)
                return malformed("numbers");
            return file;
        });
    });
}

std::string ShareSet::name_of(unsigned number) const {
    const auto text = "share " + std::to_string(number);
    return number >= 1 && number <= holders.size() ? text + ", of " + holders[number - 1] : text;
}

base::Status examine(const ShareSet& set, const ShareFile& file) {
    if (file.instance != set.instance)
        return refused("share.other_store", "The share of " + file.holder + " belongs to another store.",
                       "Look for the share of this store; its file names the store in its first characters.");
    if (file.set != set.set)
        return refused(
            "share.other_set",
            "The share of " + file.holder + " belongs to another set of shares of this store.",
            "Shares of different sets do not go together: use those of the slot that `claviger seal "
            "status` shows, or unseal with enough of the other set.");
    if (belongs(file.share, set.commitments) && file.share.number <= set.holders.size()) return {};
    const auto real = number_of(file.share.value, set.commitments, static_cast<unsigned>(set.holders.size()));
    if (real)
        return refused("share.wrong_number",
                       "The share that says it is " + set.name_of(file.share.number) + " is in truth " +
                           set.name_of(*real) + ": its number was changed.",
                       "Give it with its right number; the holder's own file has it.");
    auto name = set.name_of(file.share.number);
    name[0] = 'S';
    return refused("share.refused", name + ", is not the one that was given out.",
                   "Ask the holder for his own copy. The shares that others gave are good and stay.");
}

base::Status SharesSoFar::add(ShareFile file) {
    if (auto good = examine(set_, file); !good) return good;
    if (std::ranges::count(shares_, file.share.number, &Share::number) != 0) {
        auto name = set_.name_of(file.share.number);
        name[0] = 'S';
        return base::failure(ErrorKind::conflict, "share.duplicate", name + ", was given already.",
                             "Ask another holder.");
    }
    shares_.push_back(std::move(file.share));
    return {};
}

std::vector<std::string> SharesSoFar::given() const {
    std::vector<std::string> names;
    for (const auto& share : shares_) names.push_back(set_.name_of(share.number));
    return names;
}

}  // namespace claviger::crypto
