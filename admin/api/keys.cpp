#include "admin/api/keys.h"

#include "admin/api/beside.h"
#include "admin/api/fields.h"
#include "admin/api/operations.h"
#include "admin/api/seal_slots.h"
#include "admin/api/shown.h"
#include "vault/key_rotations.h"

#include <nlohmann/json.hpp>

#include <cstring>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

constexpr std::uint64_t kLongestKept = 366 * 86'400;
constexpr int kPreparations = 3;  // while somebody changes seal slots

/// {"slot":…,"opening_key":…}, each once.
void read_openings(Fields& in, vault::SlotAccess& access) {
    for (auto& given : in.objects("opening_keys", vault::kMaxSlots)) {
        const auto bytes = base::from_hex(given.text("slot", {32, 32}));
        auto key = opening_key_of(given, "opening_key");
        base::RawId slot{};
        if (bytes && bytes->size() == slot.size())
            std::memcpy(slot.data(), bytes->data(), slot.size());
        else
            given.refuse("slot", "must be the id of a seal slot.");
        if (key)
            access.openings.emplace_back(slot, std::move(*key));
        else
            given.refuse("opening_key", "is required.");
    }
}

vault::RotationWish read_wish(Fields& in) {
    vault::RotationWish wish;
    wish.paused = in.flag("paused", false);
    return wish;
}

base::Result<Json> shown_newest(const Call& call, const base::OperationId& id) {
    const auto operation = call.catalog().find<vault::Operation>(id);
    if (!operation)
        return base::failure(ErrorKind::internal, "operation.not_found", "The operation is not there.",
                             "This is a mistake in Claviger; please report it.");
    return shown_operation(call, *operation);
}

}  // namespace

net::awaitable<Answered> retrieve_root_key(Call& call) {
    const auto summary = vault::KeyRing::summary(call.records.engine());
    if (!summary) co_return std::unexpected(summary.error());
    auto epochs = Json::array();
    std::uint64_t active = 0;
    for (const auto& each : (*summary)->epochs) {
        if (each.state == "active") active = each.epoch;
        epochs.push_back({{"epoch", each.epoch}, {"state", each.state}, {"created_at", shown(each.created)}});
    }
    const auto operation = vault::root_rotation_under_way(call.catalog());
    co_return answer({{"type", "root_key"},
                      {"active_epoch", active},
                      {"epochs", std::move(epochs)},
                      {"operation", operation ? shown_operation(call, *operation) : Json(nullptr)}});
}

net::awaitable<Answered> rotate_root_key(Call& call) {
    vault::SlotAccess access;
    Fields in(call.body);
    read_openings(in, access);
    auto wish = read_wish(in);
    if (const auto kept = in.number_if_any("retire_after_seconds", 0, kLongestKept))
        wish.retire_after = std::chrono::seconds(*kept);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    if (auto possible = can_rotate(call); !possible) co_return std::unexpected(std::move(possible).error());
    access.token = call.settings.token_input;
    access.key_files = call.settings.key_files;

    base::OperationId id;
    base::Status begun;
    for (int tries = 0; tries < kPreparations; ++tries) {
        auto prepared = co_await beside<base::Result<vault::PreparedRoot>>(
            call, [&]() -> base::Result<vault::PreparedRoot> {
                return vault::prepare_root(call.records.keys(), call.records.engine(), access,
                                           call.records.clock().now());
            });
        if (!prepared) co_return std::unexpected(std::move(prepared).error());
        begun = co_await change(call, [&](vault::Change& change) -> base::Status {
            const auto operation = vault::begin_root_rotation(change, *prepared, call.workspace(), wish);
            if (!operation) return std::unexpected(operation.error());
            id = operation->id;
            return {};
        });
        if (begun || begun.error().code != "keys.slots_changed") break;
    }
    if (!begun) co_return std::unexpected(begun.error());
    call.rotations->wake();
    const auto shown = shown_newest(call, id);
    if (!shown) co_return std::unexpected(shown.error());
    co_return answer(*shown);
}

net::awaitable<Answered> rotate_vault_key(Call& call) {
    Fields in(call.body);
    const auto wish = read_wish(in);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    if (auto possible = can_rotate(call); !possible) co_return std::unexpected(std::move(possible).error());
    base::OperationId id;
    const auto begun = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        const auto operation = vault::begin_vault_rotation(change, **found, wish);
        if (!operation) return std::unexpected(operation.error());
        id = operation->id;
        return {};
    });
    if (!begun) co_return std::unexpected(begun.error());
    call.rotations->wake();
    const auto shown = shown_newest(call, id);
    if (!shown) co_return std::unexpected(shown.error());
    co_return answer(*shown);
}

}  // namespace claviger::admin::api
