#include "vault/state_record.h"

#include "crypto/random.h"
#include "vault/byte_reader.h"

#include <algorithm>
#include <span>
#include <utility>

namespace claviger::vault {
namespace {

using base::Bytes;

constexpr std::uint8_t kFormat = 4;
constexpr std::uint8_t kFirstFormat = 1;  // slots without names, of two kinds
constexpr std::uint8_t kEpochTimes = 3;   // from here on epochs have a time, and the highest one is kept
constexpr std::uint8_t kHistories = 4;    // from here on a restored store has another history
constexpr std::size_t kMacBytes = 32;

std::uint64_t millis(base::Time time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }

base::Time time_of(std::uint64_t millis) {
    return base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(millis)));
}

void append_text(Bytes& out, const std::string& text) {
    base::append_big_endian(out, static_cast<std::uint8_t>(text.size()));
    out += text;
}

std::string read_text(ByteReader& in) { return std::string(in.bytes(in.number<std::uint8_t>())); }

Bytes encode_parameters(const crypto::SlotParameters& slot) {
    Bytes out;
    switch (slot.kind) {
        case crypto::SlotKind::passphrase:
            base::append_big_endian(out, slot.ops_limit);
            base::append_big_endian(out, slot.mem_limit_bytes);
            append_array(out, slot.salt);
            break;
        case crypto::SlotKind::key_file:
            append_array(out, slot.salt);
            append_array(out, slot.key_id);
            break;
        case crypto::SlotKind::shares:
            append_array(out, slot.recipient.key);
            base::append_big_endian(out, static_cast<std::uint8_t>(slot.commitments.size()));
            for (const auto& commitment : slot.commitments) append_array(out, commitment);
            base::append_big_endian(out, static_cast<std::uint8_t>(slot.holders.size()));
            for (const auto& holder : slot.holders) append_text(out, holder);
            break;
        case crypto::SlotKind::recipient:
            append_array(out, slot.recipient.key);
            break;
        case crypto::SlotKind::pkcs11:
            append_text(out, slot.token);
            break;
    }
    return out;
}

/// False for a kind that is unknown, or parameters of another length than its own.
bool read_parameters(base::ByteView bytes, crypto::SlotParameters& slot) {
    ByteReader in(bytes);
    switch (slot.kind) {
        case crypto::SlotKind::passphrase:
            slot.ops_limit = in.number<std::uint64_t>();
            slot.mem_limit_bytes = in.number<std::uint64_t>();
            slot.salt = in.array<16>();
            break;
        case crypto::SlotKind::key_file:
            slot.salt = in.array<16>();
            slot.key_id = in.array<8>();
            break;
        case crypto::SlotKind::shares: {
            slot.recipient.key = in.array<32>();
            const auto threshold = in.number<std::uint8_t>();
            if (threshold > crypto::kMaxShares) return false;
            for (unsigned i = 0; i < threshold; ++i) slot.commitments.push_back(in.array<32>());
            const auto count = in.number<std::uint8_t>();
            if (count > crypto::kMaxShares) return false;
            for (unsigned i = 0; i < count; ++i) slot.holders.push_back(read_text(in));
            break;
        }
        case crypto::SlotKind::recipient:
            slot.recipient.key = in.array<32>();
            break;
        case crypto::SlotKind::pkcs11:
            slot.token = read_text(in);
            break;
        default:
            return false;
    }
    return in.complete();
}

void read_wraps(ByteReader& in, SealSlot& slot) {
    const auto wraps = in.number<std::uint8_t>();
    for (unsigned i = 0; i < wraps && in.good(); ++i) {
        RootWrap wrap;
        wrap.epoch = in.number<std::uint64_t>();
        wrap.wrapped = Bytes(in.bytes(in.number<std::uint16_t>()));
        slot.wraps.push_back(std::move(wrap));
    }
}

/// What opened the store when it was made has been verified then.
std::optional<SealSlot> read_first_slot(ByteReader& in) {
    SealSlot slot;
    slot.parameters.kind = static_cast<crypto::SlotKind>(in.number<std::uint8_t>());
    slot.parameters.slot = in.array<16>();
    slot.parameters.ops_limit = in.number<std::uint64_t>();
    slot.parameters.mem_limit_bytes = in.number<std::uint64_t>();
    slot.parameters.salt = in.array<16>();
    slot.commit_seq = in.number<std::uint64_t>();
    slot.created = time_of(in.number<std::uint64_t>());
    slot.verified = slot.created;
    read_wraps(in, slot);
    const bool key_file = slot.parameters.kind == crypto::SlotKind::key_file;
    if (!key_file && slot.parameters.kind != crypto::SlotKind::passphrase) return std::nullopt;
    if (key_file && (slot.parameters.ops_limit != 0 || slot.parameters.mem_limit_bytes != 0))
        return std::nullopt;
    return slot;
}

/// False for epochs that are none of a root key, in a state there is not, twice, or with another one active.
bool read_epochs(ByteReader& in, std::uint8_t format, StateRecord& record) {
    const auto count = in.number<std::uint8_t>();
    if (count > kMaxEpochs) return false;
    std::uint64_t highest = 0;
    for (unsigned i = 0; i < count && in.good(); ++i) {
        RootEpoch epoch{in.number<std::uint64_t>(), static_cast<EpochState>(in.number<std::uint8_t>()),
                        record.created};
        if (format >= kEpochTimes) epoch.created = time_of(in.number<std::uint64_t>());
        if (epoch.epoch <= highest || epoch.state < EpochState::pending || epoch.state > EpochState::retiring)
            return !in.good();
        highest = epoch.epoch;
        record.epochs.push_back(epoch);
    }
    record.last_epoch = format >= kEpochTimes ? in.number<std::uint64_t>() : highest;
    if (format >= kHistories) record.history = in.number<std::uint64_t>();
    return !in.good() || (record.last_epoch >= highest &&
                          std::ranges::count(record.epochs, EpochState::active, &RootEpoch::state) == 1);
}

std::optional<SealSlot> read_slot(ByteReader& in) {
    SealSlot slot;
    slot.parameters.kind = static_cast<crypto::SlotKind>(in.number<std::uint8_t>());
    slot.parameters.slot = in.array<16>();
    slot.commit_seq = in.number<std::uint64_t>();
    slot.created = time_of(in.number<std::uint64_t>());
    if (const auto verified = in.number<std::uint64_t>(); verified != 0) slot.verified = time_of(verified);
    slot.name = read_text(in);
    if (!read_parameters(in.bytes(in.number<std::uint16_t>()), slot.parameters)) return std::nullopt;
    read_wraps(in, slot);
    return slot;
}

}  // namespace

const RootEpoch* StateRecord::find(EpochState state) const {
    const auto found = std::ranges::find(epochs, state, &RootEpoch::state);
    return found == epochs.end() ? nullptr : &*found;
}

RootEpoch* StateRecord::find(EpochState state) {
    return const_cast<RootEpoch*>(std::as_const(*this).find(state));
}

std::uint64_t StateRecord::active_epoch() const {
    const auto* const active = find(EpochState::active);
    return active == nullptr ? 0 : active->epoch;
}

std::uint64_t StateRecord::next_epoch() const { return std::max(last_epoch, history) + 1; }

std::uint64_t StateRecord::next_history() const {
    std::uint32_t chance = 0;
    crypto::random_bytes(std::as_writable_bytes(std::span(&chance, 1)));
    return std::max(last_epoch, history) + kHistoryLeap + chance;
}

const RootWrap* SealSlot::wrap_of(std::uint64_t epoch) const {
    const auto wrap = std::ranges::find(wraps, epoch, &RootWrap::epoch);
    return wrap == wraps.end() ? nullptr : &*wrap;
}

crypto::Place wrap_place(const StateRecord& record, const SealSlot& slot, std::uint64_t epoch) {
    crypto::Place place;
    place.type = crypto::ObjectType::root_key_in_slot;
    place.instance = record.instance;
    place.object = slot.parameters.slot;
    place.version = epoch;
    place.commit_seq = slot.commit_seq;
    place.created_ms = millis(slot.created);
    return place;
}

Bytes encode(const StateRecord& record) {
    Bytes out(1, static_cast<char>(kFormat));
    append_array(out, record.instance);
    base::append_big_endian(out, millis(record.created));
    base::append_big_endian(out, static_cast<std::uint8_t>(record.epochs.size()));
    for (const auto& [epoch, state, created] : record.epochs) {
        base::append_big_endian(out, epoch);
        base::append_big_endian(out, static_cast<std::uint8_t>(state));
        base::append_big_endian(out, millis(created));
    }
    base::append_big_endian(out, record.last_epoch);
    base::append_big_endian(out, record.history);
    base::append_big_endian(out, static_cast<std::uint8_t>(record.slots.size()));
    for (const auto& slot : record.slots) {
        base::append_big_endian(out, static_cast<std::uint8_t>(slot.parameters.kind));
        append_array(out, slot.parameters.slot);
        base::append_big_endian(out, slot.commit_seq);
        base::append_big_endian(out, millis(slot.created));
        base::append_big_endian(out, slot.verified ? millis(*slot.verified) : 0);
        append_text(out, slot.name);
        const auto parameters = encode_parameters(slot.parameters);
        base::append_big_endian(out, static_cast<std::uint16_t>(parameters.size()));
        out += parameters;
        base::append_big_endian(out, static_cast<std::uint8_t>(slot.wraps.size()));
        for (const auto& [epoch, wrapped] : slot.wraps) {
            base::append_big_endian(out, epoch);
            base::append_big_endian(out, static_cast<std::uint16_t>(wrapped.size()));
            out += wrapped;
        }
    }
    return out;
}

base::Result<StoredState> decode_state(base::ByteView row) {
    const auto refused = [](std::string why) {
        return base::failure(base::ErrorKind::corrupt, "state.refused",
                             "The store's state record cannot be read.",
                             "Restore the data folder from a backup.", std::move(why));
    };
    if (row.size() <= kMacBytes) return refused("too short");
    StoredState stored;
    stored.authenticated = Bytes(row.substr(0, row.size() - kMacBytes));
    stored.mac = Bytes(row.substr(row.size() - kMacBytes));
    ByteReader in(stored.authenticated);
    const auto format = in.number<std::uint8_t>();
    if (format < kFirstFormat || format > kFormat)
        return refused("unknown format; written by a newer version?");

    auto& record = stored.record;
    record.instance = in.array<16>();
    record.created = time_of(in.number<std::uint64_t>());
    if (!read_epochs(in, format, record)) return refused("root key epochs that no store has");
    const auto slots = in.number<std::uint8_t>();
    if (slots > kMaxSlots) return refused("too many seal slots");
    for (unsigned i = 0; i < slots && in.good(); ++i) {
        auto slot = format == kFirstFormat ? read_first_slot(in) : read_slot(in);
        if (!slot) return refused("a seal slot that this version does not know");
        record.slots.push_back(*std::move(slot));
    }
    if (!in.complete()) return refused("cut short, or with bytes left over");
    return stored;
}

}  // namespace claviger::vault
