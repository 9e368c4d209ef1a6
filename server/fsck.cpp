#include "server/fsck.h"

#include "server/examination_text.h"
#include "vault/store_examination.h"

#include <nlohmann/json.hpp>

#include <iostream>

namespace claviger::server {
base::Status check_store_files(const FsckRequest& request, Output output) {
    if (auto locked = crypto::prove_locked_memory(); !locked) return locked;
    const auto store = request.data_dir / "store";
    std::error_code unreadable;
    if (!std::filesystem::exists(store, unreadable))
        return base::failure(
            base::ErrorKind::invalid_request, "store.missing",
            "There is no store in " + request.data_dir.string() + ".",
            "Name the data folder of a server with --data; `claviger backup verify` reads backups.");
    auto engine = vault::open_rocksdb(store);
    if (!engine) return std::unexpected(std::move(engine).error());
    const auto input = request.opening(**engine);
    if (!input) return std::unexpected(input.error());
    auto keys = vault::KeyRing::unseal(**engine, *input);
    if (!keys) return std::unexpected(std::move(keys).error());

    const auto found = vault::examine_store(**engine, **keys, examination_progress(output));
    if (!found) return std::unexpected(found.error());
    if (output == Output::json)
        std::cout << examination_json(*found).dump() << std::endl;
    else
        print_examination(*found);
    return verdict_on(*found);
}

}  // namespace claviger::server
