#include "vault/rotation.h"

#include <algorithm>

namespace claviger::vault {
namespace {

using base::ErrorKind;

Rotation rotation_of(const Catalog& catalog, const Credential& credential) {
    if (const auto stored = catalog.find<Rotation>(credential.id)) return *stored;
    Rotation rotation;
    rotation.id = credential.id;
    rotation.workspace = credential.workspace;
    rotation.vault = credential.vault;
    rotation.last_version = credential.version;
    return rotation;
}

KeptValue kept_of(const Credential& credential, ValueState state) {
    KeptValue kept;
    kept.version = credential.version;
    kept.state = state;
    kept.commit_seq = credential.value_commit_seq;
    kept.generation = credential.value_generation;
    kept.created = credential.value_created;
    kept.writer = credential.value_writer;
    return kept;
}

/// What stands in the rotation of the value in use.
void take_over(Rotation& rotation, const KeptValue& used) {
    rotation.verified = used.verified;
    rotation.rotate_by = used.rotate_by;
    rotation.reminders = 0;
}

void take_value(Credential& credential, const KeptValue& kept) {
    credential.version = kept.version;
    credential.value_commit_seq = kept.commit_seq;
    credential.value_generation = kept.generation;
    credential.value_created = kept.created;
    credential.value_writer = kept.writer;
}

void remember(Rotation& rotation, const KeptValue& gone, Time now) {
    rotation.past.push_back({gone.version, gone.created, now, gone.writer});
    if (rotation.past.size() > Rotation::kMostPast) rotation.past.erase(rotation.past.begin());
}

/// Takes the value of that state out, without its rows.
std::optional<KeptValue> take_out(Rotation& rotation, ValueState state) {
    const auto found = std::ranges::find(rotation.kept, state, &KeptValue::state);
    if (found == rotation.kept.end()) return std::nullopt;
    const auto kept = *found;
    rotation.kept.erase(found);
    return kept;
}

/// Takes the value of that state away, rows and all.
void drop(Change& change, const Credential& credential, Rotation& rotation, ValueState state) {
    const auto gone = take_out(rotation, state);
    if (!gone) return;
    change.erase_value(as_of(credential, *gone));
    remember(rotation, *gone, change.now());
}

/// Makes the value in use the previous one.
void set_aside(Change& change, const Credential& credential, Rotation& rotation, Time kept_until) {
    drop(change, credential, rotation, ValueState::previous);
    rotation.last_version = std::max(rotation.last_version, credential.version);
    auto kept = kept_of(credential, ValueState::previous);
    kept.verified = rotation.verified;
    kept.rotate_by = rotation.rotate_by;
    kept.left = change.now();
    kept.kept_until = kept_until;
    if (kept_until > change.now()) {
        rotation.kept.push_back(kept);
        return;
    }
    change.erase_value(credential);
    remember(rotation, kept, change.now());
}

base::Status seal_anew(Change& change, const Credential& before, const Credential& after, KeptValue& kept) {
    const auto parts = change.open_secret(as_of(before, kept));
    if (!parts) return std::unexpected(parts.error());
    auto sealed = as_of(after, kept);
    if (auto done = change.seal_value(sealed, *parts); !done) return done;
    kept.commit_seq = sealed.value_commit_seq;
    kept.generation = sealed.value_generation;
    kept.created = sealed.value_created;
    kept.writer = sealed.value_writer;
    return {};
}

base::Result<Rotation> stored(Change& change, Rotation rotation) {
    rotation.updated = change.now();
    if (auto kept = change.store(rotation); !kept) return std::unexpected(std::move(kept).error());
    return rotation;
}

}  // namespace

Credential as_of(Credential credential, const KeptValue& kept) {
    take_value(credential, kept);
    return credential;
}

std::optional<Time> gone_since(const Catalog& catalog, const Credential& newest, std::uint64_t version) {
    if (version == newest.version) return std::nullopt;
    const auto rotation = catalog.find<Rotation>(newest.id);
    if (!rotation) return newest.value_created;
    if (std::ranges::find(rotation->kept, version, &KeptValue::version) != rotation->kept.end())
        return std::nullopt;
    const auto past = std::ranges::find(rotation->past, version, &PastValue::version);
    return past == rotation->past.end() ? newest.value_created : past->ended;
}

std::uint64_t next_version(const Catalog& catalog, const Credential& credential) {
    const auto rotation = catalog.find<Rotation>(credential.id);
    return std::max(credential.version, rotation ? rotation->last_version : 0) + 1;
}

base::Error nothing_kept(ValueState state, const Credential& credential) {
    if (state == ValueState::staged)
        return {ErrorKind::conflict, "credential.nothing_staged",
                "Credential " + credential.id.text() + " has no such value staged.",
                "Look at its versions; somebody else may have promoted or replaced it."};
    return {ErrorKind::conflict, "credential.nothing_kept",
            "Credential " + credential.id.text() + " keeps no value from before.",
            "Values are kept until their overlap ends; rotate to the one you want."};
}

base::Result<Rotation> stage_value(Change& change, const Credential& credential, const SecretParts& parts,
                                   std::optional<Time> rotate_by) {
    auto rotation = rotation_of(change.catalog(), credential);
    drop(change, credential, rotation, ValueState::staged);
    auto staged = credential;
    staged.version = next_version(change.catalog(), credential);
    if (auto sealed = change.seal_value(staged, parts); !sealed)
        return std::unexpected(std::move(sealed).error());
    rotation.kept.push_back(kept_of(staged, ValueState::staged));
    rotation.kept.back().rotate_by = rotate_by;
    rotation.last_version = staged.version;
    return stored(change, std::move(rotation));
}

base::Result<Rotation> promote_value(Change& change, Credential& credential, std::uint64_t version,
                                     const Promotion& promotion) {
    auto rotation = rotation_of(change.catalog(), credential);
    auto staged = take_out(rotation, ValueState::staged);
    if (!staged || staged->version != version)
        return std::unexpected(nothing_kept(ValueState::staged, credential));
    set_aside(change, credential, rotation, promotion.kept_until);
    if (promotion.verified) staged->verified = change.now();
    take_over(rotation, *staged);
    take_value(credential, *staged);
    credential.updated = change.now();
    if (auto done = change.store(credential); !done) return std::unexpected(std::move(done).error());
    return stored(change, std::move(rotation));
}

base::Result<Rotation> roll_value_back(Change& change, Credential& credential, Time kept_until) {
    auto rotation = rotation_of(change.catalog(), credential);
    const auto* kept = rotation.find(ValueState::previous);
    if (kept == nullptr) return std::unexpected(nothing_kept(ValueState::previous, credential));
    const auto previous = *kept;
    const auto parts = change.open_secret(as_of(credential, previous));
    if (!parts) return std::unexpected(parts.error());
    auto again = credential;
    again.version = next_version(change.catalog(), credential);
    if (auto sealed = change.seal_value(again, *parts); !sealed)
        return std::unexpected(std::move(sealed).error());
    set_aside(change, credential, rotation, kept_until);
    take_over(rotation, previous);
    rotation.last_version = again.version;
    credential = std::move(again);
    credential.updated = change.now();
    if (auto done = change.store(credential); !done) return std::unexpected(std::move(done).error());
    return stored(change, std::move(rotation));
}

base::Result<Rotation> retire_value(Change& change, const Credential& credential, ValueState state) {
    auto rotation = rotation_of(change.catalog(), credential);
    if (rotation.find(state) == nullptr) return std::unexpected(nothing_kept(state, credential));
    drop(change, credential, rotation, state);
    return stored(change, std::move(rotation));
}

base::Status update_rotation(Change& change, const Credential& before, const Credential& after,
                             const std::optional<Deadline>& deadline) {
    auto rotation = rotation_of(change.catalog(), before);
    bool changed = false;
    if (deadline && deadline->rotate_by != rotation.rotate_by) {
        rotation.rotate_by = deadline->rotate_by;
        rotation.reminders = 0;
        changed = true;
    }
    if (crypto::constraint_digest(constraints_of(before)) !=
        crypto::constraint_digest(constraints_of(after))) {
        for (auto& kept : rotation.kept) {
            if (auto sealed = seal_anew(change, before, after, kept); !sealed) return sealed;
            changed = true;
        }
    }
    if (!changed) return {};
    rotation.updated = change.now();
    return change.store(std::move(rotation));
}

base::Status forget_rotation(Change& change, const Credential& credential) {
    const auto rotation = change.catalog().find<Rotation>(credential.id);
    if (!rotation) return {};
    for (const auto& kept : rotation->kept) change.erase_value(as_of(credential, kept));
    return change.erase(*rotation);
}

}  // namespace claviger::vault
