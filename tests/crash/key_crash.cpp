// Makes a store, changes its seal slots, rotates its keys and a value, restores and shreds, until it is
// killed at the batch that was named; or opens what is left through every slot, carries on what was begun,
// and says what is missing.
//   key_crash prepare DIRECTORY
//       Makes the token that the store's slot is in.
//   key_crash run DIRECTORY BATCH before|after|never
//       Kills itself at that batch. Prints "batch NUMBER STAGE" for every one, "try ID TOKEN" and "kept ID
//       TOKEN" around writes, and the steps of the restored store.
//   key_crash check DIRECTORY
//       Reads those lines; exit code 1 and a sentence when something is wrong.
#include "tests/crash/deadly_engine.h"
#include "tests/support/vault_rotation_world.h"
#include "vault/backup.h"
#include "vault/fence.h"
#include "vault/rotation.h"
#include "vault/shredding.h"
#include "vault/store_examination.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

namespace claviger::vault {
namespace {

using test::Death;
using test::say;
using test::keys::must;

struct Store {
    Store(StorageEngine& engine, const base::Clock& clock, const test::keys::RotationWorld& people,
          const SealInput& input) {
        auto ring = KeyRing::unseal(engine, input);
        must(ring.has_value(), "unsealing: " + (ring ? "" : ring.error().message + ring.error().detail));
        auto opened = Records::open(engine, std::move(*ring), clock);
        must(opened.has_value(),
             "opening: " + (opened ? "" : opened.error().message + opened.error().detail));
        records = std::move(*opened);
        RotationSettings settings{.credentials_per_commit = 2, .retry_after = std::chrono::milliseconds(20)};
        settings.slots = people.access();
        rotations.emplace(*records, std::move(settings));
        rotations->start();
    }
    std::unique_ptr<Records> records;
    std::optional<KeyRotations> rotations;
};

std::unique_ptr<StorageEngine> open_engine(const std::filesystem::path& folder) {
    auto engine = open_rocksdb(folder / "store");
    must(engine.has_value(), "the engine does not open: " + (engine ? "" : engine.error().detail));
    return std::move(*engine);
}

std::filesystem::path backup_in(const std::filesystem::path& folder) { return folder / "backup"; }
std::filesystem::path restored_in(const std::filesystem::path& folder) { return folder / "restored"; }

class Scenario {
public:
    Scenario(const std::filesystem::path& folder, std::uint64_t batch, Death::Moment moment)
        : folder_(folder), people_(folder), death_(batch, moment), engine_(open_engine(folder), death_) {}

    void run() {
        death_.enter("init");
        people_.initialise(engine_, clock_);
        store_.emplace(engine_, clock_, people_, people_.ways_in(engine_).back().input());
        death_.enter("slots");
        people_.add_slots(*store_->records);
        death_.enter("vault");
        const auto vault = fill("first", 5);
        const auto doomed = fill("second", 1);
        root("root-rolled-back-pending", {.paused = true}, roll_back);
        root("root-rolled-back-in-use", {}, roll_back);
        root("root-retired", {}, retire);
        rotate_vault_key(vault);
        rotate_value();
        restore();
        shred(doomed);
        death_.enter("end");
        set(0, "at-the-end");
        say("done");
    }

private:
    Vault fill(const std::string& name, int credentials) {
        auto vault = test::keys::make_vault(*store_->records, name);
        for (int i = 0; i < credentials; ++i) {
            const auto token = name + "-" + std::to_string(i);
            credentials_.push_back(test::keys::make_credential(*store_->records, vault, token));
            say("kept " + credentials_.back().text() + " " + token);
        }
        return vault;
    }

    /// What changes which token the credential has, told before and after.
    void telling(std::size_t which, const std::string& token,
                 const std::function<base::Status(Change&, Credential&)>& apply) {
        const auto id = credentials_[which];
        say("try " + id.text() + " " + token);
        changed(which, apply);
        say("kept " + id.text() + " " + token);
    }

    void changed(std::size_t which, const std::function<base::Status(Change&, Credential&)>& apply) {
        const auto id = credentials_[which];
        const auto done = test::keys::change(*store_->records, [&](Change& now) {
            auto credential = *now.catalog().find<Credential>(id);
            now.note(EntryKind::rotate, Action::update, ObjectKind::credential, id.raw, credential.vault.raw);
            return apply(now, credential);
        });
        must(done.has_value(), "a change is refused: " + (done ? "" : done.error().message));
    }

    void set(std::size_t which, const std::string& token) {
        const auto id = credentials_[which].text();
        say("try " + id + " " + token);
        must(test::keys::set_token(*store_->records, credentials_[which], token).has_value(),
             "a token is not stored");
        say("kept " + id + " " + token);
    }

    void begun(const base::Result<base::OperationId>& id, test::keys::Steering steering) {
        must(id.has_value(), "not begun: " + (id ? "" : id.error().message));
        store_->rotations->wake();
        test::keys::settled(*store_->records, *id);
        must(test::keys::steer(*store_->records, *id, steering).has_value(), "not steered");
        store_->rotations->wake();
        test::keys::settled(*store_->records, *id);
    }

    void root(const std::string& stage, const RotationWish& wish, test::keys::Steering steering) {
        death_.enter(stage);
        begun(test::keys::rotate_root(*store_->records, people_.access(), wish), steering);
        set(1, stage);
    }

    void rotate_vault_key(const Vault& vault) {
        death_.enter("vault-rolled-back");
        begun(test::keys::rotate_vault(*store_->records, vault.id, {.paused = true}), roll_back);
        death_.enter("vault-rotated");
        const auto id = test::keys::rotate_vault(*store_->records, vault.id);
        store_->rotations->wake();
        for (std::size_t i = 0; i < 4; ++i) set(i, "while-" + std::to_string(i));
        must(id && test::keys::settled(*store_->records, *id).state == OperationState::succeeded,
             "the vault's key is not rotated");
    }

    /// A value goes through all its states: staged, in use, rolled back; what is kept is retired.
    void rotate_value() {
        constexpr std::size_t which = 2;
        const auto kept_until = clock_.now() + std::chrono::hours(1);
        const auto stage = [](const std::string& token) {
            return [token](Change& now, Credential& credential) -> base::Status {
                SecretParts parts;
                parts.token = crypto::Secret::copy_of(token);
                const auto staged = stage_value(now, credential, parts, {});
                return staged ? base::Status() : std::unexpected(staged.error());
            };
        };
        const auto promote = [&](Change& now, Credential& credential) -> base::Status {
            const auto& kept = now.catalog().find<Rotation>(credential.id)->kept;
            const auto staged = std::ranges::find(kept, ValueState::staged, &KeptValue::state);
            const auto promoted = promote_value(now, credential, staged->version, {true, kept_until});
            return promoted ? base::Status() : std::unexpected(promoted.error());
        };
        death_.enter("value-staged");
        changed(which, stage("staged-first"));
        changed(which, stage("staged"));
        death_.enter("value-promoted");
        telling(which, "staged", promote);
        death_.enter("value-rolled-back");
        telling(which, "while-2", [&](Change& now, Credential& credential) -> base::Status {
            const auto back = roll_value_back(now, credential, kept_until);
            return back ? base::Status() : std::unexpected(back.error());
        });
        death_.enter("value-retired");
        changed(which, [](Change& now, Credential& credential) -> base::Status {
            const auto retired = retire_value(now, credential, ValueState::previous);
            return retired ? base::Status() : std::unexpected(retired.error());
        });
    }

    /// A backup of now, put back beside the store, fenced before anything else, and released.
    void restore() {
        death_.enter("backup");
        const auto made = create_backup(engine_, store_->records->keys(), clock_, backup_in(folder_),
                                        [](auto, auto) { return true; });
        must(made.has_value(), "no backup: " + (made ? "" : made.error().message + made.error().detail));
        death_.enter("restored");
        std::filesystem::create_directory(restored_in(folder_));
        const auto header =
            restore_backup(backup_in(folder_), restored_in(folder_), [](auto, auto) { return true; });
        must(header.has_value(), "not restored: " + (header ? "" : header.error().message));
        test::DeadlyEngine engine(open_engine(restored_in(folder_)), death_);
        Store restored(engine, clock_, people_, people_.ways_in(engine).front().input());
        must(test::keys::change(*restored.records, [&](Change& now) { return put_fence(now, *header, 0); })
                 .has_value(),
             "not fenced");
        say("fenced");
        death_.enter("released");
        say("releasing");
        must(test::keys::change(*restored.records, [](Change& now) { return lift_fence(now); }).has_value(),
             "not released");
        say("released");
    }

    /// A credential, then a whole vault: erased in one batch, then gone from the files, then on record.
    void shred(const Vault& doomed) {
        death_.enter("shred");
        const auto rows = rows_of(*store_->records->catalog().find<Credential>(credentials_[4]));
        telling(4, "(no credential)",
                [](Change& now, Credential& credential) { return now.erase(credential); });
        purge(rows, ObjectKind::credential, credentials_[4].raw);
        const auto prefixes = rows_of(doomed, store_->records->catalog());
        say("try " + credentials_[5].text() + " (no credential)");
        must(test::keys::change(
                 *store_->records,
                 [&](Change& now) -> base::Status {
                     if (auto gone = now.erase(*now.catalog().find<Credential>(credentials_[5])); !gone)
                         return gone;
                     now.note(EntryKind::write, Action::erase, ObjectKind::vault, doomed.id.raw,
                              doomed.id.raw);
                     if (auto erased = now.erase(*now.catalog().find<Vault>(doomed.id)); !erased)
                         return erased;
                     return now.forget_key_of(doomed.id.raw);
                 })
                 .has_value(),
             "the vault is not erased");
        say("kept " + credentials_[5].text() + " (no credential)");
        purge(prefixes, ObjectKind::vault, doomed.id.raw);
    }

    void purge(const std::vector<StorageEngine::KeyPrefix>& prefixes, ObjectKind kind,
               const base::RawId& id) {
        must(engine_.purge_erased(prefixes).has_value(), "not purged");
        must(test::keys::change(*store_->records,
                                [&](Change& now) -> base::Status {
                                    now.note(EntryKind::write, Action::shred, kind, id, {});
                                    return {};
                                })
                 .has_value(),
             "the shredding is not on record");
    }

    const std::filesystem::path folder_;
    base::SystemClock clock_;
    test::keys::RotationWorld people_;
    Death death_;
    test::DeadlyEngine engine_;
    std::optional<Store> store_;
    std::vector<base::CredentialId> credentials_;
};

/// What the process that died had said.
struct Told {
    std::map<std::string, std::set<std::string>> allowed;  // what each credential may hold
    std::set<std::string> steps;                           // of the restored store
};

Told told() {
    Told heard;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb, id, token;
        words >> verb >> id >> std::ws;
        std::getline(words, token);
        if (verb == "kept") heard.allowed[id] = {token};
        if (verb == "try" && !token.empty()) heard.allowed[id].insert(token);
        if (id.empty()) heard.steps.insert(verb);
    }
    return heard;
}

void examine(const StorageEngine& engine, const test::keys::WayIn& way) {
    auto ring = KeyRing::unseal(engine, way.input());
    must(ring.has_value(), "slot " + way.slot + " does not open the store: " +
                               (ring ? "" : ring.error().message + " " + ring.error().detail));
    const auto found = examine_store(engine, **ring, {});
    must(found.has_value(), "the store cannot be examined");
    must(found->sound(), found->sound() ? ""
                                        : "not sound: " + found->named[0].place + " " + found->named[0].code +
                                              " " + found->named[0].why);
}

/// A restored store is whole or not there; until somebody began to release it, it is fenced, or the header
/// that makes whoever opens it fence it is still beside it.
void check_restored(const std::filesystem::path& folder, const test::keys::RotationWorld& people,
                    const std::set<std::string>& steps) {
    if (!std::filesystem::exists(folder / "store")) {
        must(!steps.contains("fenced"), "the restored store is gone");
        return;
    }
    const base::SystemClock clock;
    const auto engine = open_engine(folder);
    const auto ways = people.ways_in(*engine);
    for (const auto& way : ways) examine(*engine, way);
    Store store(*engine, clock, people, ways.front().input());
    const auto fence = fence_of(*store.records);
    must(fence.has_value(), "the fence cannot be read");
    if (steps.contains("released"))
        must(!*fence, "the restored store is fenced after its release");
    else if (!steps.contains("releasing"))
        must(*fence || (!steps.contains("fenced") && std::filesystem::exists(restored_header(folder))),
             "the restored store is not fenced");
}

void check(const std::filesystem::path& folder) {
    const auto [allowed, steps] = told();
    const base::SystemClock clock;
    const auto engine = open_engine(folder);
    if (engine->last_commit() == 0) {
        must(allowed.empty(), "the store is empty, although writes were acknowledged");
        say("empty");
        return;
    }
    const test::keys::RotationWorld people(folder);
    const auto ways = people.ways_in(*engine);
    must(ways.size() >= 2, "slots are missing");
    for (const auto& way : ways) examine(*engine, way);

    Store store(*engine, clock, people, ways[static_cast<std::size_t>(::getpid()) % ways.size()].input());
    for (const auto& operation : store.records->catalog().all<Operation>([](const auto&) { return true; })) {
        if (operation->state == OperationState::paused)
            must(test::keys::steer(*store.records, operation->id, resume).has_value(), "it does not resume");
        store.rotations->wake();
        const auto state = test::keys::settled(*store.records, operation->id).state;
        if (state == OperationState::waiting) {
            must(test::keys::steer(*store.records, operation->id, retire).has_value(), "it does not retire");
            store.rotations->wake();
        }
        const auto end = test::keys::settled(*store.records, operation->id);
        must(end.state == OperationState::succeeded || end.state == OperationState::rolled_back,
             "an operation ended as " + std::string(name_of(end.state)) + ": " +
                 (end.problem ? end.problem->message : ""));
    }
    for (const auto& [id, tokens] : allowed) {
        const auto found = test::keys::token_of(*store.records, base::CredentialId::parse(id).value());
        must(tokens.contains(found), "credential " + id + " holds '" + found + "'");
    }
    store.rotations.reset();
    store.records.reset();
    for (const auto& way : people.ways_in(*engine)) examine(*engine, way);
    check_restored(restored_in(folder), people, steps);
    say("sound " + std::to_string(ways.size()) + " slots");
}

}  // namespace
}  // namespace claviger::vault

int main(int count, char** words) {
    using namespace claviger::vault;
    const std::vector<std::string> given(words + 1, words + count);
    if (given.size() == 4 && given[0] == "run") {
        using claviger::test::Death;
        const auto dies = given[3] == "before"  ? Death::Moment::before
                          : given[3] == "after" ? Death::Moment::after
                                                : Death::Moment::never;
        Scenario(given[1], std::stoull(given[2]), dies).run();
    } else if (given.size() == 2 && given[0] == "prepare") {
        claviger::test::keys::RotationWorld people(given[1]);
    } else if (given.size() == 2 && given[0] == "check") {
        check(given[1]);
    } else {
        claviger::test::keys::must(
            false,
            "usage: key_crash prepare DIRECTORY | run DIRECTORY BATCH before|after|never | check DIRECTORY");
    }
    return 0;
}
