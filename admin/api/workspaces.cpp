#include "admin/api/workspaces.h"

#include "admin/api/api_keys.h"
#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

Json shown_workspace(const vault::Workspace& workspace) {
    return {{"id", workspace.id.text()},
            {"type", "workspace"},
            {"name", workspace.name},
            {"created_at", shown(workspace.created)}};
}

bool is_first(const vault::Catalog& catalog, const base::WorkspaceId& id) {
    using Order = vault::PageQuery<vault::Workspace>::Order;
    const auto oldest = catalog.page<vault::Workspace>(
        {.scope = {}, .order = Order::oldest_first, .after = {}, .limit = 1, .wanted = {}});
    return !oldest.empty() && oldest.front()->id == id;
}

}  // namespace

net::awaitable<Answered> create_workspace(Call& call) {
    if (!is_first(call.catalog(), call.workspace()))
        co_return base::failure(
            base::ErrorKind::denied, "workspace.not_first",
            "Workspaces are created with an admin key of the instance's first workspace.");
    vault::Workspace workspace;
    Fields in(call.body);
    workspace.name = in.text("name", {1, 255});
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    workspace.id = crypto::random_id<base::WorkspaceId>();
    auto key = new_api_key(workspace.id, "first admin key", vault::Role::admin);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        workspace.created = key.stored.created = change.now();
        change.create_key_of(workspace.id.raw, workspace.id.raw);
        change.note(EntryKind::admin, Action::create, ObjectKind::workspace, workspace.id.raw);
        change.note(EntryKind::admin, Action::create, ObjectKind::api_key, key.stored.id.raw);
        if (auto made = change.store(workspace); !made) return made;
        return change.store(key.stored);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer(shown_workspace(workspace));
    made.shown_once = std::move(key.text);
    made.shown_as = "admin_api_key";
    co_return made;
}

net::awaitable<Answered> list_workspaces(Call& call) {
    const bool all = call.key.role == vault::Role::admin && is_first(call.catalog(), call.workspace());
    const auto page = page_of<vault::Workspace>(
        call, {.name = {"workspaces", {}}, .wanted = [&](const vault::Workspace& workspace) {
                   return all || workspace.id == call.workspace();
               }});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& workspace : page->objects) data.push_back(shown_workspace(*workspace));
    co_return page_answer(std::move(data), page->next);
}

}  // namespace claviger::admin::api
