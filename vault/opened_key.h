// A data key that was opened and stays open, so that the next use of its credential opens the value alone.
#pragma once

#include "crypto/secret.h"

#include <atomic>
#include <cstddef>

namespace claviger::vault {

/// Holds at most one key, in locked memory, wiped when this goes. Safe from any thread; waits for nobody.
class OpenedKey {
public:
    OpenedKey() = default;
    ~OpenedKey();
    OpenedKey(const OpenedKey&) = delete;
    OpenedKey& operator=(const OpenedKey&) = delete;

    /// Null until keep() kept one. Lives as long as this.
    const crypto::Key* get() const { return key_.load(std::memory_order_acquire); }
    /// Keeps the first key it is given; none at all while kMost are kept in the process, because locked
    /// memory is scarce.
    void keep(crypto::Key key);

    static constexpr std::size_t kMost = 4'096;

private:
    std::atomic<const crypto::Key*> key_ = nullptr;  // owned
};

}  // namespace claviger::vault
