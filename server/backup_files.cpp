#include "server/backup_files.h"

#include "crypto/secret.h"
#include "server/examination_text.h"
#include "vault/backup.h"
#include "vault/log_pin.h"

#include <nlohmann/json.hpp>

#include <iostream>

#include <unistd.h>

namespace claviger::server {
namespace {

using nlohmann::json;

json shown(const vault::BackupHeader& header) {
    return {{"instance",
             base::to_hex({reinterpret_cast<const char*>(header.instance.data()), header.instance.size()})},
            {"made_at", base::to_rfc3339(header.made)},
            {"commit_seq", header.head.commit_seq},
            {"log_size", header.head.size},
            {"log_root", base::to_hex(crypto::view(header.head.root))},
            {"files", header.files.size()},
            {"bytes", header.bytes()}};
}

void print_header(const json& header) {
    std::cout << "instance  " << header.value("instance", "") << "\nmade      " << header.value("made_at", "")
              << "\nentries   " << header.value("log_size", 0ULL) << "\nroot      "
              << header.value("log_root", "") << "\nfiles     " << header.value("files", 0ULL) << " with "
              << header.value("bytes", 0ULL) << " bytes\n";
}

/// Percent of the bytes, on a terminal.
vault::BackupProgress progress_on(Output output, std::string_view what) {
    if (output == Output::json || ::isatty(STDERR_FILENO) != 1) return {};
    return [what](std::uint64_t done, std::uint64_t total) {
        std::cerr << "\r\x1b[K" << what << ' ' << (total == 0 ? 100 : done * 100 / total) << " %"
                  << std::flush;
        if (done == total) std::cerr << "\r\x1b[K" << std::flush;
        return true;
    };
}

/// With a key: that this store wrote the header, and that every row opens.
base::Result<vault::StoreExamination> examine(const std::filesystem::path& backup, const Opening& opening,
                                              Output output) {
    const auto engine = vault::open_rocksdb_read_only(backup / "store");
    if (!engine) return std::unexpected(engine.error());
    const auto input = opening(**engine);
    if (!input) return std::unexpected(input.error());
    const auto keys = vault::KeyRing::unseal(**engine, *input);
    if (!keys) return std::unexpected(keys.error());
    const auto key = (*keys)->owner_key(**engine, {}, (*keys)->instance(), vault::kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    const auto bytes = vault::read_file(backup / "header", vault::kMaxBackupHeaderBytes);
    const auto authentic = vault::authenticate_backup_header(bytes.value_or(""), vault::backup_key(**key));
    if (!authentic) return std::unexpected(authentic.error());
    return vault::examine_store(**engine, **keys, examination_progress(output));
}

struct Newer {
    std::uint64_t entries = 0;
    std::string pin;  // its file
};
/// What the pin of this instance knows beyond the backup; nothing without a pin.
std::optional<Newer> newer_elsewhere(const vault::BackupHeader& header, const Config& config) {
    if (!config.pin_dir) return std::nullopt;
    const auto file =
        *config.pin_dir /
        (base::to_hex({reinterpret_cast<const char*>(header.instance.data()), header.instance.size()}) +
         ".pin");
    const auto pinned = vault::look_at_pin(file);
    if (!pinned) return std::nullopt;
    const auto size = pinned->head.size;
    return Newer{size > header.head.size ? size - header.head.size : 0, file.string()};
}

/// Backups of this store in the config's folder that hold more than this one; nothing without such a folder.
base::Result<std::optional<std::vector<vault::FoundBackup>>> newer_backups(const vault::BackupHeader& header,
                                                                           const Config& config) {
    if (!config.backup_dir) return std::nullopt;
    auto found = vault::backups_in(*config.backup_dir);
    if (!found) return std::unexpected(std::move(found).error());
    return vault::longer_than(std::move(*found), header.instance, header.head.size);
}

void print_newer_backups(const std::vector<vault::FoundBackup>& newer, const vault::BackupHeader& than) {
    for (const auto& [name, header] : newer)
        std::cout << "backup.dir has a newer backup of this store: " << name << ", made "
                  << base::to_rfc3339(header.made) << ", with " << header.head.size - than.head.size
                  << " entries more.\n";
}

}  // namespace

base::Status check_backup(const BackupCheck& check, Output output) {
    if (check.opening)
        if (auto locked = crypto::prove_locked_memory(); !locked) return locked;
    const auto header = vault::verify_backup(check.backup, progress_on(output, "reading the backup"));
    if (!header) return std::unexpected(header.error());
    auto found = shown(*header);
    if (!check.opening) {
        found["authentic"] = nullptr;
        if (output == Output::json) {
            std::cout << found.dump() << std::endl;
            return {};
        }
        print_header(found);
        std::cout
            << "Every file is as it was backed up, and the log hashes to this root. Not checked without a\n"
               "key: who wrote the backup, and whether every row opens. Give what opens it.\n";
        return {};
    }
    const auto examined = examine(check.backup, *check.opening, output);
    if (!examined) return std::unexpected(examined.error());
    found["authentic"] = true;
    if (output == Output::json) {
        found["store"] = examination_json(*examined);
        std::cout << found.dump() << std::endl;
    } else {
        print_header(found);
        print_examination(*examined);
    }
    return verdict_on(*examined);
}

base::Status restore(const std::filesystem::path& backup, const Config& config, Output output) {
    const auto wanted = vault::read_backup_header(backup);
    if (!wanted) return std::unexpected(wanted.error());
    const auto backups = newer_backups(*wanted, config);
    if (!backups) return std::unexpected(backups.error());
    const auto header =
        vault::restore_backup(backup, config.data_dir, progress_on(output, "restoring the backup"));
    if (!header) return std::unexpected(header.error());
    const auto newer = newer_elsewhere(*header, config);
    auto done = shown(*header);
    done["data_dir"] = config.data_dir.string();
    done["newer_elsewhere"] = newer ? json(newer->entries) : json();
    done["newer_backups"] = json();
    if (*backups) {
        done["newer_backups"] = json::array();
        for (const auto& found : **backups) done["newer_backups"].push_back(found.name);
    }
    if (output == Output::json) {
        std::cout << done.dump() << std::endl;
        return {};
    }
    print_header(done);
    std::cout << "The store is in " << config.data_dir.string()
              << ". It opens fenced: session tokens and connect\n"
              << "links are void, and no agent is served before `claviger backup release`.\n";
    if (*backups) print_newer_backups(**backups, *header);
    if (!newer)
        std::cout << "Nothing here says what was written after the backup: there is no pin of this store.\n";
    else if (newer->entries == 0)
        std::cout << "The pin knows of nothing newer than the backup.\n";
    else
        std::cout << "The pin knows of " << newer->entries
                  << " entries that the backup does not have, so the store is refused until you run\n"
                  << "  claviger pin accept --config FILE --root " << done.value("log_root", "") << '\n';
    return {};
}

}  // namespace claviger::server
