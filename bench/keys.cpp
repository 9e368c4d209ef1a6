// Measures a store of many secrets: opening it, a page of a list, and what rotations of keys cost while it is
// used.
//   claviger_bench_keys DIRECTORY [SECRETS [PER_VAULT]]
// SECRETS: 1000000 by default; the store is made when it is missing. PER_VAULT: how many of them each vault
// holds; by default one vault holds them all.
// Prints one JSON object; cpu_ms is the processor time of all threads. Everything runs in this process on the
// real engine, without the network: what is measured as a call is the look-up and opening of a secret and the
// synced intent in the access log. With one vault its key is rotated twice, at first without calls; the
// second time, and while the root key is rotated three times, calls go on at full speed. With many vaults the
// root key alone is rotated. Ends with 1 when a call failed.
#include "crypto/random.h"
#include "vault/key_rotations.h"
#include "vault/shredding.h"

#include <nlohmann/json.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
// Calls alone, long enough for what the store itself does from time to time.
constexpr std::chrono::seconds kBefore{60};
constexpr std::size_t kMostVaultsPerCommit = 50;

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

base::WorkspaceId workspace_of(const Records& records) {
    return records.catalog().page<Workspace>({}).front()->id;
}

std::vector<Ref<Vault>> vaults_of(const Records& records) {
    return records.catalog().page<Vault>(
        {.scope = workspace_of(records).raw, .order = PageQuery<Vault>::Order::oldest_first});
}

Credential credential_of(const Vault& vault, std::size_t number) {
    Credential credential;
    credential.id = crypto::random_id<base::CredentialId>();
    credential.workspace = vault.workspace;
    credential.vault = vault.id;
    credential.display_name = "credential " + std::to_string(number);
    credential.mcp_server_url = credential.normal_url =
        "https://mcp" + std::to_string(number) + ".example.com/mcp";
    return credential;
}

base::Status make_vaults(Change& now, const base::WorkspaceId& workspace, std::size_t vaults,
                         std::vector<Vault>& made) {
    for (std::size_t i = 0; i < vaults; ++i) {
        Vault vault;
        vault.id = crypto::random_id<base::VaultId>();
        vault.workspace = workspace;
        vault.display_name = "vault";
        now.create_key_of(workspace.raw, vault.id.raw);
        now.note(EntryKind::write, Action::create, ObjectKind::vault, vault.id.raw);
        if (auto stored = now.store(vault); !stored) return stored;
        made.push_back(std::move(vault));
    }
    return {};
}

void fill(Records& records, std::size_t secrets, std::size_t per_vault) {
    std::vector<Vault> vaults;
    const auto wanted = (secrets + per_vault - 1) / per_vault;
    while (vaults.size() < wanted)
        must(change(records,
                    [&](Change& now) {
                        return make_vaults(now, workspace_of(records),
                                           std::min(kMostVaultsPerCommit, wanted - vaults.size()), vaults);
                    })
                 .has_value(),
             "no vaults");
    for (std::size_t made = 0; made < secrets; made += kPerCommit)
        must(change(records,
                    [&](Change& now) -> base::Status {
                        now.note(EntryKind::write, Action::create, ObjectKind::vault, vaults[0].id.raw);
                        for (auto i = made; i < std::min(made + kPerCommit, secrets); ++i) {
                            SecretParts parts;
                            parts.token = crypto::Secret::copy_of("a token of common length, number " +
                                                                  std::to_string(i));
                            auto kept = now.store_with_secret(credential_of(vaults[i / per_vault], i), parts);
                            if (!kept) return kept;
                        }
                        return {};
                    })
                 .has_value(),
             "the secrets are not stored");
}

/// Calls at full speed from several threads until told to stop.
class Load {
public:
    Load(Records& records, const std::vector<Ref<Vault>>& vaults) : records_(records) {
        for (const auto& vault : vaults)
            for (const auto& each :
                 records.catalog().page<Credential>({.scope = vault->id.raw, .limit = 1'000}))
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

/// Makes the store that is measured, unless there is one.
void make(const std::filesystem::path& folder, std::size_t secrets, std::size_t per_vault) {
    const base::SystemClock clock;
    auto engine = open_rocksdb(folder / "store");
    must(engine.has_value(), "the engine does not open");
    if ((*engine)->last_commit() != 0) return;
    std::vector<SealInput> inputs;
    inputs.push_back(key_file());
    must(Records::initialise(**engine, inputs, crypto::PassphraseStrength::moderate, clock).has_value(),
         "no store is made");
    {
        const auto opened = open(**engine, clock);
        fill(*opened.records, secrets, per_vault);
    }
    // A start is measured of a store at rest, not beside what the engine still owes for being filled.
    must((*engine)->purge_erased(all_secret_rows()).has_value(), "the store does not come to rest");
}

/// In a process of its own, so that the one which measures starts as a server does.
void make_elsewhere(const std::filesystem::path& folder, std::size_t secrets, std::size_t per_vault) {
    const auto child = fork();
    must(child >= 0, "no process can be started");
    if (child == 0) {
        make(folder, secrets, per_vault);
        std::_Exit(0);
    }
    int status = 0;
    must(waitpid(child, &status, 0) == child && status == 0, "no store is made");
}

/// Every data key and every object of the vault, without calls beside.
nlohmann::json rewrapped(Records& records, KeyRotations& rotations, const Vault& vault, std::size_t secrets) {
    const auto begun = steady_clock::now();
    const auto cpu = cpu_millis();
    double data_keys_ms = 0;
    const auto done = waited_for(records, rotations, begun_for_vault(records, vault.id), &data_keys_ms);
    must(done.state == OperationState::succeeded, "the vault's key is not rotated");
    const auto took = since(begun);
    return {{"seconds", took / 1000},
            {"data_keys_per_second", static_cast<double>(secrets) * 1000 / data_keys_ms},
            {"cpu_ms", cpu_millis() - cpu},
            {"rows", done.done},
            {"rows_per_second", static_cast<double>(done.done) * 1000 / took}};
}

/// Rotations while calls go on. `vault`: whose key is rotated; null: the root key alone is.
void rotate_beside_calls(Records& records, KeyRotations& rotations, const std::vector<Ref<Vault>>& vaults,
                         const Vault* vault, nlohmann::json& result) {
    Load load(records, vaults);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    load.take();
    const auto first = steady_clock::now();
    std::this_thread::sleep_for(kBefore);
    const auto before = told(load.take(), since(first));
    const auto begun = steady_clock::now();
    std::optional<base::OperationId> of_vault;
    if (vault != nullptr) of_vault = begun_for_vault(records, vault->id);
    for (int round = 0; round < 3; ++round) rotate_root(records, rotations);
    if (of_vault)
        must(waited_for(records, rotations, *of_vault).state == OperationState::succeeded,
             "the vault's key is not rotated");
    const auto during = told(load.take(), since(begun));
    result["calls_before"] = before;
    result["calls_during"] = during;
    result["p99_ratio"] = during["p99_ms"].get<double>() / std::max(before["p99_ms"].get<double>(), 0.001);
}

int run(const std::filesystem::path& folder, std::size_t secrets, std::size_t per_vault) {
    make_elsewhere(folder, secrets, per_vault);
    const base::SystemClock clock;
    nlohmann::json result{{"secrets", secrets}, {"per_vault", per_vault}};
    const auto engine_begun = steady_clock::now();
    auto engine = open_rocksdb(folder / "store");
    must(engine.has_value(), "the engine does not open");
    result["engine_open_ms"] = since(engine_begun);
    auto opened = open(**engine, clock);
    result["unseal_ms"] = opened.unseal_ms;
    result["unseal_to_ready_ms"] = opened.open_ms;
    result["unseal_to_ready_cpu_ms"] = opened.cpu_ms;
    auto& records = *opened.records;
    const auto vaults = vaults_of(records);

    const auto page_begun = steady_clock::now();
    const auto page = records.catalog().page<Credential>({.scope = vaults[0]->id.raw, .limit = 100});
    result["page_of_100_ms"] = since(page_begun);
    must(page.size() == std::min<std::size_t>(per_vault, 101), "the page is short");

    KeyRotations rotations(records, {});
    rotations.start();
    const auto* const only = vaults.size() == 1 ? vaults[0].get() : nullptr;
    if (only != nullptr) result["rewrap"] = rewrapped(records, rotations, *only, secrets);
    rotate_beside_calls(records, rotations, vaults, only, result);
    std::cout << result.dump(2) << std::endl;
    return result["calls_before"]["failures"] == 0 && result["calls_during"]["failures"] == 0 ? 0 : 1;
}

}  // namespace
}  // namespace claviger::bench

int main(int count, char** words) {
    const auto number = [&](int at, std::size_t otherwise) {
        return count > at ? std::strtoul(words[at], nullptr, 10) : otherwise;
    };
    const auto secrets = number(2, 1'000'000);
    const auto per_vault = number(3, secrets);
    if (count < 2 || count > 4 || secrets == 0 || per_vault == 0) {
        std::fputs("usage: claviger_bench_keys DIRECTORY [SECRETS [PER_VAULT]]\n", stderr);
        return 2;
    }
    return claviger::bench::run(words[1], secrets, per_vault);
}
