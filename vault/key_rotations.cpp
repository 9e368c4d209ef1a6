#include "vault/key_rotations.h"

#include "base/log.h"
#include "base/scheduling.h"
#include "vault/log_rows.h"

#include <algorithm>
#include <future>
#include <memory>

namespace claviger::vault {
namespace {

using base::ErrorKind;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kIdle{60'000};

// A commit for many rows delays every call that waits for the same commit. Beside calls they are few, and
// at most a part of the time is theirs: one part in kParts.
constexpr std::size_t kBesideCalls = 32;
constexpr int kParts = 4;
constexpr milliseconds kLongestPause{100};
constexpr milliseconds kOthersGone{1'000};  // after this long without them nobody is there to be delayed

/// Claviger itself, in the workspace whose administrators see the operation.
Actor own_actor(const Operation& operation) { return {.workspace = operation.workspace.raw}; }

/// What another try may mend, and what somebody has to look at.
bool passes_by_itself(const base::Error& error) {
    return error.kind == ErrorKind::unavailable || error.code == "storage.conflict";
}

Table table_of(OperationStep step) {
    return step == OperationStep::data_keys ? Table::data_key : Table::meta;
}

}  // namespace

KeyRotations::KeyRotations(Records& records, RotationSettings settings)
    : records_(records), settings_(std::move(settings)) {}

void KeyRotations::start() {
    thread_ = std::thread([this] { run(); });
}

KeyRotations::~KeyRotations() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    woken_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void KeyRotations::wake() {
    {
        const std::lock_guard lock(mutex_);
        work_ = true;
    }
    woken_.notify_one();
}

/// False when it is time to stop.
bool KeyRotations::wait_for(milliseconds longest) {
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, longest, [&] { return work_ || stopping_; });
    work_ = false;
    return !stopping_;
}

void KeyRotations::run() {
    base::give_way();
    milliseconds wait{0};
    while (wait_for(wait)) {
        wait = kIdle;
        const auto operation = next_due(wait);
        if (!operation) continue;
        wait = milliseconds(0);
        if (const auto advanced = advance(*operation); !advanced) {
            ahead_.reset();
            if (advanced.error().code == "storage.conflict")
                continue;  // somebody changed a row: read it again
            report(*operation, advanced.error());
            resting_[operation->id] = steady_clock::now() + settings_.retry_after;
        }
    }
}

/// The operation with a step to do now: a root key's, which takes a few steps and may be urgent, before those
/// of vaults, which may take hours; else the oldest. `wait` becomes how long the next one may take to be due.
std::optional<Operation> KeyRotations::next_due(milliseconds& wait) {
    const auto now = records_.clock().now();
    const auto steady = steady_clock::now();
    std::erase_if(resting_, [&](const auto& rest) { return rest.second <= steady; });
    const auto due_in = [&](milliseconds time) { wait = std::min(wait, std::max(milliseconds(1), time)); };
    auto due = records_.catalog().all<Operation>([&](const Operation& operation) {
        if (const auto rest = resting_.find(operation.id); rest != resting_.end()) {
            due_in(std::chrono::ceil<milliseconds>(rest->second - steady));
            return false;
        }
        if (operation.state == OperationState::running) return true;
        if (operation.state != OperationState::waiting || !operation.retire_at) return false;
        if (*operation.retire_at <= now) return true;
        due_in(*operation.retire_at - now);
        return false;
    });
    if (due.empty()) return std::nullopt;
    return **std::ranges::min_element(due, {}, [](const auto& each) {
        return std::pair(each->kind != OperationKind::root_key_rotation, each->created_seq);
    });
}

base::Status KeyRotations::advance(const Operation& operation) {
    note_pace(operation);
    return operation.kind == OperationKind::root_key_rotation ? advance_root(operation)
                                                              : advance_vault(operation);
}

base::Status KeyRotations::advance_root(const Operation& operation) {
    switch (operation.step) {
        case OperationStep::pending: {
            auto same = verify_in_slots(records_.keys(), records_.engine(), operation.to, settings_.slots);
            if (!same) return same;
            return commit(operation, activate);
        }
        case OperationStep::retiring:
            return commit(operation, retire);
        case OperationStep::token_keys: {
            auto destroyed =
                destroy_in_tokens(records_.keys(), records_.engine(), operation.from, settings_.slots);
            if (!destroyed) return destroyed;
            return commit(operation, finish_root_rotation);
        }
        default:
            return base::failure(ErrorKind::internal, "operation.malformed",
                                 "The operation is in a step that no rotation of a root key has.",
                                 "This is a mistake in Claviger; please report it.");
    }
}

base::Status KeyRotations::advance_vault(const Operation& operation) {
    const auto vault = records_.catalog().find<Vault>(base::VaultId{operation.about});
    if (!vault)
        return base::failure(ErrorKind::not_found, "vault.not_found",
                             "The vault was deleted while its key was rotated.");
    if (operation.step == OperationStep::last_look) return look_for_the_rest(operation, *vault);
    const auto& rows = rows_of(operation, *vault);
    if (operation.total != 0) return move_stretch(operation, rows);

    auto counted = operation;
    counted.total = std::max<std::uint64_t>(1, count_sealed_rows(records_.catalog(), *vault));
    return move_stretch(counted, rows);
}

/// Those of the step, looked up once for all its stretches.
const GenerationRows& KeyRotations::rows_of(const Operation& operation, const Vault& vault) {
    if (!walk_ || walk_->operation != operation.id || walk_->step != operation.step ||
        walk_->rolling_back != operation.rolling_back)
        walk_.emplace(
            operation.id, operation.step, operation.rolling_back,
            GenerationRows(records_, vault, table_of(operation.step), operation.from, operation.to));
    return walk_->rows;
}

/// Whether calls or changes were made a moment ago.
bool KeyRotations::others_at_work() {
    const auto now = steady_clock::now();
    const auto entries = records_.ledger().counters().entries.load(std::memory_order_relaxed);
    if (entries > entries_ + 1) others_seen_ = now;  // one is that of the stretch before
    entries_ = entries;
    return now - others_seen_ < kOthersGone;
}

/// Leaves the commit thread to others for as long as their part is.
void KeyRotations::leave_room(steady_clock::duration taken) {
    const auto pause = std::min<steady_clock::duration>(taken * (kParts - 1), kLongestPause);
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, pause, [&] { return stopping_; });
}

/// Commits the rows that come next, and reads on meanwhile.
base::Status KeyRotations::move_stretch(const Operation& operation, const GenerationRows& rows) {
    const bool beside_others = others_at_work();
    const auto credentials = beside_others ? std::min(kBesideCalls, settings_.credentials_per_commit)
                                           : settings_.credentials_per_commit;
    auto now = ahead_ && ahead_->operation == operation.id && ahead_->stretch.from == operation.cursor
                   ? base::Result<Stretch>(std::move(ahead_->stretch))
                   : rows.next(operation.cursor, credentials);
    ahead_.reset();
    if (!now) return std::unexpected(std::move(now).error());

    const bool last = now->next.empty();
    const auto step = [&](Change& change, Operation newest) {
        newest.total = operation.total;
        newest.cursor = now->next;
        if (last)
            newest.step =
                newest.step == OperationStep::data_keys ? OperationStep::objects : OperationStep::last_look;
        return move_rows(change, std::move(newest), std::move(now->rows));
    };
    const auto begun = steady_clock::now();
    auto ended = begun;
    std::promise<base::Status> answer;
    auto answered = answer.get_future();
    const auto id = operation.id;
    records_.change(
        own_actor(operation),
        [&, id](Change& change) -> base::Status {
            const auto newest = change.catalog().find<Operation>(id);
            if (!newest || newest->state != OperationState::running || newest->cursor != operation.cursor ||
                newest->step != operation.step || newest->rolling_back != operation.rolling_back)
                return {};  // steered meanwhile: look at it anew
            const auto moved = step(change, *newest);
            return moved ? base::Status() : std::unexpected(moved.error());
        },
        [&](base::Status done) {
            ended = steady_clock::now();
            answer.set_value(std::move(done));
        });
    std::optional<Ahead> read_ahead;
    if (!last)
        if (auto next = rows.next(now->next, credentials)) read_ahead = Ahead{operation.id, std::move(*next)};
    auto done = answered.get();
    if (done) ahead_ = std::move(read_ahead);
    if (beside_others) leave_room(ended - begun);
    return done;
}

/// Not a counter says that nothing is left, but a look at every row.
base::Status KeyRotations::look_for_the_rest(const Operation& operation, const Vault& vault) {
    walk_.reset();
    for (const auto table : {Table::data_key, Table::meta}) {
        const GenerationRows rows(records_, vault, table, operation.from, operation.to);
        for (std::string at;;) {
            auto stretch = rows.next(at, settings_.credentials_per_commit);
            if (!stretch) return std::unexpected(stretch.error());
            if (!stretch->rows.empty())
                return commit(operation, [&](Change& change, Operation newest) {
                    return move_rows(change, std::move(newest), std::move(stretch->rows));
                });
            if (stretch->next.empty()) break;
            at = stretch->next;
        }
    }
    if (settings_.in_use) {
        const auto used = settings_.in_use(vault.id, operation.from);
        if (!used) return std::unexpected(used.error());
        if (*used)
            return base::failure(
                ErrorKind::unavailable, "keys.still_in_use",
                "An answer of a token endpoint that is not stored yet is sealed with the old key.",
                "It goes on by itself as soon as the answer is stored.");
    }
    auto finished = commit(operation, finish_vault_rotation);
    if (!finished) return finished;
    // A key that is gone shall not stand in a file. Nothing depends on it, and `claviger purge` does it, too.
    const auto purged = records_.storage().purge_erased({{Table::owner_key, Bytes(id_view(vault.id.raw))}});
    if (!purged) base::log_error("keys.not_purged", purged.error());
    return {};
}

/// One step, unless somebody has steered the operation since it was looked at.
base::Status KeyRotations::commit(const Operation& operation, const Step& step) {
    std::promise<base::Status> answer;
    auto answered = answer.get_future();
    records_.change(
        own_actor(operation),
        [&](Change& change) -> base::Status {
            const auto newest = change.catalog().find<Operation>(operation.id);
            if (!newest || newest->state != operation.state || newest->step != operation.step ||
                newest->rolling_back != operation.rolling_back)
                return {};
            const auto stepped = step(change, *newest);
            return stepped ? base::Status() : std::unexpected(stepped.error());
        },
        [&](base::Status done) { answer.set_value(std::move(done)); });
    return answered.get();
}

/// What passes by itself is only said; anything else pauses the operation until somebody has looked at it.
void KeyRotations::report(const Operation& operation, const base::Error& problem) {
    base::log_error("operation.problem", problem);
    if (operation.problem && operation.problem->code == problem.code) return;
    const auto state = problem.code == "vault.not_found" ? OperationState::failed
                       : passes_by_itself(problem)       ? operation.state
                                                         : OperationState::paused;
    const auto noted = commit(operation, [&](Change& change, Operation newest) {
        return note_problem(change, std::move(newest), state, problem);
    });
    if (!noted) base::log_error("operation.problem_not_noted", noted.error());
}

void KeyRotations::note_pace(const Operation& operation) {
    const std::lock_guard lock(mutex_);
    auto& began = began_[operation.id];
    if (began.at == steady_clock::time_point{} || operation.done < began.done || began.step > operation.step)
        began = {steady_clock::now(), operation.done, operation.step};
}

std::optional<KeyRotations::Pace> KeyRotations::pace(const Operation& operation) const {
    if (operation.state != OperationState::running) return std::nullopt;
    const std::lock_guard lock(mutex_);
    const auto found = began_.find(operation.id);
    if (found == began_.end() || operation.done <= found->second.done) return std::nullopt;
    const std::chrono::duration<double> took = steady_clock::now() - found->second.at;
    Pace pace{static_cast<double>(operation.done - found->second.done) / std::max(took.count(), 0.001)};
    if (operation.total > operation.done)
        pace.remaining = std::chrono::seconds(
            static_cast<long>(static_cast<double>(operation.total - operation.done) / pace.per_second) + 1);
    return pace;
}

}  // namespace claviger::vault
