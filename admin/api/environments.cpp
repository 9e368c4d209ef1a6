#include "admin/api/environments.h"

#include "admin/api/announce.h"
#include "admin/api/environment_fields.h"
#include "admin/api/page.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;

constexpr TextLimits kName{1, 255};

base::Status store_new(vault::Change& change, vault::Environment& environment,
                       const std::vector<base::VaultId>& bound_before) {
    if (auto fine = check_references(change.catalog(), environment, bound_before); !fine) return fine;
    environment.created = environment.updated = change.now();
    if (auto told = announce(change, Action::create, environment); !told) return told;
    return change.store(environment);
}

}  // namespace

net::awaitable<Answered> create_environment(Call& call) {
    vault::Environment environment;
    Fields in(call.body);
    environment.name = in.text("name", kName);
    read_environment(in, environment, EnvironmentIs::made);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    environment.id = crypto::random_id<base::EnvironmentId>();
    environment.workspace = call.workspace();
    const auto stored = co_await change(
        call, [&](vault::Change& change) -> base::Status { return store_new(change, environment, {}); });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(environment));
}

net::awaitable<Answered> list_environments(Call& call) {
    const auto page = page_of<vault::Environment>(call, {.name = {"environments", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& environment : page->objects) data.push_back(shown(*environment));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_environment(Call& call) {
    const auto environment = find<vault::Environment>(call.catalog(), call.workspace(), call.ids[0]);
    if (!environment) co_return std::unexpected(environment.error());
    co_return answer(shown(**environment));
}

net::awaitable<Answered> update_environment(Call& call) {
    vault::Environment updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Environment>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        Fields in(call.body);
        in.update("name", updated.name, kName);
        read_environment(in, updated, EnvironmentIs::updated);
        if (auto read = call.body.finish(); !read) return read;
        if (updated.archived)
            return base::failure(ErrorKind::invalid_request, "environment_archived",
                                 "Environment " + call.ids[0] + " is archived and cannot be changed.");
        if (auto fine = check_references(change.catalog(), updated, (*found)->vault_bindings); !fine)
            return fine;
        if (vault::encode_object(updated) == vault::encode_object(**found)) return {};
        updated.updated = change.now();
        if (auto told = announce(change, Action::update, updated); !told) return told;
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(updated));
}

net::awaitable<Answered> archive_environment(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Environment environment;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Environment>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        environment = **found;
        if (environment.archived) return {};
        environment.archived = environment.updated = change.now();
        if (auto told = announce(change, Action::archive, environment); !told) return told;
        return change.store(environment);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(environment));
}

net::awaitable<Answered> delete_environment(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Environment>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        const auto& id = (*found)->id;
        const auto users = change.catalog().page<vault::Session>(
            {.scope = call.workspace().raw, .after = {}, .limit = 1, .wanted = [&](const auto& session) {
                 return session.environment == id;
             }});
        if (!users.empty())
            return base::failure(ErrorKind::conflict, "environment.in_use",
                                 "Environment " + call.ids[0] + " belongs to session " +
                                     users.front()->id.text() + " and cannot be deleted.",
                                 "Delete the sessions first, or archive the environment instead.");
        if (auto told = announce(change, Action::erase, **found); !told) return told;
        return change.erase(**found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[0]}, {"type", "environment_deleted"}});
}

net::awaitable<Answered> duplicate_environment(Call& call) {
    const auto original = find<vault::Environment>(call.catalog(), call.workspace(), call.ids[0]);
    if (!original) co_return std::unexpected(original.error());
    auto copy = **original;
    Fields in(call.body);
    copy.name = in.text("name", kName);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    copy.id = crypto::random_id<base::EnvironmentId>();
    copy.created_seq = 0;
    copy.archived.reset();
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        return store_new(change, copy, (*original)->vault_bindings);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(copy));
}

}  // namespace claviger::admin::api
