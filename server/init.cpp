#include "crypto/secret.h"
#include "server/seal_input.h"
#include "server/wiring.h"
#include "vault/records.h"

#include <nlohmann/json.hpp>

#include <iostream>

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

    std::error_code failed;
    std::filesystem::create_directories(request.data_dir, failed);
    std::filesystem::permissions(request.data_dir, std::filesystem::perms::owner_all, failed);
    if (failed)
        return base::failure(base::ErrorKind::unavailable, "storage.unavailable",
                             "The data folder cannot be created: " + failed.message() + ".");
    auto engine = vault::open_rocksdb(request.data_dir / "store");
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
