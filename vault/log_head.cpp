#include "vault/log_head.h"

#include "vault/byte_reader.h"

namespace claviger::vault {
namespace {

crypto::Place head_place(const KeyRing& keys, const RootKey& root, std::uint64_t commit_seq) {
    crypto::Place place;
    place.type = crypto::ObjectType::state;
    place.instance = keys.instance();
    place.version = commit_seq;
    place.wrapping_key = root.epoch();
    place.commit_seq = commit_seq;
    return place;
}

std::unexpected<base::Error> refused(std::string why) {
    return base::failure(base::ErrorKind::corrupt, "ledger.head_refused",
                         "The head of the access log is missing, changed, or not the newest one.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         std::move(why));
}

}  // namespace

Bytes encode(const StoredHead& head) {
    Bytes out;
    out.reserve(17 + 16 * kSums + head.frontier.size());
    base::append_big_endian(out, head.commit_seq);
    base::append_big_endian(out, static_cast<std::uint64_t>(head.last_entry.time_since_epoch().count()));
    base::append_big_endian(out, static_cast<std::uint8_t>(kSums));
    for (const auto& [low, high] : head.sums.all()) {
        base::append_big_endian(out, high);
        base::append_big_endian(out, low);
    }
    return out.append(head.frontier);
}

Bytes seal_head(const KeyRing& keys, const StoredHead& head) {
    const auto root = keys.root_of_commit();
    return crypto::seal(root->head_key(), head_place(keys, *root, head.commit_seq),
                        base::as_span(encode(head)));
}

base::Result<StoredHead> open_head(const KeyRing& keys, std::uint64_t commit_seq, ByteView row) {
    const auto root = keys.root_of_commit();
    const auto plain = crypto::open_metadata(root->head_key(), head_place(keys, *root, commit_seq), row);
    if (!plain) return refused("the head does not open as that of commit " + std::to_string(commit_seq));
    ByteReader in(*plain);
    StoredHead head;
    head.commit_seq = in.number<std::uint64_t>();
    head.last_entry =
        base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(in.number<std::uint64_t>())));
    if (in.number<std::uint8_t>() != kSums)
        return refused("the head sums other tables; written by another version?");
    for (auto& [low, high] : head.sums.all()) {
        high = in.number<std::uint64_t>();
        low = in.number<std::uint64_t>();
    }
    head.frontier = Bytes(in.bytes(in.left()));
    if (!in.complete() || head.commit_seq != commit_seq) return refused("the head is malformed");
    return head;
}

base::Result<Bytes> read_head_row(const StorageEngine& engine) {
    auto row = engine.get(Table::state, kHeadKey);
    if (!row) return std::unexpected(std::move(row).error());
    if (!*row) return refused("no row \"head\" in table state");
    return std::move((*row)->value);
}

}  // namespace claviger::vault
