#include "crypto/key_tree.h"

#include "base/require.h"

#include <sodium.h>

namespace claviger::crypto {
namespace {

/// Exactly crypto_kdf_CONTEXTBYTES characters; they never change, or everything below stays sealed.
const char* label_of(Purpose purpose) {
    switch (purpose) {
        case Purpose::vault_key_wrap:
            return "VKWRAP__";
        case Purpose::state_mac:
            return "STATEMAC";
        case Purpose::audit_fingerprint:
            return "AUDITFPR";
        case Purpose::row_sums:
            return "ROWSUMS_";
        case Purpose::session_ids:
            return "SESSIDS_";
        case Purpose::cursors:
            return "CURSORS_";
        case Purpose::agent_handles:
            return "HANDLES_";
        case Purpose::connect_secrets:
            return "CONNECT_";
        case Purpose::webhook_secrets:
            return "WEBHOOKS";
        case Purpose::outbox_secrets:
            return "OUTBOX__";
        case Purpose::token_fingerprint:
            return "TOKENFPR";
        case Purpose::log_pin:
            return "LOGPIN__";
        case Purpose::backup_header:
            return "BACKUP__";
    }
    base::require(false, "every purpose has a label");
    return "";
}

}  // namespace

Key derive(const Key& root, Purpose purpose, std::uint64_t id) {
    static_assert(crypto_kdf_CONTEXTBYTES == 8 && crypto_kdf_KEYBYTES == Key::kBytes);
    return Key::filled([&](std::span<std::byte> out) {
        root.expose([&](std::span<const std::byte> key) {
            crypto_kdf_derive_from_key(reinterpret_cast<unsigned char*>(out.data()), out.size(), id,
                                       label_of(purpose), reinterpret_cast<const unsigned char*>(key.data()));
        });
    });
}

}  // namespace claviger::crypto
