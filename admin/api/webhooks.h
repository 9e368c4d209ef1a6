// Webhook endpoints of the workspace: where its events are sent, signed with a secret that is shown once.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_webhook(Call& call);
net::awaitable<Answered> list_webhooks(Call& call);
net::awaitable<Answered> retrieve_webhook(Call& call);
net::awaitable<Answered> update_webhook(Call& call);
/// What waits for it is dropped.
net::awaitable<Answered> delete_webhook(Call& call);
/// The former secret signs beside the new one for a while, so that receivers can change over.
net::awaitable<Answered> regenerate_webhook_secret(Call& call);
/// One signed event right now, also to a disabled endpoint; the answer says what came of it.
net::awaitable<Answered> test_webhook(Call& call);
/// What waits to be delivered, oldest first.
net::awaitable<Answered> list_webhook_deliveries(Call& call);

}  // namespace claviger::admin::api
