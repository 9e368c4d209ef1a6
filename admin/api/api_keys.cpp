#include "admin/api/api_keys.h"

#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;
using vault::Role;

Json shown_key(const vault::ApiKey& key) {
    return {{"id", key.id.text()},
            {"type", "api_key"},
            {"name", key.name},
            {"role", vault::name_of(key.role)},
            {"workspace_id", key.workspace.text()},
            {"created_at", shown(key.created)},
            {"revoked_at", shown(key.revoked)}};
}

std::string_view prefix_of(Role role) {
    switch (role) {
        case Role::admin:
            return "clv_admin_";
        case Role::operate:
            return "clv_operator_";
        case Role::auditor:
            return "clv_auditor_";
        case Role::agent_runner:
            return "clv_runner_";
    }
    return "clv_";
}

}  // namespace

NewApiKey new_api_key(const base::WorkspaceId& workspace, std::string name, Role role) {
    auto text = crypto::random_token_text(prefix_of(role));
    NewApiKey key{{.id = crypto::random_id<base::ApiKeyId>(),
                   .workspace = workspace,
                   .name = std::move(name),
                   .role = role,
                   .hash = vault::token_hash(text),
                   .revoked = {}},
                  crypto::Secret::copy_of(std::string_view(text))};
    crypto::wipe(std::span(text.data(), text.size()));
    return key;
}

net::awaitable<Answered> create_api_key(Call& call) {
    Fields in(call.body);
    auto name = in.text("name", {1, 255});
    constexpr std::array roles{Role::admin, Role::operate, Role::auditor, Role::agent_runner};
    const auto role = roles[in.word("role", {"admin", "operator", "auditor", "agent-runner"})];
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    auto key = new_api_key(call.workspace(), std::move(name), role);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        key.stored.created = change.now();
        change.note(EntryKind::admin, Action::create, ObjectKind::api_key, key.stored.id.raw);
        return change.store(key.stored);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer(shown_key(key.stored));
    made.shown_once = std::move(key.text);
    made.shown_as = "key";
    co_return made;
}

net::awaitable<Answered> list_api_keys(Call& call) {
    const auto page = page_of<vault::ApiKey>(call, {.name = {"api_keys", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& key : page->objects) data.push_back(shown_key(*key));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> revoke_api_key(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::ApiKey>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        auto key = **found;
        if (key.revoked) return {};
        const auto other_admins = change.catalog().page<vault::ApiKey>(
            {.scope = key.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& other) {
                 return other.role == Role::admin && !other.revoked && other.id != key.id;
             }});
        if (key.role == Role::admin && other_admins.empty())
            return base::failure(ErrorKind::conflict, "api_key.last_admin",
                                 "API key " + call.ids[0] + " is the workspace's last admin key.",
                                 "Create another admin key first.");
        key.revoked = change.now();
        change.note(EntryKind::admin, Action::revoke, ObjectKind::api_key, key.id.raw);
        return change.store(key);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[0]}, {"type", "api_key_revoked"}});
}

}  // namespace claviger::admin::api
