#include "admin/api/announce.h"

#include "notify/event.h"

#include <algorithm>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

std::string_view past_of(Action action) {
    switch (action) {
        case Action::create:
            return "created";
        case Action::update:
            return "updated";
        case Action::archive:
            return "archived";
        case Action::erase:
            return "deleted";
        case Action::promote:
            return "rotated";
        case Action::roll_back:
            return "rolled_back";
        case Action::remind:
            return "rotation_due";
        default:
            return {};
    }
}

/// Posts "<noun>.<what happened>" if there is such an event.
base::Status post(vault::Change& change, std::string_view noun, std::string_view past, notify::Event event) {
    const auto wanted = std::string(noun) + "." + std::string(past);
    const auto known = notify::event_types();
    const auto type = std::ranges::find(known, wanted);
    if (type == known.end()) return {};
    event.type = *type;
    return notify::post(change, event);
}

template <class T>
notify::Event about(const T& object) {
    return {.type = {}, .workspace = object.workspace, .id = object.id.text(), .vault = {}, .more = {}};
}

}  // namespace

base::Status announce(vault::Change& change, Action action, const vault::Vault& vault) {
    change.note(EntryKind::write, action, ObjectKind::vault, vault.id.raw);
    return post(change, "vault", past_of(action), about(vault));
}

base::Status announce(vault::Change& change, Action action, const vault::Credential& credential,
                      EntryKind kind) {
    change.note(kind, action, ObjectKind::credential, credential.id.raw, credential.vault.raw);
    auto event = about(credential);
    event.vault = credential.vault;
    return post(change, "vault_credential", past_of(action), std::move(event));
}

vault::LogEntry value_entry(Action action, const vault::Credential& credential) {
    vault::LogEntry entry;
    entry.kind = EntryKind::rotate;
    entry.action = action;
    entry.verdict = vault::Verdict::allowed;
    entry.vault = credential.vault.raw;
    entry.credential = credential.id.raw;
    entry.credential_version = credential.version;
    entry.object = ObjectKind::credential;
    entry.object_id = credential.id.raw;
    return entry;
}

base::Status announce_rotation(vault::Change& change, Action action, const vault::Credential& credential) {
    auto event = about(credential);
    event.vault = credential.vault;
    event.more = {{"version", credential.version}};
    return post(change, "vault_credential", past_of(action), std::move(event));
}

base::Status announce(vault::Change& change, Action action, const vault::Environment& environment) {
    change.note(EntryKind::write, action, ObjectKind::environment, environment.id.raw);
    return post(change, "environment", past_of(action), about(environment));
}

base::Status announce(vault::Change& change, Action action, const vault::Agent& agent) {
    change.note(EntryKind::write, action, ObjectKind::agent, agent.id.raw);
    return post(change, "agent", past_of(action), about(agent));
}

base::Status announce(vault::Change& change, Action action, const vault::Session& session) {
    change.note(EntryKind::write, action, ObjectKind::session, session.id.raw);
    const auto past = action == Action::archive ? "status_terminated" : past_of(action);
    return post(change, "session", past, about(session));
}

}  // namespace claviger::admin::api
