#include "admin/api/rotation.h"

#include "admin/api/announce.h"
#include "admin/api/credential_fields.h"
#include "admin/api/credentials.h"
#include "admin/api/shown.h"
#include "admin/api/validate.h"
#include "admin/api/version_uses.h"
#include "vault/rotation.h"

#include <nlohmann/json.hpp>

#include <chrono>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;
using vault::AuthType;
using vault::ValueState;

constexpr std::chrono::seconds kOverlap = std::chrono::days(1), kMostOverlap = std::chrono::days(30);

/// How a value comes into use.
struct Terms {
    bool verify = true;
    std::chrono::seconds overlap = kOverlap;
};

Terms read_terms(Fields& in) {
    Terms terms;
    terms.verify = in.flag("verify", true);
    if (const auto seconds =
            in.number_if_any("overlap_seconds", 0, static_cast<std::uint64_t>(kMostOverlap.count())))
        terms.overlap = std::chrono::seconds(*seconds);
    return terms;
}

/// The credential of the route, if its value is one that somebody else makes and hands over.
base::Result<vault::Ref<vault::Credential>> find_rotated(const Call& call, const vault::Catalog& catalog) {
    auto found = find_credential(call, catalog);
    if (!found) return found;
    if ((*found)->archived)
        return base::failure(ErrorKind::invalid_request, "credential.archived",
                             "Credential " + call.ids[1] + " is archived and holds no secret any more.",
                             "Create a new credential for the same server.");
    if ((*found)->type == AuthType::mcp_oauth)
        return base::failure(ErrorKind::invalid_request, "credential.rotates_itself",
                             "Credential " + call.ids[1] +
                                 " is of type mcp_oauth: its tokens are renewed whenever that is due.",
                             "To replace the grant, connect the account anew; to replace a token, update the "
                             "credential.");
    return found;
}

struct Verification {
    std::string_view status = "skipped";
    Json probe = nullptr;
    bool stands_in_the_way() const { return status != "skipped" && status != "valid"; }
};

/// Asks the credential's server whether it takes that value. Variables go to programs, which nobody can ask.
net::awaitable<base::Result<Verification>> verify(Call& call, const vault::Credential& credential,
                                                  const vault::KeptValue& kept) {
    if (credential.type == AuthType::environment_variable) co_return Verification{};
    const auto probe = co_await probe_on_record(call, vault::as_of(credential, kept));
    if (!probe) co_return std::unexpected(probe.error());
    co_return Verification{.status = status_of(probe->verdict), .probe = shown(*probe)};
}

/// Puts the staged value of `version` to use.
net::awaitable<base::Result<vault::Credential>> promote(Call& call, std::uint64_t version, bool verified,
                                                        std::chrono::seconds overlap) {
    vault::Credential before, promoted;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_rotated(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        before = promoted = **found;
        auto rotation = vault::promote_value(change, promoted, version,
                                             {.verified = verified, .kept_until = change.now() + overlap});
        if (!rotation) return std::unexpected(std::move(rotation).error());
        change.note(value_entry(Action::promote, promoted));
        return announce_rotation(change, Action::promote, promoted);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, {before});
    co_return promoted;
}

Json shown(const Call& call, const vault::Credential& credential, std::string_view status,
           Verification verification) {
    return {{"type", "vault_credential_rotation"},
            {"credential_id", credential.id.text()},
            {"vault_id", credential.vault.text()},
            {"status", status},
            {"version", credential.version},
            {"verification", {{"status", verification.status}, {"mcp_probe", std::move(verification.probe)}}},
            {"rotation", shown_rotation(call.catalog(), credential)}};
}

/// Tries what is staged, unless told not to, and puts it to use when its server takes it.
net::awaitable<Answered> try_and_promote(Call& call, vault::Credential credential,
                                         const vault::KeptValue& staged, const Terms& terms) {
    Verification verification;
    if (terms.verify) {
        auto done = co_await verify(call, credential, staged);
        if (!done) co_return std::unexpected(std::move(done).error());
        verification = std::move(*done);
    }
    if (verification.stands_in_the_way())
        co_return answer(shown(call, credential, "staged", std::move(verification)));
    const auto promoted =
        co_await promote(call, staged.version, verification.status == "valid", terms.overlap);
    if (!promoted) co_return std::unexpected(promoted.error());
    co_return answer(shown(call, *promoted, "promoted", std::move(verification)));
}

Json shown(const vault::KeptValue& kept) {
    return {{"version", kept.version}, {"created_at", admin::api::shown(kept.created)}};
}

}  // namespace

net::awaitable<Answered> rotate_credential(Call& call) {
    const auto found = find_rotated(call, call.catalog());
    if (!found) co_return std::unexpected(found.error());
    Fields in(call.body);
    const auto terms = read_terms(in);
    const bool promotes = in.flag("promote", true);
    const auto rotate_by = read_deadline(in, call.records.clock().now());
    vault::SecretParts parts;
    parts.token = read_next_value(in, **found);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    vault::Credential credential;
    vault::KeptValue staged;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto newest = find_rotated(call, change.catalog());
        if (!newest) return std::unexpected(newest.error());
        credential = **newest;
        auto rotation = vault::stage_value(change, credential, parts, rotate_by);
        if (!rotation) return std::unexpected(std::move(rotation).error());
        staged = *rotation->find(ValueState::staged);
        change.note(value_entry(Action::stage, vault::as_of(credential, staged)));
        return {};
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (!promotes) co_return answer(shown(call, credential, "staged", {}));
    co_return co_await try_and_promote(call, std::move(credential), staged, terms);
}

net::awaitable<Answered> promote_credential(Call& call) {
    const auto found = find_rotated(call, call.catalog());
    if (!found) co_return std::unexpected(found.error());
    Fields in(call.body);
    const auto terms = read_terms(in);
    const auto version = in.number_if_any("version", 1, ~std::uint64_t{0});
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto rotation = call.catalog().find<vault::Rotation>((*found)->id);
    const auto* staged = rotation ? rotation->find(ValueState::staged) : nullptr;
    if (staged == nullptr || (version && *version != staged->version))
        co_return std::unexpected(vault::nothing_kept(ValueState::staged, **found));
    co_return co_await try_and_promote(call, **found, *staged, terms);
}

net::awaitable<Answered> roll_credential_back(Call& call) {
    Fields in(call.body);
    const auto overlap = read_terms(in).overlap;
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Credential before, credential;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_rotated(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        before = credential = **found;
        auto rotation = vault::roll_value_back(change, credential, change.now() + overlap);
        if (!rotation) return std::unexpected(std::move(rotation).error());
        change.note(value_entry(Action::roll_back, credential));
        return announce_rotation(change, Action::roll_back, credential);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, {before});
    co_return answer(shown(call, credential, "rolled_back", {}));
}

net::awaitable<Answered> retire_credential(Call& call) {
    Fields in(call.body);
    const auto state = in.has_value("state") && in.word("state", {"previous", "staged"}) == 1
                           ? ValueState::staged
                           : ValueState::previous;
    const bool force = in.flag("force", false);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto found = find_rotated(call, call.catalog());
    if (!found) co_return std::unexpected(found.error());
    const auto rotation = call.catalog().find<vault::Rotation>((*found)->id);
    const auto* kept = rotation ? rotation->find(state) : nullptr;
    if (kept == nullptr) co_return std::unexpected(vault::nothing_kept(state, **found));
    if (!force && state == ValueState::previous)
        if (auto unused = check_unused(call, **found, *kept); !unused)
            co_return std::unexpected(std::move(unused).error());
    vault::Credential credential;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto newest = find_rotated(call, change.catalog());
        if (!newest) return std::unexpected(newest.error());
        credential = **newest;
        const auto now_kept = change.catalog().find<vault::Rotation>(credential.id);
        const auto* gone = now_kept ? now_kept->find(state) : nullptr;
        if (gone == nullptr || gone->version != kept->version)
            return std::unexpected(vault::nothing_kept(state, credential));
        change.note(value_entry(Action::retire, vault::as_of(credential, *gone)));
        auto retired = vault::retire_value(change, credential, state);
        return retired ? base::Status() : std::unexpected(std::move(retired).error());
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown(call, credential, "retired", {}));
}

Json shown_rotation(const vault::Catalog& catalog, const vault::Credential& credential) {
    const auto rotation = catalog.find<vault::Rotation>(credential.id);
    if (!rotation) return nullptr;
    Json json{{"rotate_by", shown(rotation->rotate_by)}, {"staged", nullptr}, {"previous", nullptr}};
    if (const auto* staged = rotation->find(ValueState::staged)) json["staged"] = shown(*staged);
    if (const auto* previous = rotation->find(ValueState::previous)) {
        json["previous"] = shown(*previous);
        json["previous"]["kept_until"] = shown(previous->kept_until);
    }
    return json;
}

void close_connections(const Call& call, const std::vector<vault::Credential>& credentials) {
    std::vector<std::string> partitions;
    for (const auto& credential : credentials) partitions.push_back(vault::connection_partition(credential));
    for (auto* worker : call.workers)
        worker->deliver([worker, &pool_of = call.pool_of, partitions] {
            for (const auto& partition : partitions) pool_of(*worker).retire(partition);
        });
}

}  // namespace claviger::admin::api
