// The seal slots of the instance: the ways to open it after a restart. Seen, added, verified and removed
// here; no secret that opens one is ever sent or shown, only the opening key of one sealed root key.
#pragma once

#include "admin/api/call.h"
#include "admin/api/fields.h"

namespace claviger::admin::api {

/// A slot as everybody with access to the status may see it: what it is opened with, never what opens it.
Json shown_slot(const vault::SlotSummary& slot);
/// What is known of a slot without trying it.
enum class SlotStanding { never_verified, drill_overdue, proven };
/// A drill is overdue 90 days after an emergency slot was last opened.
SlotStanding standing_of(const vault::SlotSummary& slot, base::Time now);
/// {"instance":…,"slots":[…],"warnings":[…]}: what is weak is said in words, `now` tells when.
Json shown_seal(const vault::InstanceSummary& instance, base::Time now);

/// 32 bytes in base64url, or a fault; the text and its bytes stay in locked memory and are wiped.
std::optional<crypto::Key> opening_key_of(Fields& in, std::string_view name);

net::awaitable<Answered> list_seal_slots(Call& call);
/// invalid_request "seal.passphrase_refused" for a passphrase that was not asked for by name.
net::awaitable<Answered> create_seal_slot(Call& call);
/// The slot gave the root key back: unauthenticated "seal.wrong_key" as a conflict when it did not.
net::awaitable<Answered> verify_seal_slot(Call& call);
/// With destroy_token_key the slot's keys in its token are destroyed, too: what they sealed opens nowhere.
net::awaitable<Answered> delete_seal_slot(Call& call);

}  // namespace claviger::admin::api
