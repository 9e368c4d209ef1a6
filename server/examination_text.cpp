#include "server/examination_text.h"

#include <nlohmann/json.hpp>

#include <iostream>

#include <unistd.h>

namespace claviger::server {

using nlohmann::json;

json examination_json(const vault::StoreExamination& found) {
    json faults = json::array();
    for (const auto& fault : found.named)
        faults.push_back({{"place", fault.place}, {"code", fault.code}, {"why", fault.why}});
    return {{"sound", found.sound()},
            {"commit_seq", found.commit_seq},
            {"objects", found.objects},
            {"secrets", found.secrets},
            {"keys", found.keys},
            {"names", found.names},
            {"log",
             {{"size", found.entries},
              {"root", base::to_hex(crypto::view(found.root))},
              {"tiles", found.tiles},
              {"index_blocks", found.index_blocks}}},
            {"faults", found.faults},
            {"named_faults", std::move(faults)}};
}

void print_examination(const vault::StoreExamination& found) {
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

vault::ExaminationProgress examination_progress(Output output) {
    if (output == Output::json || ::isatty(STDERR_FILENO) != 1) return {};
    return [](std::string_view what, std::uint64_t done, std::uint64_t total) {
        std::cerr << "\r\x1b[K" << what << ' ' << done;
        if (total != 0) std::cerr << " of " << total << " (" << done * 100 / total << " %)";
        if (done == total) std::cerr << "\r\x1b[K";
        std::cerr << std::flush;
    };
}

base::Status verdict_on(const vault::StoreExamination& found) {
    if (found.sound()) return {};
    return base::failure(base::ErrorKind::corrupt, "store.faults",
                         std::to_string(found.faults) + " faults were found.",
                         "Do not serve from this store: restore a backup, and find out who can write to it.");
}

}  // namespace claviger::server
