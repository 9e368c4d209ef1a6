#include "vault/fence.h"

#include "vault/byte_reader.h"
#include "vault/log_rows.h"
#include "vault/store_marks.h"

#include <chrono>

namespace claviger::vault {
namespace {

Bytes encode(const Fence& fence) {
    Bytes out;
    for (const auto number : {unix_millis(fence.fenced), unix_millis(fence.made), fence.backup.commit_seq,
                              fence.backup.size, fence.pinned, fence.voided})
        base::append_big_endian(out, number);
    return out + Bytes(crypto::view(fence.backup.root));
}

base::Result<std::optional<Fence>> read(const StorageEngine& engine, const KeyRing& keys) {
    const auto content = read_mark(engine, keys, kFencedMark);
    if (!content) return std::unexpected(content.error());
    if (!*content) return std::nullopt;
    ByteReader in(**content);
    Fence fence;
    fence.fenced = base::Time(std::chrono::milliseconds(in.number<std::uint64_t>()));
    fence.made = base::Time(std::chrono::milliseconds(in.number<std::uint64_t>()));
    for (auto* number : {&fence.backup.commit_seq, &fence.backup.size, &fence.pinned, &fence.voided})
        *number = in.number<std::uint64_t>();
    fence.backup.root = in.array<32>();
    if (in.complete()) return fence;
    return refused_mark(kFencedMark, "it has another size");
}

void note(Change& change, Action action) {
    change.note(EntryKind::seal, action, ObjectKind::instance, change.keys().instance());
}

}  // namespace

base::Result<std::optional<Fence>> fence_of(const Records& records) {
    return read(records.engine(), records.keys());
}

base::Status put_fence(Change& change, const BackupHeader& backup, std::uint64_t pinned) {
    Fence fence{change.now(), backup.made, backup.head, pinned, 0};
    note(change, Action::restore);
    for (const auto& held :
         change.catalog().all<SessionToken>([](const SessionToken& token) { return !token.revoked; })) {
        auto token = *held;
        token.revoked = change.now();
        change.note(EntryKind::write, Action::revoke, ObjectKind::session_token, token.id.raw);
        if (auto stored = change.store(token); !stored) return stored;
        ++fence.voided;
    }
    for (const auto& flow : change.catalog().all<ConnectFlow>([](const ConnectFlow&) { return true; }))
        if (auto erased = change.erase(*flow); !erased) return erased;
    auto& transaction = change.transaction();
    if (auto begun = transaction.keys().begin_history(transaction.engine(), transaction.batch()); !begun)
        return begun;
    return set_mark(transaction, kFencedMark, encode(fence));
}

base::Status lift_fence(Change& change) {
    const auto fence = read(change.transaction().engine(), change.keys());
    if (!fence) return std::unexpected(fence.error());
    if (!*fence)
        return base::failure(base::ErrorKind::conflict, "fence.none",
                             "The store is not fenced: it serves agents already.", "There is nothing to do.");
    note(change, Action::unfence);
    clear_mark(change.transaction(), kFencedMark);
    return {};
}

}  // namespace claviger::vault
