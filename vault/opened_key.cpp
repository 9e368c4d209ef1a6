#include "vault/opened_key.h"

#include <memory>
#include <utility>

namespace claviger::vault {
namespace {

std::atomic<std::size_t> kept = 0;  // in the process

}  // namespace

OpenedKey::~OpenedKey() {
    const std::unique_ptr<const crypto::Key> key(key_.load(std::memory_order_acquire));
    if (key) kept.fetch_sub(1, std::memory_order_relaxed);
}

void OpenedKey::keep(crypto::Key key) {
    if (kept.fetch_add(1, std::memory_order_relaxed) < kMost) {
        auto owned = std::make_unique<const crypto::Key>(std::move(key));
        const crypto::Key* none = nullptr;
        if (key_.compare_exchange_strong(none, owned.get(), std::memory_order_acq_rel)) {
            static_cast<void>(owned.release());
            return;
        }
    }
    kept.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace claviger::vault
