// Makes a store, changes its seal slots and rotates its keys, until it is killed at the batch that was named;
// or opens what is left through every slot, carries on what was begun, and says what is missing.
//   key_crash prepare DIRECTORY                        makes the token that the store's slot is in
//   key_crash run DIRECTORY BATCH before|after|never   kills itself at that batch; prints "batch NUMBER
//   STAGE" for
//                                                      every one, "try ID TOKEN" and "kept ID TOKEN" around
//                                                      writes
//   key_crash check DIRECTORY                          reads those lines; exit code 1 and a sentence when
//   something
//                                                      is wrong
#include "tests/support/vault_forwarding_engine.h"
#include "tests/support/vault_rotation_world.h"
#include "vault/store_examination.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

namespace claviger::vault {
namespace {

using test::keys::must;

void say(const std::string& line) {
    const auto text = line + "\n";
    must(::write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "no output");
}

enum class Dies { never, before, after };

/// The real engine, and a batch at which the process ends as the kernel would end it.
class DeadlyEngine final : public test::ForwardingEngine {
public:
    DeadlyEngine(std::unique_ptr<StorageEngine> inner, std::uint64_t batch, Dies dies)
        : ForwardingEngine(*inner), owned_(std::move(inner)), batch_(batch), dies_(dies) {}

    void enter(std::string stage) {
        const std::lock_guard lock(mutex_);
        stage_ = std::move(stage);
    }

    base::Status commit(std::uint64_t commit_seq, const Batch& batch) override {
        const auto number = ++commits_;
        say("batch " + std::to_string(number) + " " + stage());
        if (number == batch_ && dies_ == Dies::before) ::raise(SIGKILL);
        auto committed = inner_.commit(commit_seq, batch);
        if (number == batch_ && dies_ == Dies::after) ::raise(SIGKILL);
        return committed;
    }

private:
    std::string stage() const {
        const std::lock_guard lock(mutex_);
        return stage_;
    }

    const std::unique_ptr<StorageEngine> owned_;
    const std::uint64_t batch_;
    const Dies dies_;
    std::atomic<std::uint64_t> commits_ = 0;
    mutable std::mutex mutex_;
    std::string stage_;
};

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

class Scenario {
public:
    Scenario(const std::filesystem::path& folder, std::uint64_t batch, Dies dies)
        : people_(folder), engine_(open_engine(folder), batch, dies) {}

    void run() {
        engine_.enter("init");
        people_.initialise(engine_, clock_);
        store_.emplace(engine_, clock_, people_, people_.ways_in(engine_).back().input());
        engine_.enter("slots");
        people_.add_slots(*store_->records);
        engine_.enter("vault");
        const auto vault = test::keys::make_vault(*store_->records, "first");
        for (int i = 0; i < 4; ++i) {
            const auto token = "token-" + std::to_string(i);
            credentials_.push_back(test::keys::make_credential(*store_->records, vault, token));
            say("kept " + credentials_.back().text() + " " + token);
        }
        root("root-rolled-back-pending", {.paused = true}, roll_back);
        root("root-rolled-back-in-use", {}, roll_back);
        root("root-retired", {}, retire);
        engine_.enter("vault-rolled-back");
        begun(test::keys::rotate_vault(*store_->records, vault.id, {.paused = true}), roll_back);
        engine_.enter("vault-rotated");
        const auto id = test::keys::rotate_vault(*store_->records, vault.id);
        store_->rotations->wake();
        for (std::size_t i = 0; i < credentials_.size(); ++i) set(i, "while-" + std::to_string(i));
        must(id && test::keys::settled(*store_->records, *id).state == OperationState::succeeded,
             "the vault's key is not rotated");
        engine_.enter("end");
        set(0, "at-the-end");
        say("done");
    }

private:
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
        engine_.enter(stage);
        begun(test::keys::rotate_root(*store_->records, people_.access(), wish), steering);
        set(1, stage);
    }

    base::SystemClock clock_;
    test::keys::RotationWorld people_;
    DeadlyEngine engine_;
    std::optional<Store> store_;
    std::vector<base::CredentialId> credentials_;
};

/// What the credentials may hold, by what the process that died had said.
std::map<std::string, std::set<std::string>> told() {
    std::map<std::string, std::set<std::string>> allowed;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb, id, token;
        words >> verb >> id >> token;
        if (verb == "kept") allowed[id] = {token};
        if (verb == "try" && !token.empty()) allowed[id].insert(token);
    }
    return allowed;
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

void check(const std::filesystem::path& folder) {
    const auto allowed = told();
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
    say("sound " + std::to_string(ways.size()) + " slots");
}

}  // namespace
}  // namespace claviger::vault

int main(int count, char** words) {
    using namespace claviger::vault;
    const std::vector<std::string> given(words + 1, words + count);
    if (given.size() == 4 && given[0] == "run") {
        const auto dies = given[3] == "before"  ? Dies::before
                          : given[3] == "after" ? Dies::after
                                                : Dies::never;
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
