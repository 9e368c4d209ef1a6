#include "vault/backup.h"

#include "crypto/merkle.h"
#include "vault/durable_file.h"
#include "vault/log_head.h"
#include "vault/log_rows.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>

namespace claviger::vault {
namespace {

using base::ErrorKind;
namespace fs = std::filesystem;

constexpr std::size_t kBlockBytes = 1 << 20;

std::unexpected<base::Error> bad_folder(const fs::path& path, const std::string& why) {
    return base::failure(ErrorKind::unavailable, "backup.folder", "The backup could not be written or read.",
                         "Check that the folder exists, belongs to the user Claviger runs as, and has space.",
                         path.string() + ": " + why);
}

std::unexpected<base::Error> changed(const fs::path& path, const std::string& why) {
    return base::failure(ErrorKind::corrupt, "backup.file_changed",
                         "A file of the backup is not the one that was backed up.",
                         "Use another backup, or another copy of this one.", path.string() + ": " + why);
}

std::unexpected<base::Error> stopped() {
    return base::failure(ErrorKind::unavailable, "backup.stopped", "The backup was not finished.",
                         "Start it again.");
}

/// Counts bytes for whoever watches.
class Meter {
public:
    Meter(const BackupProgress& progress, std::uint64_t total) : progress_(progress), total_(total) {}
    bool add(std::uint64_t bytes) {
        done_ += bytes;
        return !progress_ || progress_(done_, total_);
    }

private:
    const BackupProgress& progress_;
    std::uint64_t done_ = 0;
    const std::uint64_t total_;
};

/// BLAKE2b-256 over a file: a digest over the digests of its blocks, so that no file has to fit into memory.
/// With `copy`, writes the same bytes there, synced.
base::Result<BackupFile> read_whole(const fs::path& file, const std::optional<fs::path>& copy, Meter& meter) {
    const Descriptor in(file, O_RDONLY);
    if (!in.good()) return bad_folder(file, system_words());
    std::optional<Descriptor> out;
    if (copy) {
        out.emplace(*copy, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (!out->good()) return bad_folder(*copy, system_words());
    }
    BackupFile seen{file.filename().string(), 0, {}};
    Bytes digests, block(kBlockBytes, '\0');
    for (bool more = true; more;) {
        std::size_t filled = 0;
        while (filled < block.size()) {
            const auto got = ::read(in.get(), block.data() + filled, block.size() - filled);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return bad_folder(file, system_words());
            if (got == 0) break;
            filled += static_cast<std::size_t>(got);
        }
        more = filled == block.size();
        const ByteView bytes(block.data(), filled);
        for (std::size_t at = 0; out && at < filled;) {
            const auto put = ::write(out->get(), bytes.data() + at, filled - at);
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) return bad_folder(*copy, system_words());
            at += static_cast<std::size_t>(put);
        }
        digests += crypto::view(crypto::blake2b(bytes));
        seen.bytes += filled;
        if (!meter.add(filled)) return stopped();
    }
    if (out && ::fsync(out->get()) != 0) return bad_folder(*copy, system_words());
    seen.digest = crypto::blake2b(digests);
    return seen;
}

/// The files of a database, by name. What it makes anew whenever it is opened is no part of a backup.
base::Result<std::map<std::string, std::uint64_t>> files_in(const fs::path& store) {
    std::map<std::string, std::uint64_t> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(store, error)) {
        const auto name = entry.path().filename().string();
        if (name == "LOCK" || name.starts_with("LOG")) continue;
        const auto bytes = entry.is_regular_file(error) ? entry.file_size(error) : 0;
        if (error || !entry.is_regular_file()) return changed(entry.path(), "it is no file of a store");
        files[name] = bytes;
    }
    if (error) return bad_folder(store, error.message());
    return files;
}

/// Opens the copy, so that its logs become table files and later readers find it settled; says how far it is.
base::Result<LogHead> settle(const fs::path& store, const KeyRing& keys) {
    auto engine = open_rocksdb(store);
    if (!engine) return std::unexpected(std::move(engine).error());
    const auto row = read_head_row(**engine);
    if (!row) return std::unexpected(row.error());
    const auto head = open_head(keys, (*engine)->last_commit(), *row);
    if (!head) return std::unexpected(head.error());
    const auto tree = crypto::Tree::restore(head->frontier);
    if (!tree) return base::failure(ErrorKind::corrupt, "ledger.head_refused", "The head holds no tree.");
    return LogHead{head->commit_seq, tree->size(), tree->root()};
}

base::Status sync_file(const fs::path& file) {
    const Descriptor opened(file, O_RDONLY);
    if (!opened.good() || ::fsync(opened.get()) != 0) return bad_folder(file, system_words());
    return {};
}

/// Digests every file and makes it durable.
base::Status take_stock(const fs::path& store, BackupHeader& header, const BackupProgress& progress) {
    const auto files = files_in(store);
    if (!files) return std::unexpected(files.error());
    std::uint64_t total = 0;
    for (const auto& [name, bytes] : *files) total += bytes;
    Meter meter(progress, total);
    for (const auto& [name, bytes] : *files) {
        auto file = read_whole(store / name, std::nullopt, meter);
        if (!file) return std::unexpected(std::move(file).error());
        if (auto synced = sync_file(store / name); !synced) return synced;
        header.files.push_back(std::move(*file));
    }
    if (!sync_folder(store)) return bad_folder(store, system_words());
    return {};
}

/// Reads every file of the header, and copies it into `copy`.
base::Status check_files(const fs::path& folder, const BackupHeader& header,
                         const std::optional<fs::path>& copy, const BackupProgress& progress) {
    const auto store = folder / "store";
    const auto there = files_in(store);
    if (!there) return std::unexpected(there.error());
    for (const auto& [name, bytes] : *there)
        if (!std::ranges::binary_search(header.files, name, {}, &BackupFile::name))
            return changed(store / name, "it is no part of the backup");
    Meter meter(progress, header.bytes());
    for (const auto& wanted : header.files) {
        const auto file = store / wanted.name;
        if (!there->contains(wanted.name)) return changed(file, "it is missing");
        const auto seen = read_whole(file, copy ? std::optional(*copy / wanted.name) : std::nullopt, meter);
        if (!seen) return std::unexpected(seen.error());
        if (seen->bytes != wanted.bytes || seen->digest != wanted.digest)
            return changed(file, "its content is another one");
    }
    return {};
}

/// The sealed rows hash without any key.
base::Status check_log(const fs::path& store, const BackupHeader& header) {
    const auto engine = open_rocksdb_read_only(store);
    if (!engine) return std::unexpected(engine.error());
    crypto::Tree tree;
    const auto scanned =
        (*engine)->scan(Table::log, {}, {}, Order::ascending, [&](ByteView, ByteView row, std::uint64_t) {
            const RowLeaves leaves(row);
            for (std::size_t i = 0; i < leaves.size(); ++i) tree.append(leaves.at(i));
            return true;
        });
    if (!scanned) return scanned;
    const auto summary = KeyRing::summary(**engine);
    if (!summary) return std::unexpected(summary.error());
    if (!*summary || (*summary)->instance != header.instance ||
        (*engine)->last_commit() != header.head.commit_seq || tree.size() != header.head.size ||
        tree.root() != header.head.root)
        return base::failure(ErrorKind::corrupt, "backup.log_changed",
                             "The store in the backup is not the one that its header speaks of.",
                             "Use another backup, and find out who can write to this one.",
                             "the log has " + std::to_string(tree.size()) + " entries and root " +
                                 base::to_hex(crypto::view(tree.root())));
    return {};
}

fs::path unfinished(fs::path folder) {
    folder += kUnfinished;
    return folder;
}

base::Status clear_away(const fs::path& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) return bad_folder(path, error.message());
    return {};
}

}  // namespace

base::Result<BackupHeader> create_backup(StorageEngine& engine, const KeyRing& keys, const base::Clock& clock,
                                         const fs::path& folder, const BackupProgress& progress) {
    std::error_code error;
    if (fs::exists(folder, error))
        return base::failure(ErrorKind::conflict, "backup.exists", "There is a backup of that name already.",
                             "Choose another name.");
    const auto key = keys.owner_key(engine, {}, keys.instance(), kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    const auto place = unfinished(folder), store = place / "store";
    if (auto removed = clear_away(place); !removed) return std::unexpected(std::move(removed).error());
    if (::mkdir(place.c_str(), 0700) != 0) return bad_folder(place, system_words());

    const auto fill = [&]() -> base::Result<BackupHeader> {
        BackupHeader header{keys.instance(), clock.now(), {}, {}};
        if (auto copied = engine.checkpoint(store); !copied)
            return std::unexpected(std::move(copied).error());
        const auto head = settle(store, keys);
        if (!head) return std::unexpected(head.error());
        header.head = *head;
        if (auto taken = take_stock(store, header, progress); !taken)
            return std::unexpected(std::move(taken).error());
        if (!replace_file(place / "header", encode(header, backup_key(**key))))
            return bad_folder(place / "header", system_words());
        if (::rename(place.c_str(), folder.c_str()) != 0 || !sync_folder(folder.parent_path()))
            return bad_folder(folder, system_words());
        return header;
    };
    auto made = fill();
    if (!made) fs::remove_all(place, error);
    return made;
}

base::Result<BackupHeader> read_backup_header(const fs::path& folder) {
    const auto content = read_file(folder / "header", kMaxBackupHeaderBytes);
    if (!content)
        return base::failure(ErrorKind::invalid_request, "backup.missing",
                             "There is no complete backup in " + folder.string() + ".",
                             "Name the folder that `claviger backup create` made.", system_words());
    return decode_backup_header(*content);
}

base::Result<std::vector<FoundBackup>> backups_in(const fs::path& folder) {
    std::vector<FoundBackup> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const auto name = entry.path().filename().string();
        if (name.ends_with(kUnfinished)) continue;
        if (auto header = read_backup_header(entry.path()); header)
            found.push_back({name, std::move(*header)});
    }
    if (error) return bad_folder(folder, error.message());
    std::ranges::sort(found, {}, &FoundBackup::name);
    return found;
}

std::vector<FoundBackup> longer_than(std::vector<FoundBackup> found, const base::RawId& instance,
                                     std::uint64_t entries) {
    std::erase_if(found, [&](const FoundBackup& each) {
        return each.header.instance != instance || each.header.head.size <= entries;
    });
    return found;
}

base::Result<BackupHeader> verify_backup(const fs::path& folder, const BackupProgress& progress) {
    auto header = read_backup_header(folder);
    if (!header) return header;
    if (auto whole = check_files(folder, *header, std::nullopt, progress); !whole)
        return std::unexpected(std::move(whole).error());
    if (auto same = check_log(folder / "store", *header); !same)
        return std::unexpected(std::move(same).error());
    return header;
}

fs::path restored_header(const fs::path& data_dir) { return data_dir / "restored"; }

base::Result<BackupHeader> restore_backup(const fs::path& folder, const fs::path& data_dir,
                                          const BackupProgress& progress) {
    auto header = read_backup_header(folder);
    if (!header) return header;
    const auto store = data_dir / "store", place = unfinished(store);
    std::error_code error;
    if (fs::exists(store, error))
        return base::failure(
            ErrorKind::conflict, "backup.store_exists",
            "There is a store in " + data_dir.string() + " already.",
            "Move it away first: its newest entries may be needed to see what the backup lacks.",
            store.string());
    fs::create_directories(data_dir, error);
    if (error || ::chmod(data_dir.c_str(), 0700) != 0) return bad_folder(data_dir, system_words());
    if (auto removed = clear_away(place); !removed) return std::unexpected(std::move(removed).error());
    if (::mkdir(place.c_str(), 0700) != 0) return bad_folder(place, system_words());
    if (auto copied = check_files(folder, *header, place, progress); !copied)
        return std::unexpected(std::move(copied).error());
    if (auto same = check_log(place, *header); !same) return std::unexpected(std::move(same).error());
    if (!sync_folder(place)) return bad_folder(place, system_words());
    // The mark comes before the store: no moment shows a store that nobody would fence.
    const auto content = read_file(folder / "header", kMaxBackupHeaderBytes);
    if (!content || !replace_file(restored_header(data_dir), *content))
        return bad_folder(restored_header(data_dir), system_words());
    if (::rename(place.c_str(), store.c_str()) != 0 || !sync_folder(data_dir) ||
        !sync_folder(data_dir.parent_path()))
        return bad_folder(store, system_words());
    return header;
}

}  // namespace claviger::vault
