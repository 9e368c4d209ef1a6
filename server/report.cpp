#include "server/report.h"

#include <iostream>

namespace claviger::server {

int report(const base::Status& status) {
    if (status) return 0;
    const auto& error = status.error();
    std::cerr << "claviger: " << error.message << '\n';
    if (!error.hint.empty()) std::cerr << "  " << error.hint << '\n';
    if (!error.detail.empty()) std::cerr << "  (" << error.code << ": " << error.detail << ")\n";
    return kFailed;
}

}  // namespace claviger::server
