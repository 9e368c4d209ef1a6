#include "oauth/grant_notice.h"

#include "notify/event.h"

namespace claviger::oauth {
namespace {

/// The table's names where ours differ.
std::string_view event_type_of(std::string_view webhook) {
    return webhook == "revocation_incomplete" ? "connection.revocation_incomplete" : webhook;
}

/// The events after which no refresh will come about by itself.
bool means_refresh_failed(std::string_view webhook) {
    return webhook == "connection.needs_reauth" || webhook == "client.needs_attention";
}

}  // namespace

base::Status post_notice(vault::Change& change, const vault::Credential& credential,
                         const Transition& transition) {
    if (!transition.taken() || transition.webhook.empty()) return {};
    const auto& facts = transition.facts;
    notify::Event event{.type = event_type_of(transition.webhook),
                        .workspace = credential.workspace,
                        .id = credential.id.text(),
                        .vault = credential.vault,
                        .more = {}};
    if (means_refresh_failed(transition.webhook)) {
        auto failed = event;
        failed.type = "vault_credential.refresh_failed";
        if (auto posted = notify::post(change, failed); !posted) return posted;
    }
    event.more = {{"epoch", facts.epoch},
                  {"generation", facts.gen},
                  {"state", std::string(to_text(facts.state))},
                  {"reason", facts.reason}};
    return notify::post(change, event);
}

}  // namespace claviger::oauth
