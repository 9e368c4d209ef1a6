#include "server/fsck.h"

#include "server/seal_input.h"
#include "vault/store_examination.h"

#include <nlohmann/json.hpp>

#include <iostream>

#include <unistd.h>

namespace claviger::server {
namespace {

using nlohmann::json;

void print_json(const vault::StoreExamination& found) {
    json faults = json::array();
    for (const auto& fault : found.named)
        faults.push_back({{"place", fault.place}, {"code", fault.code}, {"why", fault.why}});
    std::cout << json{{"sound", found.sound()},
                      {"commit_seq", found.commit_seq},
                      {"objects", found.objects},
                      {"secrets", found.secrets},
                      {"keys", found.keys},
                      {"names", found.names},
                      {"log",
                       {{"size", found.entries},
                        {"root",
                         base::to_hex({reinterpret_cast<const char*>(found.root.data()), found.root.size()})},
                        {"tiles", found.tiles},
                        {"index_blocks", found.index_blocks}}},
                      {"faults", found.faults},
                      {"named_faults", std::move(faults)}}
                     .dump()
              << std::endl;
}

void print_text(const vault::StoreExamination& found) {
    std::cout << "objects  " << found.objects << " rows open\n"
              << "secrets  " << found.secrets << " open\n"
              << "keys     " << found.keys << '\n'
              << "log      " << found.entries << " entries, root "
              << base::to_hex({reinterpret_cast<const char*>(found.root.data()), found.root.size()}) << '\n'
              << "commit   " << found.commit_seq << '\n';
    for (const auto& fault : found.named)
        std::cout << "FAULT    " << fault.place << ": " << fault.why << " (" << fault.code << ")\n";
    if (found.faults > found.named.size())
        std::cout << "         and " << found.faults - found.named.size() << " more\n";
    std::cout << (found.sound() ? "The store is as it was written.\n" : "");
}

}  // namespace

base::Status check_store_files(const FsckRequest& request, Output output) {
    if (auto locked = crypto::prove_locked_memory(); !locked) return locked;
    auto input = request.key_file ? read_key_file(*request.key_file) : read_passphrase_from_stdin();
    if (!input) return std::unexpected(std::move(input).error());
    const auto store = request.data_dir / "store";
    std::error_code unreadable;
    if (!std::filesystem::exists(store, unreadable))
        return base::failure(base::ErrorKind::invalid_request, "store.missing",
                             "There is no store in " + request.data_dir.string() + ".",
                             "Name the data folder of a server, or of a backup, with --data.");
    auto engine = vault::open_rocksdb(store);
    if (!engine) return std::unexpected(std::move(engine).error());
    auto keys = vault::KeyRing::unseal(**engine, *input);
    if (!keys) return std::unexpected(std::move(keys).error());

    const bool shows = output == Output::text && ::isatty(STDERR_FILENO) == 1;
    const auto found = vault::examine_store(
        **engine, **keys, [&](std::string_view what, std::uint64_t done, std::uint64_t total) {
            if (!shows) return;
            std::cerr << "\r\x1b[K" << what << ' ' << done;
            if (total != 0) std::cerr << " of " << total << " (" << done * 100 / total << " %)";
            std::cerr << std::flush;
        });
    if (shows) std::cerr << "\r\x1b[K" << std::flush;
    if (!found) return std::unexpected(found.error());
    output == Output::json ? print_json(*found) : print_text(*found);
    if (found->sound()) return {};
    return base::failure(base::ErrorKind::corrupt, "store.faults",
                         std::to_string(found->faults) + " faults were found.",
                         "Do not serve from this store: restore a backup, and find out who can write to it.");
}

}  // namespace claviger::server
