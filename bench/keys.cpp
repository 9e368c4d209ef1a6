// Measures a store of many secrets: opening it, a page of a list, and what rotations of keys cost while it is
// used.
//   claviger_bench_keys DIRECTORY [SECRETS]    SECRETS: 1000000 by default; the store is made when it is
//   missing.
// Prints one JSON object; cpu_ms is the processor time of all threads. Everything runs in this process on the
// real engine, without the network: what is measured as a call is the look-up and opening of a secret and the
// synced intent in the access log. Calls run beside rotations of a second vault, which has at most 100,000
// secrets so that a store of a million takes minutes, not an hour.
#include "crypto/random.h"
#include "vault/key_rotations.h"

#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>

namespace claviger::bench {
namespace {

using namespace vault;
using std::chrono::steady_clock;
using Millis = std::chrono::duration<double, std::milli>;

constexpr std::size_t kPerCommit = 200;
constexpr int kCallers = 8;
constexpr std::size_t kBesideCalls = 100'000;

void must(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

double since(steady_clock::time_point begun) { return Millis(steady_clock::now() - begun).count(); }

/// Of all threads so far.
double cpu_millis() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto millis = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
    };
    return millis(used.ru_utime) + millis(used.ru_stime);
}

SealInput key_file() { return {crypto::SlotKind::key_file, crypto::Secret::copy_of(std::string(64, 'k'))}; }

base::Status change(Records& records, const std::function<base::Status(Change&)>& apply) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    records.change({.kind = ActorKind::system}, apply,
                   [&](base::Status status) { promise.set_value(std::move(status)); });
    return answer.get();
}

/// The vault of that name, made with that many secrets in it when there is none.
Vault filled(Records& records, const char* name, std::size_t secrets) {
    const auto workspace = records.catalog().page<Workspace>({}).front()->id;
    for (const auto& vault : records.catalog().page<Vault>({.scope = workspace.raw}))
        if (vault->display_name == name) return *vault;
    Vault vault;
    vault.id = crypto::random_id<base::VaultId>();
    vault.workspace = workspace;
    vault.display_name = name;
    must(change(records,
                [&](Change& now) {
                    now.create_key_of(workspace.raw, vault.id.raw);
                    now.note(EntryKind::write, Action::create, ObjectKind::vault, vault.id.raw);
                    return now.store(vault);
                })
             .has_value(),
         "no vault");
    for (std::size_t made = 0; made < secrets; made += kPerCommit) {
        const auto stored = change(records, [&](Change& now) -> base::Status {
            now.note(EntryKind::write, Action::create, ObjectKind::vault, vault.id.raw);
            for (std::size_t i = made; i < std::min(made + kPerCommit, secrets); ++i) {
                Credential credential;
                credential.id = crypto::random_id<base::CredentialId>();
                credential.workspace = workspace;
                credential.vault = vault.id;
                credential.display_name = "credential " + std::to_string(i);
                credential.mcp_server_url = credential.normal_url =
                    "https://mcp" + std::to_string(i) + ".example.com/mcp";
                SecretParts parts;
                parts.token =
                    crypto::Secret::copy_of("a token of common length, number " + std::to_string(i));
                if (auto kept = now.store_with_secret(credential, parts); !kept) return kept;
            }
            return {};
        });
        must(stored.has_value(), "the secrets are not stored");
    }
    return *records.catalog().find<Vault>(vault.id);
}

/// Calls at full speed from several threads until told to stop.
class Load {
public:
    Load(Records& records, const Vault& vault) : records_(records) {
        for (const auto& each : records.catalog().page<Credential>({.scope = vault.id.raw, .limit = 1'000}))
            credentials_.push_back(each);
        for (int i = 0; i < kCallers; ++i) threads_.emplace_back([this, i] { run(i); });
    }
    ~Load() {
        over_ = true;
        for (auto& thread : threads_) thread.join();
    }
    struct Seen {
        std::vector<double> millis;
        std::uint64_t failures = 0;
    };
    /// What was seen since this was last asked.
    Seen take() {
        const std::lock_guard lock(mutex_);
        return std::exchange(seen_, {});
    }

private:
    void run(int caller) {
        for (std::size_t i = static_cast<std::size_t>(caller); !over_; i += 7) {
            const auto& credential = credentials_[i % credentials_.size()];
            const auto begun = steady_clock::now();
            LogEntry entry;
            entry.kind = EntryKind::use_intent;
            entry.action = Action::call;
            entry.verdict = Verdict::allowed;
            entry.credential = credential->id.raw;
            std::promise<bool> promise;
            auto noted = promise.get_future();
            records_.ledger().append(entry, {}, [&](base::Result<std::uint64_t> position) {
                promise.set_value(position.has_value());
            });
            bool good = noted.get();
            const auto sealed = records_.sealed_secret(*credential);
            good = good && sealed && records_.open_token(*sealed);
            const auto took = since(begun);
            const std::lock_guard lock(mutex_);
            seen_.millis.push_back(took);
            if (!good) ++seen_.failures;
        }
    }

    Records& records_;
    std::vector<Ref<Credential>> credentials_;
    std::atomic<bool> over_ = false;
    std::mutex mutex_;
    Seen seen_;
    std::vector<std::thread> threads_;
};

nlohmann::json told(Load::Seen seen, double millis) {
    std::ranges::sort(seen.millis);
    const auto at = [&](double share) {
        return seen.millis.empty() ? 0
                                   : seen.millis[static_cast<std::size_t>(
                                         share * static_cast<double>(seen.millis.size() - 1))];
    };
    return {{"seconds", millis / 1000},
            {"calls", seen.millis.size()},
            {"calls_per_second", static_cast<double>(seen.millis.size()) * 1000 / millis},
            {"failures", seen.failures},
            {"p50_ms", at(0.5)},
            {"p99_ms", at(0.99)}};
}

/// `data_keys_ms`: when the first step, the secrets' keys, was done.
Operation waited_for(Records& records, KeyRotations& rotations, const base::OperationId& id,
                     double* data_keys_ms = nullptr) {
    rotations.wake();
    const auto begun = steady_clock::now();
    for (;;) {
        const auto operation = records.catalog().find<Operation>(id);
        if (data_keys_ms != nullptr && *data_keys_ms == 0 && operation->step > OperationStep::data_keys)
            *data_keys_ms = since(begun);
        if (operation->state != OperationState::running) return *operation;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

base::OperationId begun_for_vault(Records& records, const base::VaultId& vault) {
    base::OperationId id;
    must(change(records,
                [&](Change& now) -> base::Status {
                    const auto operation = begin_vault_rotation(now, *now.catalog().find<Vault>(vault), {});
                    if (!operation) return std::unexpected(operation.error());
                    id = operation->id;
                    return {};
                })
             .has_value(),
         "the rotation does not begin");
    return id;
}

void rotate_root(Records& records, KeyRotations& rotations) {
    SlotAccess access;
    access.key_files = [] {
        std::vector<vault::SealInput> files;
        files.push_back(key_file());
        return files;
    };
    const auto prepared = prepare_root(records.keys(), records.engine(), access, records.clock().now());
    must(prepared.has_value(), "no root key is prepared");
    base::OperationId id;
    must(change(records,
                [&](Change& now) -> base::Status {
                    const auto operation =
                        begin_root_rotation(now, *prepared, now.catalog().page<Workspace>({}).front()->id,
                                            {.retire_after = std::chrono::seconds(0)});
                    if (!operation) return std::unexpected(operation.error());
                    id = operation->id;
                    return {};
                })
             .has_value(),
         "the rotation does not begin");
    must(waited_for(records, rotations, id).state == OperationState::succeeded,
         "the root key is not rotated");
}

struct Opened {
    double unseal_ms = 0, open_ms = 0, cpu_ms = 0;
    std::unique_ptr<Records> records;
};

Opened open(StorageEngine& engine, const base::Clock& clock) {
    Opened opened;
    const auto begun = steady_clock::now();
    const auto cpu = cpu_millis();
    auto ring = KeyRing::unseal(engine, key_file());
    must(ring.has_value(), "the store does not unseal");
    opened.unseal_ms = since(begun);
    auto records = Records::open(engine, std::move(*ring), clock);
    must(records.has_value(), "the store does not open");
    opened.open_ms = since(begun);
    opened.cpu_ms = cpu_millis() - cpu;
    opened.records = std::move(*records);
    return opened;
}

int run(const std::filesystem::path& folder, std::size_t secrets) {
    const base::SystemClock clock;
    nlohmann::json result{{"secrets", secrets}};
    {
        auto engine = open_rocksdb(folder / "store");
        must(engine.has_value(), "the engine does not open");
        if ((*engine)->last_commit() == 0) {
            std::vector<SealInput> inputs;
            inputs.push_back(key_file());
            must(Records::initialise(**engine, inputs, crypto::PassphraseStrength::moderate, clock)
                     .has_value(),
                 "no store is made");
        }
        auto opened = open(**engine, clock);
        const auto begun = steady_clock::now();
        filled(*opened.records, "many", secrets);
        filled(*opened.records, "beside calls", std::min(secrets, kBesideCalls));
        result["fill_ms"] = since(begun);
    }
    const auto engine_begun = steady_clock::now();
    auto engine = open_rocksdb(folder / "store");
    must(engine.has_value(), "the engine does not open");
    result["engine_open_ms"] = since(engine_begun);
    auto opened = open(**engine, clock);
    result["unseal_ms"] = opened.unseal_ms;
    result["unseal_to_ready_ms"] = opened.open_ms;
    result["unseal_to_ready_cpu_ms"] = opened.cpu_ms;
    auto& records = *opened.records;
    const auto vault = filled(records, "many", secrets);
    const auto busy = filled(records, "beside calls", 0);

    const auto page_begun = steady_clock::now();
    const auto page = records.catalog().page<Credential>({.scope = vault.id.raw, .limit = 100});
    result["page_of_100_ms"] = since(page_begun);
    must(page.size() == 101, "the page is short");

    KeyRotations rotations(records, {});
    rotations.start();
    {
        const auto begun = steady_clock::now();
        const auto cpu = cpu_millis();
        double data_keys_ms = 0;
        const auto done = waited_for(records, rotations, begun_for_vault(records, vault.id), &data_keys_ms);
        must(done.state == OperationState::succeeded, "the vault's key is not rotated");
        const auto took = since(begun);
        result["rewrap"] = {{"seconds", took / 1000},
                            {"data_keys_per_second", static_cast<double>(secrets) * 1000 / data_keys_ms},
                            {"cpu_ms", cpu_millis() - cpu},
                            {"rows", done.done},
                            {"rows_per_second", static_cast<double>(done.done) * 1000 / took}};
    }
    Load load(records, busy);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    load.take();
    std::this_thread::sleep_for(std::chrono::seconds(5));
    const auto before = told(load.take(), 5'000);
    const auto begun = steady_clock::now();
    const auto id = begun_for_vault(records, busy.id);
    rotations.wake();
    waited_for(records, rotations, id);
    for (int round = 0; round < 3; ++round) rotate_root(records, rotations);
    const auto during = told(load.take(), since(begun));
    result["calls_before"] = before;
    result["calls_during"] = during;
    result["p99_ratio"] = during["p99_ms"].get<double>() / std::max(before["p99_ms"].get<double>(), 0.001);
    std::cout << result.dump(2) << std::endl;
    return before["failures"] == 0 && during["failures"] == 0 ? 0 : 1;
}

}  // namespace
}  // namespace claviger::bench

int main(int count, char** words) {
    if (count < 2 || count > 3) {
        std::fputs("usage: claviger_bench_keys DIRECTORY [SECRETS]\n", stderr);
        return 2;
    }
    return claviger::bench::run(words[1], count == 3 ? std::strtoul(words[2], nullptr, 10) : 1'000'000);
}
