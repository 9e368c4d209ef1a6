// What a transition of a grant tells the outside: the events of docs/webhooks.md, by the webhook column of
// the state machine.
#pragma once

#include "base/result.h"
#include "oauth/grant_event.h"
#include "vault/records.h"

namespace claviger::oauth {

/// For use inside Records::change, beside store_grant: the events that `transition` calls for, if any, in the
/// same commit. An event of our own by the name in Transition.webhook, with epoch, generation, state and
/// reason; and `vault_credential.refresh_failed`, as clients of the hosted API expect it, when a grant can be
/// refreshed no more without a person. Posts nothing for a refused transition or one without a webhook.
base::Status post_notice(vault::Change& change, const vault::Credential& credential,
                         const Transition& transition);

}  // namespace claviger::oauth
