#include "vault/log_pin.h"

#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/key_tree.h"
#include "vault/byte_reader.h"
#include "vault/log_prefix.h"
#include "vault/log_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr ByteView kMagic = "CLVP\x01";
constexpr std::size_t kRecordBytes = 5 + 16 + 3 * 8 + 32 + 32;
constexpr std::size_t kPlaceBytes = 4'096;  // two places never share a block of the disk
constexpr std::size_t kPlaces = 2;
constexpr std::chrono::seconds kSyncEvery{1};

std::string hex(const auto& bytes) {
    return base::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::unexpected<base::Error> bad_folder(const std::filesystem::path& path) {
    return base::failure(
        ErrorKind::unavailable, "pin.folder", "The pin of the access log cannot be read or written.",
        "Make sure that access_log.pin_dir exists, is mounted, has space, and belongs to the "
        "user Claviger runs as.",
        path.string() + ": " + system_words());
}

std::string how_to_accept(const LogHead& head) {
    return "If this store is the right one all the same, such as a backup that you restored on purpose: "
           "`claviger pin accept --config FILE --root " +
           hex(head.root) + "`, then start again.";
}

std::string entries(std::uint64_t count) {
    return std::to_string(count) + (count == 1 ? " entry" : " entries");
}

/// Whether it is this very pin, or its absence, that was overruled.
bool of_pin(const Overruling& overruling, const LogPin& pin) {
    const auto head = pin.pinned() ? pin.pinned()->head : LogHead{};
    return overruling.entries == head.size && overruling.pinned == head.root;
}

}  // namespace

crypto::Key pin_key(const KeyRing::OwnerKey& instance_key) {
    return crypto::derive(instance_key.key, crypto::Purpose::log_pin);
}

Bytes encode(const PinRecord& record, const crypto::Key& pin_key) {
    Bytes out(kMagic);
    append_array(out, record.instance);
    for (const auto number : {unix_millis(record.time), record.head.commit_seq, record.head.size})
        base::append_big_endian(out, number);
    out += crypto::view(record.head.root);
    return out + Bytes(crypto::view(crypto::blake2b_keyed(pin_key, out)));
}

std::optional<PinRecord> decode_pin(ByteView bytes, const crypto::Key* pin_key) {
    if (bytes.size() != kRecordBytes || !bytes.starts_with(kMagic)) return std::nullopt;
    const auto authenticated = bytes.substr(0, kRecordBytes - sizeof(crypto::Digest));
    if (pin_key != nullptr && !crypto::equal(crypto::view(crypto::blake2b_keyed(*pin_key, authenticated)),
                                             bytes.substr(authenticated.size())))
        return std::nullopt;
    ByteReader in(authenticated.substr(kMagic.size()));
    PinRecord record;
    record.instance = in.array<16>();
    record.time = base::Time(std::chrono::milliseconds(in.number<std::uint64_t>()));
    record.head.commit_seq = in.number<std::uint64_t>();
    record.head.size = in.number<std::uint64_t>();
    record.head.root = in.array<32>();
    return in.complete() ? std::optional(record) : std::nullopt;
}

std::optional<PinRecord> look_at_pin(const std::filesystem::path& file) {
    const auto content = read_file(file, kPlaces * kPlaceBytes);
    std::optional<PinRecord> newest;
    for (std::size_t place = 0; content && place < content->size(); place += kPlaceBytes) {
        const auto record = decode_pin(ByteView(*content).substr(place, kRecordBytes), nullptr);
        if (record && (!newest || newest->head.commit_seq < record->head.commit_seq)) newest = record;
    }
    return newest;
}

std::string acceptance_name(const crypto::Digest& root) { return "accept-" + hex(root); }

LogPin::LogPin(std::filesystem::path folder, const base::RawId& instance, crypto::Key pin_key,
               const base::Clock& clock)
    : folder_(std::move(folder)),
      file_(folder_ / (hex(instance) + ".pin")),
      instance_(instance),
      key_(std::move(pin_key)),
      clock_(clock) {}

base::Result<std::unique_ptr<LogPin>> LogPin::open(std::filesystem::path folder, const base::RawId& instance,
                                                   crypto::Key pin_key, const base::Clock& clock) {
    auto pin = std::unique_ptr<LogPin>(new LogPin(std::move(folder), instance, std::move(pin_key), clock));
    if (auto read = pin->read(); !read) return std::unexpected(std::move(read).error());
    pin->syncer_ = std::thread([&pin = *pin] { pin.sync_now_and_then(); });
    return pin;
}

LogPin::~LogPin() {
    if (!syncer_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    syncer_.join();
}

base::Status LogPin::read() {
    std::error_code error;
    if (!std::filesystem::is_directory(folder_, error)) {
        errno = error ? error.value() : ENOTDIR;
        return bad_folder(folder_);
    }
    Descriptor file(file_, O_RDWR);
    if (!file.good()) return errno == ENOENT ? base::Status() : bad_folder(file_);
    for (std::size_t place = 0; place < kPlaces; ++place) {
        std::array<char, kRecordBytes> bytes{};
        const auto got =
            ::pread(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(place * kPlaceBytes));
        if (got < 0) return bad_folder(file_);
        const auto record = decode_pin(ByteView(bytes.data(), static_cast<std::size_t>(got)), &key_);
        if (!record || record->instance != instance_) continue;
        if (pinned_ && pinned_->head.commit_seq >= record->head.commit_seq) continue;
        pinned_ = record;
        written_ = place + 1;  // the next goes to the other place
    }
    if (!pinned_)
        return base::failure(ErrorKind::corrupt, "pin.refused",
                             "The pin of the access log is not one that this store wrote.",
                             "Find out who can write to access_log.pin_dir. To pin this store anew, move the "
                             "file away and start "
                             "again: what to accept is said then.",
                             file_.string() + ": no record in it has a MAC that holds");
    follow(*pinned_);
    opened_.emplace(std::move(file));
    return {};
}

void LogPin::follow(const PinRecord& record) {
    entries_.store(record.head.size, std::memory_order_relaxed);
    pinned_ms_.store(record.time.time_since_epoch().count(), std::memory_order_relaxed);
}

bool LogPin::accepts(const crypto::Digest& root) const {
    return ::access((folder_ / acceptance_name(root)).c_str(), F_OK) == 0;
}

base::Status LogPin::use_up(const crypto::Digest& accepted_root) const {
    const auto file = folder_ / acceptance_name(accepted_root);
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return bad_folder(file);
    return sync_folder(folder_) ? base::Status() : bad_folder(folder_);
}

base::Status LogPin::reset(const LogHead& head) {
    const PinRecord record{instance_, clock_.now(), head};
    const auto bytes = encode(record, key_);
    auto content = bytes;
    content.resize(kPlaceBytes, '\0');
    content += bytes;
    content.resize(kPlaces * kPlaceBytes, '\0');
    if (!replace_file(file_, content)) return bad_folder(file_);
    Descriptor file(file_, O_RDWR);
    if (!file.good()) return bad_folder(file_);
    opened_.reset();
    opened_.emplace(std::move(file));
    pinned_ = record;
    follow(record);
    return {};
}

void LogPin::note(const LogHead& head) {
    if (!write(head)) {
        failures_.fetch_add(1, std::memory_order_relaxed);
        if (!failing_.exchange(true)) base::log_error("pin.not_written", bad_folder(file_).error());
        return;
    }
    if (failing_.exchange(false)) base::log(base::LogLevel::info, "pin.written_again");
    bool first = false;
    {
        const std::lock_guard lock(mutex_);
        first = !std::exchange(unsynced_, true);
    }
    if (first) wake_.notify_one();
}

bool LogPin::write(const LogHead& head) {
    if (!opened_) return false;
    const PinRecord record{instance_, clock_.now(), head};
    const auto bytes = encode(record, key_);
    const auto place = static_cast<off_t>(written_ % kPlaces * kPlaceBytes);
    if (::pwrite(opened_->get(), bytes.data(), bytes.size(), place) != static_cast<ssize_t>(bytes.size()))
        return false;
    ++written_;
    follow(record);
    return true;
}

void LogPin::sync_now_and_then() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return unsynced_ || stopping_; });
        if (!stopping_) wake_.wait_for(lock, kSyncEvery, [&] { return stopping_; });
        const bool dirty = std::exchange(unsynced_, false), last = stopping_;
        lock.unlock();
        if (dirty && ::fdatasync(opened_->get()) != 0) {
            failures_.fetch_add(1, std::memory_order_relaxed);
            if (!failing_.exchange(true)) base::log_error("pin.not_written", bad_folder(file_).error());
        }
        lock.lock();
        if (last) return;
    }
}

base::Result<PinVerdict> check_pin(const LogPin& pin, const StorageEngine& engine, const LogHead& head,
                                   const SaidOfPin& said) {
    const auto refuse = [&](std::string_view code, std::string message,
                            std::string detail) -> base::Result<PinVerdict> {
        if (said.overruling && of_pin(*said.overruling, pin)) return PinVerdict::overruled;
        if (pin.accepts(head.root)) return PinVerdict::accepted;
        return base::failure(ErrorKind::corrupt, code, std::move(message), how_to_accept(head),
                             std::move(detail));
    };
    if (!pin.pinned()) {
        if (!said.pinned) return PinVerdict::first;
        return refuse("pin.missing",
                      "The pin of the access log is gone, so an older copy of the store would not show.",
                      pin.file().string() + " does not exist; the store has " + entries(head.size) +
                          ", root " + hex(head.root));
    }
    const auto& pinned = pin.pinned()->head;
    const auto where = pin.file().string() + " says " + entries(pinned.size) + ", root " + hex(pinned.root) +
                       "; the store has " + entries(head.size) + ", root " + hex(head.root);
    if (pinned.size > head.size)
        return refuse("pin.store_older",
                      "The store is older than its pin: the newest " + entries(pinned.size - head.size) +
                          " of the access log, and what they did, are not in it.",
                      where);
    const auto roots = roots_of(engine, pinned.size, head.size);
    if (!roots) return std::unexpected(roots.error());
    if (roots->now != head.root || roots->before != pinned.root)
        return refuse(
            "pin.log_forked",
            "The access log does not go on from what is pinned: it is another history of this store.", where);
    return PinVerdict::same;
}

}  // namespace claviger::vault
