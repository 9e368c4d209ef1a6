// What a workspace's webhook endpoints are told, and the one way to put it on its way: in the commit that
// makes it true.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "vault/records.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace claviger::notify {

/// Everything an endpoint can subscribe to; docs/webhooks.md says when each of them is sent.
std::span<const std::string_view> event_types();
bool is_event_type(std::string_view type);

/// Sent to one endpoint when somebody asks for it, subscribed or not.
inline constexpr std::string_view kTestEvent = "webhook_endpoint.test";

/// One member of an event's data beyond type and ids. Ids, codes and numbers alone: nothing of a secret.
struct Member {
    std::string_view name;
    std::variant<std::string, std::uint64_t> value;
};

struct Event {
    std::string_view type;  // one of event_types()
    base::WorkspaceId workspace;
    std::string id;  // of the object that it is about, "vcrd_01…"
    std::optional<base::VaultId> vault = {};
    std::vector<Member> more = {};
};

/// For use inside Records::change: one outbox item for each enabled endpoint of the workspace that wants the
/// event, in the same commit as everything else of this change. Nothing when nobody wants it. An endpoint
/// with kMostWaiting items is passed over, and the log says so. Errors: those of Change::store.
base::Status post(vault::Change& change, const Event& event);
inline constexpr std::size_t kMostWaiting = 10'000;

/// The body of a delivery: {"type":"event","id":"whe_…","created_at":…,"data":{…}}.
std::string event_body(const base::RawId& instance, const base::WebhookEventId& id, base::Time created,
                       const Event& event);

}  // namespace claviger::notify
