#include "oauth/journal.h"

#include "base/bytes.h"
#include "crypto/envelope.h"
#include "vault/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace claviger::oauth {
namespace {

using base::Bytes;
using base::ByteView;
using base::ErrorKind;
namespace fs = std::filesystem;

constexpr std::string_view kMagic = "CLVJ\x01";
constexpr std::string_view kSuffix = ".answer";
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kHeadBytes = kMagic.size() + 4 * kIdBytes + 4 * 8;
constexpr std::size_t kLongestContentType = 256;
constexpr std::size_t kLongestFile =
    kHeadBytes + crypto::kEnvelopeOverhead + 4 + kLongestContentType + kLongestJournalledBody;

std::unexpected<base::Error> not_durable(const fs::path& path, const std::string& why) {
    return base::failure(ErrorKind::unavailable, "journal.not_durable",
                         "The answer of a token endpoint could not be written to disk.",
                         "Check the free space and the health of the disk under the data folder.",
                         path.string() + ": " + why);
}

std::unexpected<base::Error> bad_folder(const fs::path& path, const std::string& why) {
    return base::failure(
        ErrorKind::unavailable, "journal.folder", "The folder for answers of token endpoints cannot be used.",
        "Make sure that the data folder belongs to the user Claviger runs as.", path.string() + ": " + why);
}

/// What stands in clear before the envelope, and is bound into it.
struct Head {
    base::RawId workspace{}, vault{}, credential{}, attempt{};
    std::uint64_t epoch = 0, parent_gen = 0, sent_ms = 0, generation = 0;
};

void append_id(Bytes& out, const base::RawId& id) {
    out.append(reinterpret_cast<const char*>(id.data()), id.size());
}

Bytes encode(const Head& head) {
    Bytes out(kMagic);
    for (const auto* id : {&head.workspace, &head.vault, &head.credential, &head.attempt})
        append_id(out, *id);
    for (const auto number : {head.epoch, head.parent_gen, head.sent_ms, head.generation})
        base::append_big_endian(out, number);
    return out;
}

std::optional<Head> decode(ByteView bytes) {
    if (bytes.size() < kHeadBytes || !bytes.starts_with(kMagic)) return std::nullopt;
    Head head;
    const char* at = bytes.data() + kMagic.size();
    for (auto* id : {&head.workspace, &head.vault, &head.credential, &head.attempt}) {
        std::memcpy(id->data(), at, id->size());
        at += id->size();
    }
    for (auto* number : {&head.epoch, &head.parent_gen, &head.sent_ms, &head.generation}) {
        *number = base::read_big_endian<std::uint64_t>(at);
        at += 8;
    }
    return head;
}

crypto::Place place_of(const vault::KeyRing& keys, const Head& head) {
    crypto::Place place;
    place.type = crypto::ObjectType::refresh_intent;
    place.instance = keys.instance();
    place.workspace = head.workspace;
    place.vault = head.vault;
    place.object = head.credential;
    place.version = head.parent_gen;
    place.wrapping_key = head.generation;
    place.commit_seq = head.epoch;
    place.created_ms = head.sent_ms;
    place.writer = head.attempt;
    return place;
}

/// Status, content type and body in one secret.
crypto::Secret joined(const JournalEntry& entry) {
    Bytes front;
    base::append_big_endian(front, static_cast<std::uint16_t>(entry.status));
    base::append_big_endian(front, static_cast<std::uint16_t>(entry.content_type.size()));
    front += entry.content_type;
    return crypto::Secret::filled(front.size() + entry.body.size(), [&](std::span<std::byte> room) {
        std::ranges::copy(base::as_span(front), room.begin());
        entry.body.expose([&](std::span<const std::byte> body) {
            std::ranges::copy(body, room.begin() + static_cast<std::ptrdiff_t>(front.size()));
        });
    });
}

bool split(const crypto::Secret& whole, JournalEntry& entry) {
    return whole.expose([&](std::span<const std::byte> bytes) {
        const auto text = base::as_view(bytes);
        if (text.size() < 4) return false;
        entry.status = base::read_big_endian<std::uint16_t>(text.data());
        const std::size_t type_bytes = base::read_big_endian<std::uint16_t>(text.data() + 2);
        if (text.size() < 4 + type_bytes) return false;
        entry.content_type = text.substr(4, type_bytes);
        entry.body = crypto::Secret::copy_of(bytes.subspan(4 + type_bytes));
        return true;
    });
}

/// Nothing when there is no such file.
base::Result<std::optional<Bytes>> content_of(const fs::path& path) {
    const vault::Descriptor file(path, O_RDONLY);
    if (!file.good()) {
        if (errno == ENOENT) return std::nullopt;
        return bad_folder(path, vault::system_words());
    }
    Bytes content(kLongestFile + 1, '\0');
    std::size_t filled = 0;
    while (filled < content.size()) {
        const auto got = ::read(file.get(), content.data() + filled, content.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return bad_folder(path, vault::system_words());
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    content.resize(filled);
    return content;
}

/// When the answer was last touched; of a file that cannot be asked, the end of time.
base::Time newest_time(const fs::path& path, const Head& head) {
    struct stat about{};
    if (::stat(path.c_str(), &about) != 0) return base::Time::max();
    const base::Time written(std::chrono::seconds(about.st_mtime));
    return std::max(written, base::Time(std::chrono::milliseconds(head.sent_ms)));
}

}  // namespace

fs::path Journal::file_of(const base::RawId& attempt) const {
    return folder_ / (base::to_hex({reinterpret_cast<const char*>(attempt.data()), attempt.size()}) +
                      std::string(kSuffix));
}

base::Result<Journal> Journal::open(fs::path folder, const vault::StorageEngine& engine,
                                    const vault::KeyRing& keys) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return bad_folder(folder, vault::system_words());
    std::error_code error;
    std::vector<fs::path> unfinished;
    for (const auto& file : fs::directory_iterator(folder, error))
        if (file.path().extension() == vault::kUnfinishedFile) unfinished.push_back(file.path());
    if (error) return bad_folder(folder, error.message());
    for (const auto& path : unfinished)
        if (::unlink(path.c_str()) != 0) return bad_folder(path, vault::system_words());
    // The folder's own name must outlive a power cut as well.
    if (!vault::sync_folder(folder) || !vault::sync_folder(folder.parent_path()))
        return bad_folder(folder, vault::system_words());
    return Journal(std::move(folder), engine, keys);
}

base::Status Journal::take_room(const base::RawId& attempt) const {
    const auto path = file_of(attempt);
    if (vault::take_room(path, kLongestFile)) return {};
    const bool made_anew = errno == ENOENT && ::mkdir(folder_.c_str(), 0700) == 0;
    if (made_anew && vault::take_room(path, kLongestFile)) return {};
    return base::failure(
        ErrorKind::unavailable, "journal.no_room",
        "There is no room on the disk for the answer of a token endpoint, so none is asked.",
        "Make room on the disk under the data folder, or mend it: it is tried again by itself.",
        path.string() + ": " + vault::system_words());
}

base::Status Journal::write(const JournalEntry& entry) const {
    for (;;) {
        const auto generation = keys_->generation_of(entry.vault.raw);
        if (auto written = write(entry, generation); !written) return written;
        // A rotation that began meanwhile may not have seen the file that keeps the key before alive.
        if (keys_->generation_of(entry.vault.raw) == generation) return {};
    }
}

base::Status Journal::write(const JournalEntry& entry, std::uint64_t generation) const {
    if (entry.body.size() > kLongestJournalledBody || entry.content_type.size() > kLongestContentType)
        return base::failure(ErrorKind::invalid_request, "journal.too_large",
                             "The answer of the token endpoint is too large.",
                             "Look at what the server answers at its token endpoint.");
    const auto key = keys_->owner_key(*engine_, entry.workspace.raw, entry.vault.raw, generation);
    if (!key) return std::unexpected(key.error());
    const Head head{.workspace = entry.workspace.raw,
                    .vault = entry.vault.raw,
                    .credential = entry.credential.raw,
                    .attempt = entry.attempt,
                    .epoch = entry.epoch,
                    .parent_gen = entry.parent_gen,
                    .sent_ms = static_cast<std::uint64_t>(entry.sent_at.time_since_epoch().count()),
                    .generation = (*key)->generation};
    Bytes content = encode(head);
    joined(entry).expose([&](std::span<const std::byte> bytes) {
        content += crypto::seal((*key)->key, place_of(*keys_, head), bytes);
    });

    // Under its name only when it is whole: what a crash leaves half written is no answer.
    const auto path = file_of(entry.attempt);
    if (!vault::replace_file(path, content)) return not_durable(path, vault::system_words());
    return {};
}

base::Result<std::optional<JournalEntry>> Journal::read(const base::RawId& attempt) const {
    const auto path = file_of(attempt);
    const auto refused = [&](const char* why) {
        return base::failure(ErrorKind::corrupt, "journal.refused",
                             "A journalled answer of a token endpoint does not open.",
                             "The credential may have to be connected again; keep the file for an inquiry.",
                             path.string() + ": " + why);
    };
    const auto content = content_of(path);
    if (!content) return std::unexpected(content.error());
    if (!*content) return std::nullopt;
    if ((*content)->size() > kLongestFile) return refused("too large");
    const auto head = decode(**content);
    if (!head) return refused("no journal file of this version");
    if (head->attempt != attempt) return refused("belongs to another attempt");
    const auto key = keys_->owner_key(*engine_, head->workspace, head->vault, head->generation);
    if (!key) return refused(std::string(key.error().code).c_str());
    const auto opened =
        crypto::open((*key)->key, place_of(*keys_, *head), ByteView(**content).substr(kHeadBytes));
    if (!opened) return refused("does not open at its place");
    JournalEntry entry;
    entry.attempt = attempt;
    entry.credential.raw = head->credential;
    entry.workspace.raw = head->workspace;
    entry.vault.raw = head->vault;
    entry.epoch = head->epoch;
    entry.parent_gen = head->parent_gen;
    entry.sent_at = base::Time(base::Time::duration(static_cast<base::Time::rep>(head->sent_ms)));
    if (!split(*opened, entry)) return refused("its content has another form");
    return entry;
}

base::Result<std::vector<base::RawId>> Journal::attempts() const {
    std::vector<base::RawId> found;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(folder_, error)) {
        if (file.path().extension() != kSuffix) continue;
        const auto id = base::from_hex(file.path().stem().string());
        if (!id || id->size() != kIdBytes) continue;  // not ours
        auto& attempt = found.emplace_back();
        std::memcpy(attempt.data(), id->data(), attempt.size());
    }
    if (error) return bad_folder(folder_, error.message());
    std::ranges::sort(found);
    return found;
}

base::Result<bool> Journal::uses(const base::VaultId& vault, std::uint64_t generation) const {
    const auto all = attempts();
    if (!all) return std::unexpected(all.error());
    for (const auto& attempt : *all) {
        const auto content = content_of(file_of(attempt));
        if (!content) return std::unexpected(content.error());
        const auto head = *content ? decode(**content) : std::nullopt;
        if (head && head->vault == vault.raw && head->generation == generation) return true;
    }
    return false;
}

base::Status Journal::discard(const base::RawId& attempt) const {
    const auto path = file_of(attempt);
    const bool gone = ::unlink(path.c_str()) == 0 || errno == ENOENT;
    if (!gone || !vault::give_room_back(path)) return bad_folder(path, vault::system_words());
    return {};
}

base::Result<std::size_t> Journal::discard_orphans(const std::function<bool(const JournalOwner&)>& lives,
                                                   base::Time now) const {
    const auto answers = attempts();
    if (!answers) return std::unexpected(answers.error());
    std::size_t gone = 0;
    for (const auto& attempt : *answers) {
        const auto path = file_of(attempt);
        const auto content = content_of(path);
        const auto head = content && *content ? decode(**content) : std::nullopt;
        if (!head || head->attempt != attempt || now - newest_time(path, *head) < kOrphansKept) continue;
        const auto key = keys_->owner_key(*engine_, head->workspace, head->vault, head->generation);
        const bool key_is_gone = !key && key.error().kind == ErrorKind::not_found;
        if (lives({.attempt = attempt, .vault = base::VaultId{head->vault}, .key_is_gone = key_is_gone}))
            continue;
        if (auto discarded = discard(attempt); !discarded)
            return std::unexpected(std::move(discarded).error());
        ++gone;
    }
    return gone;
}

}  // namespace claviger::oauth
