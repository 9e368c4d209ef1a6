#include "vault/stamped_row.h"

namespace claviger::vault {
namespace {

using base::Bytes;
using base::ByteView;

Bytes sealed_behind_stamp(const crypto::Key& key, const crypto::Place& place,
                          std::span<const std::byte> plaintext) {
    const Bytes envelope = crypto::seal(key, place, plaintext);
    Bytes row;
    row.reserve(kStampBytes + envelope.size());
    base::append_big_endian(row, place.commit_seq);
    base::append_big_endian(row, place.created_ms);
    return row.append(envelope);
}

/// Fills in what only the row knows; false when it is no such row.
bool complete_place(crypto::Place& place, ByteView row) {
    const auto stamp = stamp_of(row);
    if (!stamp) return false;
    place.commit_seq = stamp->commit_seq;
    place.created_ms = stamp->created_ms;
    return true;
}

std::unexpected<base::Error> too_short() {
    return base::failure(base::ErrorKind::corrupt, "envelope.refused", "A stored row cannot be opened.", {},
                         "the row is shorter than its clear header");
}

}  // namespace

std::optional<Stamp> stamp_of(ByteView row) {
    if (row.size() < kStampBytes) return std::nullopt;
    return Stamp{base::read_big_endian<std::uint64_t>(row.data()),
                 base::read_big_endian<std::uint64_t>(row.data() + 8)};
}

Bytes seal_stamped(const crypto::Key& key, const crypto::Place& place, ByteView plaintext) {
    return sealed_behind_stamp(key, place, base::as_span(plaintext));
}

Bytes seal_stamped(const crypto::Key& key, const crypto::Place& place, const crypto::Key& wrapped) {
    return wrapped.expose(
        [&](std::span<const std::byte> bytes) { return sealed_behind_stamp(key, place, bytes); });
}

base::Result<Bytes> open_stamped(const crypto::Key& key, crypto::Place place, ByteView row) {
    if (!complete_place(place, row)) return too_short();
    return crypto::open_metadata(key, place, row.substr(kStampBytes));
}

base::Result<crypto::Key> open_stamped_key(const crypto::Key& key, crypto::Place place, ByteView row) {
    if (!complete_place(place, row)) return too_short();
    auto secret = crypto::open(key, place, row.substr(kStampBytes));
    if (!secret) return std::unexpected(std::move(secret).error());
    return crypto::Key::from(std::move(*secret));
}

}  // namespace claviger::vault
