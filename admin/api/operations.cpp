#include "admin/api/operations.h"

#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "vault/fence.h"
#include "vault/key_rotations.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using vault::Operation;
using vault::OperationKind;
using Steering = base::Result<Operation> (*)(vault::Change& change, Operation operation);

/// What belongs to other workspaces does not exist, but the root key is everybody's.
base::Result<vault::Ref<Operation>> operation_of(const Call& call, const vault::Catalog& catalog) {
    const auto id = base::OperationId::parse(call.ids[0]);
    auto operation = id ? catalog.find<Operation>(*id) : nullptr;
    if (!operation ||
        (operation->workspace != call.workspace() && operation->kind != OperationKind::root_key_rotation))
        return base::failure(base::ErrorKind::not_found, "operation.not_found",
                             "Operation not found: " + (id ? id->text() : policy::in_quotes(call.ids[0])),
                             "`claviger operation list` shows those there are.");
    return operation;
}

net::awaitable<Answered> steer(Call& call, Steering steering) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto operation = operation_of(call, change.catalog());
        if (!operation) return std::unexpected(operation.error());
        const auto steered = steering(change, **operation);
        return steered ? base::Status() : std::unexpected(steered.error());
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (call.rotations != nullptr) call.rotations->wake();
    const auto operation = operation_of(call, call.catalog());
    if (!operation) co_return std::unexpected(operation.error());
    co_return answer(shown_operation(call, **operation));
}

Json shown_problem(const std::optional<vault::Problem>& problem) {
    if (!problem) return nullptr;
    return {{"code", problem->code}, {"message", problem->message}, {"hint", problem->hint}};
}

Json shown_progress(const Call& call, const Operation& operation) {
    const auto pace = call.rotations == nullptr ? std::nullopt : call.rotations->pace(operation);
    return {{"done", operation.done},
            {"total", operation.total},
            {"per_second", pace ? Json(static_cast<std::uint64_t>(pace->per_second)) : Json(nullptr)},
            {"remaining_seconds", pace && pace->remaining ? Json(pace->remaining->count()) : Json(nullptr)}};
}

net::awaitable<Answered> set_going(Call& call, Steering steering) {
    if (auto possible = can_rotate(call); !possible) co_return std::unexpected(std::move(possible).error());
    co_return co_await steer(call, steering);
}

}  // namespace

base::Status can_rotate(const Call& call) {
    if (call.rotations == nullptr)
        return base::failure(base::ErrorKind::unavailable, "keys.not_rotating",
                             "This server carries out no rotations.",
                             "This is a mistake in Claviger; please report it.");
    const auto fence = vault::fence_of(call.records);
    if (!fence) return std::unexpected(fence.error());
    if (!*fence) return {};
    return base::failure(
        base::ErrorKind::conflict, "fence.not_released",
        "This store was restored from a backup, and no keys are rotated before it is released.",
        "Look at it with `claviger backup fence`, release it with `claviger backup release`, "
        "then try again.");
}

Json shown_operation(const Call& call, const Operation& operation) {
    const bool of_vault = operation.kind == OperationKind::vault_key_rotation;
    return {{"id", operation.id.text()},
            {"type", "operation"},
            {"kind", vault::name_of(operation.kind)},
            {"state", vault::name_of(operation.state)},
            {"step", vault::name_of(operation.step)},
            {"rolling_back", operation.rolling_back},
            {"vault_id", of_vault ? Json(base::VaultId{operation.about}.text()) : Json(nullptr)},
            {"from", operation.from},
            {"to", operation.to},
            {"progress", shown_progress(call, operation)},
            {"problem", shown_problem(operation.problem)},
            {"retire_at", shown(operation.retire_at)},
            {"created_at", shown(operation.created)},
            {"updated_at", shown(operation.updated)},
            {"finished_at", shown(operation.finished)}};
}

net::awaitable<Answered> list_operations(Call& call) {
    const auto page = page_of<Operation>(call, {.name = {"operations", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& operation : page->objects) data.push_back(shown_operation(call, *operation));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_operation(Call& call) {
    const auto operation = operation_of(call, call.catalog());
    if (!operation) co_return std::unexpected(operation.error());
    co_return answer(shown_operation(call, **operation));
}

net::awaitable<Answered> pause_operation(Call& call) { return steer(call, vault::pause); }
net::awaitable<Answered> resume_operation(Call& call) { return set_going(call, vault::resume); }
net::awaitable<Answered> roll_back_operation(Call& call) { return set_going(call, vault::roll_back); }
net::awaitable<Answered> retire_operation(Call& call) { return set_going(call, vault::retire); }

}  // namespace claviger::admin::api
