// Makes a store, changes its seal slots, rotates its keys and a value, restores and shreds, until it is
// killed at the batch that was named; or opens what is left through every slot, carries on what was begun,
// and says what is missing.
//   key_crash prepare DIRECTORY
//       Makes the token that the store's slot is in.
//   key_crash run DIRECTORY BATCH before|after|never
//       Kills itself at that batch. Prints "batch NUMBER STAGE" for every one, "try WHAT STATE" and "kept
//       WHAT STATE" around writes, and the steps of the restored store. WHAT is a credential with its token,
//       "slot:NAME" with state_of_slot(), "roots" with the root keys' phases, "vault:ID" with the generations
//       of its key, or "values:ID" with the versions that a credential keeps.
//   key_crash check DIRECTORY
//       Reads those lines; exit code 1 and a sentence when something is wrong.
#include "server/key_file_change.h"
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

/// A slot's name as one word.
std::string slot_word(std::string name) {
    std::ranges::replace(name, ' ', '_');
    return "slot:" + name;
}

std::string roots_in(const StorageEngine& engine) {
    std::string roots;
    for (const auto& [epoch, state, created] : KeyRing::summary(engine).value()->epochs)
        roots += (roots.empty() ? "" : ", ") + std::to_string(epoch) + " " + std::string(state);
    return roots;
}

std::string generations_in(const StorageEngine& engine, const KeyRing& keys, const base::RawId& vault) {
    std::string found;
    for (const auto generation : keys.generations(engine, vault).value())
        found += (found.empty() ? "" : " ") + std::to_string(generation);
    return found.empty() ? "(none)" : found;
}

/// The version in use, and those kept beside it.
std::string values_of(const Catalog& catalog, const base::CredentialId& id) {
    const auto credential = catalog.find<Credential>(id);
    if (!credential) return "(no credential)";
    auto found = std::to_string(credential->version);
    if (const auto rotation = catalog.find<Rotation>(id))
        for (const auto& kept : rotation->kept)
            found += ", " + std::to_string(kept.version) +
                     (kept.state == ValueState::staged ? " staged" : " previous");
    return found;
}

class Scenario {
public:
    Scenario(const std::filesystem::path& folder, std::uint64_t batch, Death::Moment moment)
        : folder_(folder), people_(folder), death_(batch, moment), engine_(open_engine(folder), death_) {}

    void run() {
        death_.enter("init");
        people_.initialise(engine_, clock_);
        for (const auto& way : people_.ways_in(engine_)) say("kept " + slot_word(way.slot) + " verified");
        say("kept roots 1 active");
        store_.emplace(engine_, clock_, people_, people_.ways_in(engine_).back().input());
        change_slots();
        death_.enter("vault");
        const auto vault = fill("first", 5);
        const auto doomed = fill("second", 1);
        root("root-rolled-back-pending", {.paused = true}, roll_back, {"1 active, 2 pending"}, "1 active");
        root("root-rolled-back-in-use", {}, roll_back, {"1 active, 3 pending", "1 retiring, 3 active"},
             "1 active");
        root("root-retired", {}, retire, {"1 active, 4 pending", "1 retiring, 4 active"}, "4 active");
        rotate_vault_key(vault);
        rotate_value();
        restore();
        shred(doomed);
        death_.enter("end");
        set(0, "at-the-end");
        say("done");
    }

private:
    /// Slots come, give the root key back, and go; the key file is replaced by another.
    void change_slots() {
        const test::keys::RotationWorld::Telling telling{
            [this](const std::string& slot, const std::string& state) {
                say("try " + slot_word(slot) + " " + test::keys::state_of_slot(engine_, slot));
                say("try " + slot_word(slot) + " " + state);
            },
            [](const std::string& slot, const std::string& state) {
                say("kept " + slot_word(slot) + " " + state);
            }};
        auto& records = *store_->records;
        death_.enter("slots");
        people_.add_slots(records, telling);
        death_.enter("slot-removed");
        people_.add_spare(records, telling);
        people_.add_slots(records, telling);
        people_.remove(records, "spare", telling);
        if (people_.has_token()) people_.remove(records, "token", telling);
        people_.add_slots(records, telling);
        death_.enter("key-file-replaced");
        const auto next = people_.next_key_file();
        const auto id = crypto::key_file_id(next.secret);
        const auto name = "key file " + base::to_hex({reinterpret_cast<const char*>(id.data()), id.size()});
        for (const auto* state : {"(none)", "added", "verified"}) say("try " + slot_word(name) + " " + state);
        const auto added = server::add_key_file_slot(records, next);
        must(added.has_value(), "the next key file: " + (added ? "" : added.error().message));
        say("kept " + slot_word(name) + " verified");
        people_.remove(records, "key file", telling);
    }

    Vault fill(const std::string& name, int credentials) {
        auto vault = test::keys::make_vault(*store_->records, name);
        for (int i = 0; i < credentials; ++i) {
            const auto token = name + "-" + std::to_string(i);
            credentials_.push_back(test::keys::make_credential(*store_->records, vault, token));
            say("kept " + credentials_.back().text() + " " + token);
        }
        say("kept vault:" + vault.id.text() + " 1");
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

    /// The keys of `what` go through `phases` to `end`; what stands still before it is steered is told.
    void rotation(const std::string& what, const std::function<base::Result<base::OperationId>()>& begin,
                  test::keys::Steering steering, const std::vector<std::string>& phases,
                  const std::string& end) {
        for (const auto& phase : phases) say("try " + what + " " + phase);
        const auto id = begin();
        must(id.has_value(), "not begun: " + (id ? "" : id.error().message));
        store_->rotations->wake();
        test::keys::settled(*store_->records, *id);
        say("kept " + what + " " + phases.back());
        say("try " + what + " " + end);
        must(test::keys::steer(*store_->records, *id, steering).has_value(), "not steered");
        store_->rotations->wake();
        test::keys::settled(*store_->records, *id);
        say("kept " + what + " " + end);
    }

    void root(const std::string& stage, const RotationWish& wish, test::keys::Steering steering,
              const std::vector<std::string>& phases, const std::string& end) {
        death_.enter(stage);
        rotation(
            "roots", [&] { return test::keys::rotate_root(*store_->records, people_.access(), wish); },
            steering, phases, end);
        must(roots_in(engine_) == end, "the root keys are " + roots_in(engine_));
        set(1, stage);
    }

    void rotate_vault_key(const Vault& vault) {
        const auto what = "vault:" + vault.id.text();
        death_.enter("vault-rolled-back");
        rotation(
            what, [&] { return test::keys::rotate_vault(*store_->records, vault.id, {.paused = true}); },
            roll_back, {"1 2"}, "1");
        death_.enter("vault-rotated");
        for (const auto* phase : {"1 3", "3"}) say("try " + what + " " + phase);
        const auto id = test::keys::rotate_vault(*store_->records, vault.id);
        store_->rotations->wake();
        for (std::size_t i = 0; i < 4; ++i) set(i, "while-" + std::to_string(i));
        must(id && test::keys::settled(*store_->records, *id).state == OperationState::succeeded,
             "the vault's key is not rotated");
        say("kept " + what + " 3");
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
        keeping(which, "2, 3 staged", [&] { changed(which, stage("staged-first")); });
        keeping(which, "2, 4 staged", [&] { changed(which, stage("staged")); });
        death_.enter("value-promoted");
        keeping(which, "4, 2 previous", [&] { telling(which, "staged", promote); });
        death_.enter("value-rolled-back");
        keeping(which, "5, 4 previous", [&] {
            telling(which, "while-2", [&](Change& now, Credential& credential) -> base::Status {
                const auto back = roll_value_back(now, credential, kept_until);
                return back ? base::Status() : std::unexpected(back.error());
            });
        });
        death_.enter("value-retired");
        keeping(which, "5", [&] {
            changed(which, [](Change& now, Credential& credential) -> base::Status {
                const auto retired = retire_value(now, credential, ValueState::previous);
                return retired ? base::Status() : std::unexpected(retired.error());
            });
        });
    }

    /// Which versions there are is told before and after.
    void keeping(std::size_t which, const std::string& versions, const std::function<void()>& change) {
        const auto what = "values:" + credentials_[which].text() + " ";
        const auto now = [&] { return values_of(store_->records->catalog(), credentials_[which]); };
        say("try " + what + now());
        say("try " + what + versions);
        change();
        must(now() == versions, "the versions are " + now());
        say("kept " + what + versions);
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
        const auto rows = rows_of(credentials_[4]);
        telling(4, "(no credential)",
                [](Change& now, Credential& credential) { return now.erase(credential); });
        purge(rows, ObjectKind::credential, credentials_[4].raw);
        const auto prefixes = rows_of(doomed, store_->records->catalog());
        say("try " + credentials_[5].text() + " (no credential)");
        say("try vault:" + doomed.id.text() + " (none)");
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
        say("kept vault:" + doomed.id.text() + " (none)");
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

using Allowed = std::map<std::string, std::set<std::string>>;

/// What the process that died had said.
struct Told {
    Allowed allowed;              // in which states each thing may be
    std::set<std::string> steps;  // of the restored store
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
    must(store.records->keys().history() != 0 || (!*fence && !steps.contains("releasing")),
         "the restored store goes on in the history of the lost one");
    if (steps.contains("released"))
        must(!*fence, "the restored store is fenced after its release");
    else if (!steps.contains("releasing"))
        must(*fence || (!steps.contains("fenced") && std::filesystem::exists(restored_header(folder))),
             "the restored store is not fenced");
}

/// What follows the prefix of a thing's name; nothing when it is of another kind.
std::optional<std::string> behind(std::string_view prefix, const std::string& what) {
    if (!what.starts_with(prefix)) return std::nullopt;
    return what.substr(prefix.size());
}

void check_state(const std::string& what, const std::set<std::string>& states, const std::string& found) {
    must(states.contains(found), what + " is '" + found + "', and not '" + *states.begin() + "'" +
                                     (states.size() > 1 ? " or another that it may be" : ""));
}

/// Slots, phases of root keys and generations of vaults' keys, before anything goes on.
void check_keys(const StorageEngine& engine, const KeyRing& keys, const Allowed& allowed) {
    std::map<std::string, std::string> slots;  // their names, by word
    for (const auto& slot : KeyRing::summary(engine).value()->slots)
        slots[slot_word(slot.name)] = test::keys::state_of_slot(engine, slot.name);
    for (const auto& [what, states] : allowed) {
        if (behind("slot:", what)) check_state(what, states, slots.contains(what) ? slots[what] : "(none)");
        if (what == "roots") check_state(what, states, roots_in(engine));
        if (const auto id = behind("vault:", what))
            check_state(what, states, generations_in(engine, keys, base::VaultId::parse(*id).value().raw));
    }
}

void check_values(const Records& records, const Allowed& allowed) {
    for (const auto& [what, states] : allowed) {
        if (const auto id = behind("values:", what))
            check_state(what, states, values_of(records.catalog(), base::CredentialId::parse(*id).value()));
        if (const auto id = base::CredentialId::parse(what))
            check_state("credential " + what, states, test::keys::token_of(records, *id));
    }
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
    check_keys(*engine, *KeyRing::unseal(*engine, ways.front().input()).value(), allowed);

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
    check_values(*store.records, allowed);
    store.rotations.reset();
    store.records.reset();
    const auto ways_after = people.ways_in(*engine);
    must(ways_after.size() == ways.size(), "slots are missing after the rotations went on");
    for (const auto& way : ways_after) examine(*engine, way);
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
