#include "vault/ledger.h"

#include "base/log.h"
#include "base/require.h"
#include "base/scheduling.h"
#include "vault/ledger_check.h"
#include "vault/log_pin.h"
#include "vault/log_rows.h"
#include "vault/log_writer.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <span>
#include <thread>

namespace claviger::vault {
namespace {

using base::ErrorKind;
using std::chrono::steady_clock;

constexpr std::size_t kGroupEntries = 4096;  // bounds one commit; the next group follows at once
constexpr std::chrono::milliseconds kRetryAfter{500};
// Entries that nobody waits for (outcomes) join the next commit, and get one of their own after this long.
constexpr std::chrono::milliseconds kUnhurried{20};

struct QueuedChange {
    ChangeFunction change;
    Done done;
};

/// What one group wants to make durable, and whom to tell.
struct Attempt {
    Batch batch;
    std::vector<LogEntry> entries;
    std::vector<std::function<void()>> actions;

    void clear() {
        batch.clear();
        entries.clear();
        actions.clear();
    }
};

class ChangeTransaction final : public Transaction {
public:
    ChangeTransaction(std::uint64_t commit_seq, base::Time now, KeyRing& keys, const StorageEngine& engine,
                      Attempt& attempt)
        : commit_seq_(commit_seq), now_(now), keys_(keys), engine_(engine), attempt_(attempt) {}

    std::uint64_t commit_seq() const override { return commit_seq_; }
    base::Time now() const override { return now_; }
    KeyRing& keys() override { return keys_; }
    const StorageEngine& engine() const override { return engine_; }
    Batch& batch() override { return attempt_.batch; }
    void note(const LogEntry& entry) override { attempt_.entries.push_back(entry); }
    void when_durable(std::function<void()> action) override {
        attempt_.actions.push_back(std::move(action));
    }

private:
    std::uint64_t commit_seq_;
    base::Time now_;
    KeyRing& keys_;
    const StorageEngine& engine_;
    Attempt& attempt_;
};

/// Looks at every row that the change requires to be of some version; conflict "storage.conflict".
base::Status require_conditions(Batch& batch, const StorageEngine& engine) {
    std::map<Table, std::vector<const Batch::Precondition*>> by_table;
    for (const auto& required : batch.preconditions()) by_table[required.table].push_back(&required);
    for (auto& [table, required] : by_table) {
        std::ranges::sort(required, {}, &Batch::Precondition::key);
        std::vector<Bytes> keys;
        keys.reserve(required.size());
        for (const auto* each : required) keys.push_back(each->key);
        std::vector<std::uint64_t> versions(keys.size());  // 0: no row
        std::size_t at = 0;
        const auto looked = engine.scan_each(table, keys, [&](ByteView key, ByteView, std::uint64_t version) {
            while (keys[at] < key && at + 1 < keys.size()) ++at;
            for (auto i = at; i < keys.size() && keys[i] == key; ++i) versions[i] = version;
            return true;
        });
        if (!looked) return looked;
        for (std::size_t i = 0; i < keys.size(); ++i)
            if (versions[i] != required[i]->version)
                return base::failure(ErrorKind::conflict, "storage.conflict",
                                     "Somebody else changed the same object first.",
                                     "Read it again and repeat the change.");
    }
    batch.preconditions_hold();
    return {};
}

/// Whether the change kept its promises and its rows are what it requires, so that it cannot spoil the
/// group's commit. Every row is looked at here, once, for its condition or for its table's sum.
base::Status examine(Attempt& attempt, const StorageEngine& engine) {
    auto& batch = attempt.batch;
    if (!batch.empty() && attempt.entries.empty())
        return base::failure(ErrorKind::internal, "ledger.change_without_entry",
                             "The change was refused because it would have left no trace in the access log.",
                             "This is a mistake in Claviger; please report it.");
    for (const auto& write : batch.writes())
        if (is_of_log(write.table, write.key))
            return base::failure(ErrorKind::internal, "ledger.reserved_row",
                                 "The change was refused because it touches the log itself.",
                                 "This is a mistake in Claviger; please report it.");
    for (std::size_t i = 0; i < batch.writes().size(); ++i) {
        const auto& write = batch.writes()[i];
        if (write.was || !is_summed(write.table, write.key)) continue;
        auto row = engine.get(write.table, write.key);
        if (!row) return std::unexpected(std::move(row).error());
        batch.learn(i, *std::move(row));
    }
    return require_conditions(batch, engine);
}

}  // namespace

struct Ledger::State {
    State(StorageEngine& e, KeyRing& k, const base::Clock& c, std::unique_ptr<LogWriter> w)
        : engine(e), keys(k), clock(c), writer(std::move(w)) {}

    void run();
    bool wait_for_work(std::vector<QueuedEntry>& appends, std::optional<QueuedChange>& change);
    void serve(std::span<const QueuedEntry> appends, const std::optional<QueuedChange>& change);
    void refuse(std::span<const QueuedEntry> appends, const std::optional<QueuedChange>& change,
                const base::Error& cause);
    base::Status run_change(const QueuedChange& change, base::Time now);
    base::Status build(std::span<const QueuedEntry> appends);
    base::Status make_durable(std::span<const QueuedEntry> appends);
    void adopt();
    base::Status ready();
    base::Status read_disk_again();

    StorageEngine& engine;
    KeyRing& keys;
    const base::Clock& clock;
    EntryObserver* observer = nullptr;
    LogPin* pin = nullptr;
    LedgerCounters counters;

    std::mutex queue_mutex;
    std::condition_variable work;
    std::vector<QueuedEntry> queued;
    std::deque<QueuedChange> changes;
    bool hurried = false;  // somebody waits for one of `queued`
    bool asleep = false;  // the commit thread waits without a limit: even an entry without hurry must wake it
    bool stopping = false;

    mutable std::mutex head_mutex;  // guards the two below
    std::uint64_t durable_commit = 0;
    Bytes durable_frontier;

    // The commit thread's own.
    std::unique_ptr<LogWriter> writer;
    Attempt attempt;
    Bytes durable_head;                  // the head row of the last commit that is known to be on disk
    std::optional<base::Error> failed;   // why the last commit failed; the disk was not read again since
    std::optional<base::Error> stopped;  // why nothing will be committed any more
    steady_clock::time_point retry_at{};

    std::thread thread;
};

void Ledger::State::run() {
    base::prefer_short_turns();
    std::vector<QueuedEntry> appends;
    std::optional<QueuedChange> change;
    while (wait_for_work(appends, change)) {
        std::span<const QueuedEntry> rest(appends);
        do {
            const auto group = rest.first(std::min(rest.size(), kGroupEntries));
            rest = rest.subspan(group.size());
            serve(group, change);
            change.reset();
        } while (!rest.empty());
        appends.clear();
    }
}

/// False when the ledger closes and nothing is left to do. While the log is not writable it also wakes
/// without work, to try.
bool Ledger::State::wait_for_work(std::vector<QueuedEntry>& appends, std::optional<QueuedChange>& change) {
    std::unique_lock lock(queue_mutex);
    const auto due = [&] {
        return stopping || hurried || !changes.empty() || queued.size() >= kGroupEntries;
    };
    const auto arrived = [&] { return due() || !queued.empty(); };
    if (failed && !stopped) {
        work.wait_until(lock, retry_at, arrived);
    } else {
        work.wait_for(lock, kUnhurried, due);
        if (!arrived()) {
            asleep = true;
            work.wait(lock, arrived);
            asleep = false;
            work.wait_for(lock, kUnhurried, due);
        }
    }
    if (stopping && queued.empty() && changes.empty()) return false;
    appends.swap(queued);
    hurried = false;
    if (!changes.empty()) {
        change = std::move(changes.front());
        changes.pop_front();
    }
    return true;
}

void Ledger::State::serve(std::span<const QueuedEntry> appends, const std::optional<QueuedChange>& change) {
    if (const auto can = ready(); !can) return refuse(appends, change, can.error());
    attempt.clear();
    const auto now = writer->begin(clock.now());
    const auto changed = change ? run_change(*change, now) : base::Status();
    const auto noted = attempt.entries.size();

    if (const auto committed = make_durable(appends); !committed) {
        refuse(appends, changed ? change : std::nullopt, committed.error());
        if (!changed && change->done) change->done(changed);
        return;
    }
    for (std::size_t i = 0; i < appends.size(); ++i)
        if (appends[i].appended) appends[i].appended(attempt.entries[noted + i].position);
    if (change && change->done) change->done(changed);
}

void Ledger::State::refuse(std::span<const QueuedEntry> appends, const std::optional<QueuedChange>& change,
                           const base::Error& cause) {
    const auto error = [&](const char* consequence) {
        if (stopped) return *stopped;
        return base::Error{ErrorKind::unavailable, "log.not_durable",
                           std::string("The access log cannot be written right now, so ") + consequence,
                           "Check the free space and the health of the disk under the data folder. It works "
                           "again as soon as "
                           "a write succeeds.",
                           std::string(cause.code) + ": " + cause.message + " " + cause.detail};
    };
    for (const auto& append : appends)
        if (append.appended) append.appended(std::unexpected(error("the call was not made.")));
    if (change && change->done) change->done(std::unexpected(error("nothing was changed.")));
}

/// On failure nothing of the change is left in the attempt.
base::Status Ledger::State::run_change(const QueuedChange& change, base::Time now) {
    ChangeTransaction transaction(writer->next_commit(), now, keys, engine, attempt);
    auto changed = change.change(transaction);
    if (changed) changed = examine(attempt, engine);
    if (!changed) {
        attempt.clear();
        keys.changes_abandoned();
    }
    return changed;
}

/// Entries, names, index rows and the head, behind the rows of the change.
base::Status Ledger::State::build(std::span<const QueuedEntry> appends) {
    for (const auto& append : appends) attempt.entries.push_back(append.entry);
    if (auto placed = writer->append(attempt.entries, attempt.batch); !placed) return placed;
    for (const auto& append : appends)
        for (const auto& name : append.names)
            if (auto learned = writer->learn(name, attempt.batch); !learned) return learned;
    if (observer != nullptr && !attempt.entries.empty())
        observer->about_to_commit(attempt.entries, writer->next_commit(), attempt.batch);
    return writer->finish(attempt.batch);
}

/// On failure the attempt is kept: whether the disk has it after all shows when it is read again.
base::Status Ledger::State::make_durable(std::span<const QueuedEntry> appends) {
    const bool probe = !counters.writable.load(std::memory_order_relaxed);
    if (appends.empty() && attempt.batch.empty() && attempt.entries.empty() && !probe) {
        for (const auto& action : attempt.actions) action();
        return {};
    }
    auto committed = build(appends);
    const auto start = steady_clock::now();
    if (committed) committed = engine.commit(writer->last_commit(), attempt.batch);
    if (!committed) {
        failed = committed.error();
        counters.failed_commits.fetch_add(1, std::memory_order_relaxed);
        if (counters.writable.exchange(false)) base::log_error("log.not_writable", *failed);
        return committed;
    }
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start).count();
    counters.commit_micros.fetch_add(static_cast<std::uint64_t>(micros), std::memory_order_relaxed);
    adopt();
    if (!counters.writable.exchange(true)) base::log(base::LogLevel::info, "log.writable_again");
    return {};
}

/// The attempt is on disk: memory follows.
void Ledger::State::adopt() {
    durable_head = writer->head_row();
    {
        const std::lock_guard lock(head_mutex);
        durable_commit = writer->last_commit();
        durable_frontier = writer->tree().frontier();
    }
    if (pin != nullptr)
        pin->note({durable_commit, writer->tree().size(), crypto::Tree::restore(durable_frontier)->root()});
    keys.changes_durable();
    for (const auto& action : attempt.actions) action();
    counters.followed.store(durable_commit, std::memory_order_release);
    if (observer != nullptr && !attempt.entries.empty()) observer->durable(attempt.entries);
    counters.commits.fetch_add(1, std::memory_order_relaxed);
    counters.entries.fetch_add(attempt.entries.size(), std::memory_order_relaxed);
    if (attempt.entries.size() > counters.group_entries_max.load(std::memory_order_relaxed))
        counters.group_entries_max.store(attempt.entries.size(), std::memory_order_relaxed);
}

/// Whether a commit may be tried. After a failure the disk is read again first, at most every half second.
base::Status Ledger::State::ready() {
    if (stopped) return std::unexpected(*stopped);
    if (!failed) return {};
    const auto now = steady_clock::now();
    if (now < retry_at) return std::unexpected(*failed);
    retry_at = now + kRetryAfter;
    auto known = read_disk_again();
    if (known)
        failed.reset();
    else if (known.error().kind == ErrorKind::corrupt) {
        stopped = known.error();
        base::log_error("log.stopped", *stopped);
    } else {
        failed = known.error();
    }
    return known;
}

base::Status Ledger::State::read_disk_again() {
    if (auto recovered = engine.recover(); !recovered) return recovered;
    const auto head = read_head_row(engine);
    if (!head) return std::unexpected(head.error());
    if (*head == durable_head) {
        keys.changes_abandoned();
        if (observer != nullptr) observer->abandoned();
        auto loaded = LogWriter::load(engine, keys);
        if (!loaded) return std::unexpected(std::move(loaded).error());
        writer = std::move(*loaded);
        return {};
    }
    if (*head == writer->head_row()) {
        adopt();
        return {};
    }
    return base::failure(ErrorKind::corrupt, "ledger.other_writer",
                         "The store was written by somebody else, so this process stopped writing.",
                         "Make sure that one process alone uses the data folder, then restart it.",
                         "the head is neither that of the last commit nor that of the failed one");
}

void Ledger::initialise(KeyRing& keys, base::Time now, const LogEntry& entry, Batch& batch) {
    LogWriter writer(nullptr, keys);
    writer.begin(now);
    LogEntry first = entry;
    auto built = writer.append(std::span(&first, 1), batch);
    if (built) built = writer.finish(batch);
    base::require(built.has_value(), "the first commit can be built: without a disk nothing can fail");
}

base::Result<std::unique_ptr<Ledger>> Ledger::open(StorageEngine& engine, KeyRing& keys,
                                                   const base::Clock& clock, const RowReaders& readers) {
    auto writer = LogWriter::load(engine, keys);
    if (!writer) return std::unexpected(std::move(writer).error());
    if (auto checked = check_store(engine, keys, **writer, readers); !checked)
        return std::unexpected(std::move(checked).error());
    keys.changes_durable();  // a store that was just made: its first keys are on disk
    auto state = std::make_unique<State>(engine, keys, clock, std::move(*writer));
    state->durable_head = state->writer->head_row();
    state->durable_commit = state->writer->last_commit();
    state->counters.followed = state->durable_commit;
    state->durable_frontier = state->writer->tree().frontier();
    return std::unique_ptr<Ledger>(new Ledger(std::move(state)));
}

Ledger::Ledger(std::unique_ptr<State> state) : state_(std::move(state)) {
    state_->thread = std::thread([this] { state_->run(); });
}

Ledger::~Ledger() {
    {
        const std::lock_guard lock(state_->queue_mutex);
        state_->stopping = true;
    }
    state_->work.notify_one();
    state_->thread.join();
}

void Ledger::set_observer(EntryObserver* observer) { state_->observer = observer; }

void Ledger::set_pin(LogPin* pin) { state_->pin = pin; }

void Ledger::submit(ChangeFunction change, Done done) {
    {
        const std::lock_guard lock(state_->queue_mutex);
        state_->changes.push_back({std::move(change), std::move(done)});
    }
    state_->work.notify_one();
}

void Ledger::append(const LogEntry& entry, const std::array<NamedFingerprint, 3>& names, Appended appended) {
    std::vector<QueuedEntry> one;
    one.push_back({entry, names, std::move(appended)});
    append(one);
}

void Ledger::append(std::vector<QueuedEntry>& entries) {
    const bool awaited =
        std::ranges::any_of(entries, [](const auto& one) { return one.appended != nullptr; });
    bool wake = false;
    {
        const std::lock_guard lock(state_->queue_mutex);
        auto& queued = state_->queued;
        if (queued.empty())
            queued.swap(entries);
        else
            std::ranges::move(entries, std::back_inserter(queued));
        state_->hurried = state_->hurried || awaited;
        wake = awaited || state_->asleep || queued.size() >= kGroupEntries;
    }
    entries.clear();
    if (wake) state_->work.notify_one();
}

LogHead Ledger::head() const {
    LogHead head;
    Bytes frontier;
    {
        const std::lock_guard lock(state_->head_mutex);
        head.commit_seq = state_->durable_commit;
        frontier = state_->durable_frontier;
    }
    const auto tree = crypto::Tree::restore(frontier).value();
    head.size = tree.size();
    head.root = tree.root();
    return head;
}

const LedgerCounters& Ledger::counters() const { return state_->counters; }

base::Result<LogEntry> Ledger::read(std::uint64_t position) const {
    auto stored = EntryReader(state_->engine, state_->keys).read(position);
    if (stored) return stored->entry;
    if (stored.error().kind == ErrorKind::not_found && position < head().size)
        return base::failure(ErrorKind::corrupt, "log.entry_refused", "An entry of the access log is gone.",
                             "Restore the data folder from a backup, and find out who can write to it.",
                             "log entry " + std::to_string(position) + " is missing");
    return std::unexpected(std::move(stored).error());
}

base::Result<std::optional<std::string>> Ledger::name_of(const Fingerprint& fingerprint) const {
    const auto row = state_->engine.get(Table::name, id_view(fingerprint));
    if (!row) return std::unexpected(row.error());
    if (!*row) return std::nullopt;
    const auto key = state_->keys.owner_key(state_->engine, {}, state_->keys.instance(), kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    auto name = open_name(state_->keys, **key, fingerprint, (*row)->value);
    if (!name) return std::unexpected(std::move(name).error());
    return std::optional<std::string>(std::move(*name));
}

}  // namespace claviger::vault
