// What a change to an object leaves behind: its entry in the access log, and the event for those who want to
// hear of it.
#pragma once

#include "vault/records.h"

namespace claviger::admin::api {

/// Notes the entry and posts the event, "vault.created" and its like, where docs/webhooks.md has one. `kind`
/// is EntryKind::rotate when a secret was replaced.
base::Status announce(vault::Change& change, vault::Action action, const vault::Vault& vault);
base::Status announce(vault::Change& change, vault::Action action, const vault::Credential& credential,
                      vault::EntryKind kind = vault::EntryKind::write);
/// The entry of a step of a rotation, about the version that `credential` names.
vault::LogEntry value_entry(vault::Action action, const vault::Credential& credential);
/// Posts the event of a step of a rotation: promote, roll_back, remind.
base::Status announce_rotation(vault::Change& change, vault::Action action,
                               const vault::Credential& credential);
base::Status announce(vault::Change& change, vault::Action action, const vault::Environment& environment);
base::Status announce(vault::Change& change, vault::Action action, const vault::Agent& agent);
base::Status announce(vault::Change& change, vault::Action action, const vault::Session& session);

}  // namespace claviger::admin::api
