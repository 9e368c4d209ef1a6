// The keys that follow from the root key, one per purpose.
#pragma once

#include "crypto/secret.h"

#include <cstdint>

namespace claviger::crypto {

enum class Purpose {
    vault_key_wrap,     // "VKWRAP__"
    state_mac,          // "STATEMAC"
    audit_fingerprint,  // "AUDITFPR"
    row_sums,           // "ROWSUMS_"
    session_ids,        // "SESSIDS_"
    cursors,            // "CURSORS_"
    agent_handles,      // "HANDLES_"
    connect_secrets,    // "CONNECT_"
    webhook_secrets,    // "WEBHOOKS"
    outbox_secrets,     // "OUTBOX__"
    token_fingerprint,  // "TOKENFPR"
    log_pin,            // "LOGPIN__", of the instance's own key
    backup_header,      // "BACKUP__", of the instance's own key
};

/// The same root, purpose and id always give the same key; any other gives an unrelated one.
Key derive(const Key& root, Purpose purpose, std::uint64_t id = 1);

}  // namespace claviger::crypto
