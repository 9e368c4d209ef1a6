#include "crypto/secret.h"
#include "server/seal_input.h"
#include "server/wiring.h"
#include "vault/durable_file.h"
#include "vault/records.h"

#include <nlohmann/json.hpp>

#include <iostream>

#include <sys/stat.h>

namespace claviger::server {

base::Status initialise(const InitRequest& request, Output output) {
    if (auto locked = crypto::prove_locked_memory(); !locked) return locked;
    std::vector<vault::SealInput> slots;
    if (request.key_file) {
        if (!std::filesystem::exists(*request.key_file))
            if (auto created = create_key_file(*request.key_file); !created) return created;
        auto input = read_key_file(*request.key_file);
        if (!input) return std::unexpected(std::move(input).error());
        slots.push_back(std::move(*input));
    }
    if (request.passphrase) {
        auto input = read_passphrase_from_stdin();
        if (!input) return std::unexpected(std::move(input).error());
        slots.push_back(std::move(*input));
    }
    if (slots.empty())
        return base::failure(base::ErrorKind::invalid_request, "seal.no_slot",
                             "A store needs at least one seal slot.",
                             "Give --key-file FILE, --passphrase-stdin, or both.");

    const auto store = request.data_dir / "store";
    // The folder's own name must outlive a power cut as well, whoever made it.
    if (!vault::make_folders(request.data_dir) || ::chmod(request.data_dir.c_str(), 0700) != 0 ||
        !vault::sync_folder(store.parent_path().parent_path()))
        return base::failure(base::ErrorKind::unavailable, "storage.unavailable",
                             "The data folder cannot be created: " + vault::system_words() + ".",
                             "Name a folder of your own with --data, or one that you may make.");
    auto engine = vault::open_rocksdb(store);
    if (!engine) return std::unexpected(std::move(engine).error());
    auto first = vault::Records::initialise(**engine, slots, crypto::PassphraseStrength::sensitive,
                                            base::SystemClock());
    if (!first) return std::unexpected(std::move(first).error());

    if (output == Output::json) {
        std::cout << nlohmann::json{{"admin_api_key", first->api_key},
                                    {"workspace_id", first->workspace.text()}}
                         .dump()
                  << std::endl;
    } else {
        std::cout << "The store is ready in " << request.data_dir.string() << ".\n\n"
                  << "Admin API key, shown this once:\n  " << first->api_key << "\n\n"
                  << "Keep it in a file that only you can read, for the command line: "
                     "~/.config/claviger/admin.key\n";
        if (request.key_file)
            std::cout << "Whoever has " << request.key_file->string()
                      << " and the data folder can open the store; without "
                      << (request.passphrase ? "it you need the passphrase.\n"
                                             : "it nobody can. Keep a copy elsewhere.\n");
        std::cout << "Next: claviger serve --config FILE\n";
    }
    crypto::wipe(std::span(first->api_key));
    return {};
}

}  // namespace claviger::server
