#include "server/restored.h"

#include "base/log.h"
#include "server/change_now.h"
#include "vault/backup.h"
#include "vault/durable_file.h"
#include "vault/fence.h"
#include "vault/log_prefix.h"

#include <cerrno>

#include <unistd.h>

namespace claviger::server {
namespace {

using base::ErrorKind;

std::unexpected<base::Error> not_of_this_store(const std::filesystem::path& file) {
    return base::failure(
        ErrorKind::corrupt, "backup.header_refused",
        "The store is not the one that was restored here, so it was not opened.",
        "Restore the backup again into an empty data folder. If this store came another way, remove the file "
        "that the restore left.",
        file.string());
}

/// The header, when it is one that this store wrote and the log goes on from it.
base::Result<vault::BackupHeader> header_of(const vault::Records& records, const std::filesystem::path& file,
                                            const vault::LogHead& head) {
    const auto bytes = vault::read_file(file, vault::kMaxBackupHeaderBytes);
    if (!bytes) return not_of_this_store(file);
    auto header = vault::decode_backup_header(*bytes);
    if (!header) return header;
    const auto key =
        records.keys().owner_key(records.engine(), {}, records.keys().instance(), vault::kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    if (auto authentic = vault::authenticate_backup_header(*bytes, vault::backup_key(**key)); !authentic)
        return std::unexpected(std::move(authentic).error());
    if (header->head.size > head.size) return not_of_this_store(file);
    const auto roots = vault::roots_of(records.engine(), header->head.size, head.size);
    if (!roots) return std::unexpected(roots.error());
    if (roots->before != header->head.root) return not_of_this_store(file);
    return header;
}

}  // namespace

base::Status fence_if_restored(vault::Records& records, const std::filesystem::path& data_dir,
                               std::uint64_t pinned_entries) {
    const auto file = vault::restored_header(data_dir);
    std::error_code error;
    if (!std::filesystem::exists(file, error)) return {};
    const auto header = header_of(records, file, records.ledger().head());
    if (!header) return std::unexpected(header.error());
    const auto fence = vault::fence_of(records);
    if (!fence) return std::unexpected(fence.error());
    if (!*fence) {  // otherwise the process died before it could remove the file
        auto fenced = change_now(records, [&](vault::Change& change) {
            return vault::put_fence(change, *header, pinned_entries);
        });
        if (!fenced) return fenced;
        base::log(base::LogLevel::warning, "restore.fenced",
                  {{"next", "see `claviger backup fence`, then `claviger backup release`"}});
    }
    if (::unlink(file.c_str()) != 0 || !vault::sync_folder(data_dir))
        return base::failure(ErrorKind::unavailable, "backup.folder",
                             "The mark of the restore could not be removed: " + vault::system_words() + ".",
                             "Make sure that the data folder belongs to the user Claviger runs as.",
                             file.string());
    return {};
}

}  // namespace claviger::server
