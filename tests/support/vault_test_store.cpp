#include "tests/support/vault_test_store.h"

#include "tests/support/spec.h"

#include <cstdlib>
#include <future>

namespace claviger::test {
namespace {

using namespace vault;

template <class T>
T wait_for(std::future<T>& answer) {
    REQUIRE(answer.wait_for(std::chrono::minutes(2)) == std::future_status::ready);
    return answer.get();
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
    char name[] = "/tmp/claviger-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

SealInput passphrase(std::string_view text) {
    return {crypto::SlotKind::passphrase, crypto::Secret::copy_of(text)};
}

SealInput key_file(char fill) {
    return {crypto::SlotKind::key_file, crypto::Secret::copy_of(std::string(64, fill))};
}

void make_store(StorageEngine& engine, const base::Clock& clock) {
    std::vector<SealInput> inputs;
    inputs.push_back(passphrase());
    inputs.push_back(key_file());
    Batch batch;
    auto keys = KeyRing::create(inputs, crypto::PassphraseStrength::only_for_tests, clock.now(), batch);
    REQUIRE(keys);
    LogEntry first;
    first.kind = EntryKind::admin;
    first.action = Action::initialise;
    first.object = ObjectKind::instance;
    first.object_id = (*keys)->instance();
    Ledger::initialise(**keys, clock.now(), first, batch);
    REQUIRE(engine.commit(1, batch));
}

OpenStore::OpenStore(StorageEngine& engine, const base::Clock& clock) {
    auto ring = KeyRing::unseal(engine, key_file());
    REQUIRE(ring);
    keys = std::move(*ring);
    auto opened = Ledger::open(engine, *keys, clock);
    if (!opened) FAIL(opened.error().code << ": " << opened.error().detail);
    ledger = std::move(*opened);
    auto log = AccessLog::open(engine, *keys, *ledger);
    if (!log) FAIL(log.error().code << ": " << log.error().detail);
    access_log = std::move(*log);
    ledger->set_observer(access_log.get());
}

base::RawId id_of(unsigned number) {
    base::RawId id{};
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<unsigned char>(number >> (8 * (i % 4)));
    id[15] = 0xee;
    return id;
}

LogEntry entry_of(EntryKind kind, unsigned number) {
    LogEntry entry;
    entry.kind = kind;
    entry.action = Action::call;
    entry.verdict = Verdict::allowed;
    entry.actor = ActorKind::session;
    entry.actor_id = entry.session = id_of(number % 97);
    entry.workspace = id_of(1);
    entry.credential = id_of(number % 13 + 1000);
    entry.credential_version = number + 1;
    entry.request_bytes = number;
    return entry;
}

base::Result<std::uint64_t> append(Ledger& ledger, const LogEntry& entry,
                                   const std::array<NamedFingerprint, 3>& names) {
    std::promise<base::Result<std::uint64_t>> promise;
    auto answer = promise.get_future();
    ledger.append(entry, names,
                  [&](base::Result<std::uint64_t> position) { promise.set_value(std::move(position)); });
    return wait_for(answer);
}

base::Status submit(Ledger& ledger, ChangeFunction change) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    ledger.submit(std::move(change), [&](base::Status status) { promise.set_value(std::move(status)); });
    return wait_for(answer);
}

void append_all(Ledger& ledger, const std::vector<LogEntry>& entries) {
    std::vector<QueuedEntry> queued;
    std::vector<std::future<bool>> durable;
    for (const auto& entry : entries) {
        auto done = std::make_shared<std::promise<bool>>();
        durable.push_back(done->get_future());
        queued.push_back({.entry = entry, .appended = [done](const base::Result<std::uint64_t>& position) {
                              done->set_value(position.has_value());
                          }});
    }
    ledger.append(queued);
    for (auto& each : durable) REQUIRE(each.get());
    REQUIRE(append(ledger, entries.back()));
}

base::Bytes stamped(std::uint64_t commit_seq, std::string_view content) {
    base::Bytes row;
    base::append_big_endian(row, commit_seq);
    base::append_big_endian(row, std::uint64_t{1'790'000'000'000});
    return row.append(content);
}

base::Bytes object_key(unsigned object) {
    const auto id = id_of(object);
    return base::Bytes(1, '\4') + base::Bytes(reinterpret_cast<const char*>(id.data()), id.size());
}

ChangeFunction put_object(unsigned object, std::string content) {
    return [object, content = std::move(content)](Transaction& transaction) -> base::Status {
        transaction.batch().put(Table::meta, object_key(object), stamped(transaction.commit_seq(), content));
        LogEntry entry;
        entry.kind = EntryKind::write;
        entry.action = Action::update;
        entry.object = ObjectKind::credential;
        entry.object_id = id_of(object);
        transaction.note(entry);
        return {};
    };
}

}  // namespace claviger::test
