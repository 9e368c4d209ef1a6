#include "server/key_file_change.h"

#include "server/change_now.h"
#include "vault/seal_slots.h"

namespace claviger::server {

base::Status add_key_file_slot(vault::Records& records, const vault::SealInput& current) {
    vault::NewSlot wanted;
    wanted.parameters = crypto::fresh_key_file_slot();
    wanted.parameters.key_id = crypto::key_file_id(current.secret);
    const auto& id = wanted.parameters.key_id;
    wanted.name = "key file " + base::to_hex({reinterpret_cast<const char*>(id.data()), id.size()});
    auto opening = crypto::slot_key(wanted.parameters, current.secret);
    if (!opening) return std::unexpected(std::move(opening).error());
    wanted.opening = std::move(*opening);
    const auto note = [](vault::Change& change, vault::Action action, const base::RawId& slot) {
        change.note(vault::EntryKind::seal, action, vault::ObjectKind::seal_slot, slot);
    };
    auto added = change_now(records, [&](vault::Change& change) -> base::Status {
        const auto slot = vault::add_slot(change.transaction(), wanted);
        if (!slot) return std::unexpected(slot.error());
        note(change, vault::Action::create, slot->parameters.slot);
        return {};
    });
    if (!added) return added;
    const auto opened = records.keys().check(records.engine(), current);
    if (!opened) return std::unexpected(opened.error());
    return change_now(records, [&](vault::Change& change) -> base::Status {
        note(change, vault::Action::validate, *opened);
        return vault::slot_verified(change.transaction(), *opened);
    });
}

}  // namespace claviger::server
