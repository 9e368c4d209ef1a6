#include "server/wiring.h"

#include "admin/api/api.h"
#include "base/id.h"
#include "base/log.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "oauth/web_url.h"
#include "proxy/error_reply.h"
#include "server/key_file_change.h"
#include "server/log_sink.h"
#include "server/metrics.h"
#include "server/seal_input.h"
#include "server/store_opening.h"
#include "server/unseal_door.h"
#include "server/unsealed.h"
#include "vault/backup_room.h"
#include "vault/fence.h"

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <csignal>
#include <iostream>
#include <mutex>
#include <thread>

namespace claviger::server {
namespace {

using base::ErrorKind;

net::ServerLimits server_limits(const Config& config) {
    net::ServerLimits limits;
    limits.header_bytes = config.limit_header_bytes;
    limits.body_bytes = config.limit_body_bytes;
    limits.connections = config.limit_connections;
    limits.idle = config.limit_idle;
    limits.head = config.limit_head;
    limits.body = config.limit_body;
    return limits;
}

base::Result<std::shared_ptr<net::TlsServer>> load_tls(const ListenerConfig& listener) {
    if (!listener.tls) return std::shared_ptr<net::TlsServer>();
    return net::TlsServer::load(listener.tls->certificate, listener.tls->private_key);
}

std::string url_of(const ListenerConfig& listener, std::uint16_t port) {
    if (!listener.public_url.empty()) return listener.public_url;
    const bool v6 = listener.address.find(':') != std::string::npos;
    return std::string(listener.tls ? "https://" : "http://") +
           (v6 ? "[" + listener.address + "]" : listener.address) + ":" + std::to_string(port);
}

net::Response sealed_reply() {
    return proxy::error_reply("", 503, 50301, "Claviger is sealed.", "sealed",
                              "An operator has to run `claviger unseal`.");
}

net::Response fenced_reply() {
    return proxy::error_reply("", 503, 50301, "Claviger was restored from a backup and serves no agents yet.",
                              "fenced", "An operator has to look at it and run `claviger backup release`.");
}

net::awaitable<void> refuse_agents(net::ResponseWriter& writer, const vault::Records* records) {
    const auto reply = records == nullptr ? sealed_reply() : fenced_reply();
    co_await writer.send(reply);
}

/// The threads of the workers; joined when this goes.
class Threads {
public:
    explicit Threads(const std::vector<std::unique_ptr<net::Worker>>& workers) : workers_(workers) {
        for (const auto& worker : workers_) threads_.emplace_back([&worker = *worker] { worker.run(); });
    }
    ~Threads() {
        for (const auto& worker : workers_) worker->stop();
        for (auto& thread : threads_) thread.join();
    }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

private:
    const std::vector<std::unique_ptr<net::Worker>>& workers_;
    std::vector<std::thread> threads_;
};

std::vector<net::Worker*> pointers(const std::vector<std::unique_ptr<net::Worker>>& workers) {
    std::vector<net::Worker*> all;
    for (const auto& worker : workers) all.push_back(worker.get());
    return all;
}

void reload(const std::filesystem::path& config_file, net::TlsServer* agents, net::TlsServer* admin) try {
    const auto config = load_config(config_file);
    if (!config) {
        base::log_error("reload.config_refused", config.error());
    } else if (auto restarted = restart_logging(config->log_level, config->log_file); !restarted) {
        base::log_error("reload.log_refused", restarted.error());
    }
    for (auto* tls : {agents, admin})
        if (tls != nullptr)
            if (auto reloaded = tls->reload(); !reloaded)
                base::log_error("reload.certificate_refused", reloaded.error());
    base::log(base::LogLevel::info, "reloaded");
} catch (const std::exception& escaped) {  // what runs goes on as it is
    base::log(base::LogLevel::error, "reload.failed", {{"what", escaped.what()}});
}

/// All at once, because each of them may use up the whole grace.
void drain_all(net::Server& agents, net::Server& admin, net::Server& local, std::chrono::milliseconds grace,
               const std::function<void()>& end_calls) {
    std::thread admins([&] { admin.drain(grace); });
    std::thread locals([&] { local.drain(std::chrono::milliseconds(0)); });
    agents.drain(grace, end_calls);
    admins.join();
    locals.join();
}

/// The signals an operator sends. From when this exists on they wait for wait().
class OperatorSignals {
public:
    /// Returns when it is time to stop; SIGHUP comes back as often as it likes. Afterwards a second SIGTERM
    /// ends the process at once.
    void wait(const std::function<void()>& on_hangup) {
        expect(on_hangup);
        context_.run();
        boost::system::error_code ignored;
        signals_.clear(ignored);
        std::signal(SIGHUP, SIG_IGN);  // there is nothing left to reload
    }

private:
    void expect(const std::function<void()>& on_hangup) {
        signals_.async_wait([&](const boost::system::error_code& error, int signal) {
            if (error || signal != SIGHUP) return;
            on_hangup();
            expect(on_hangup);
        });
    }

    boost::asio::io_context context_{1};
    boost::asio::signal_set signals_{context_, SIGTERM, SIGINT, SIGHUP};
};

/// With what the config names, if it names anything.
base::Status unseal_at_start(const Config& config, const Unseal& unseal,
                             const std::function<vault::Records&()>& records) {
    if (config.pkcs11_at_start) {
        const auto input = token_input(config);
        return input ? unseal(*input) : std::unexpected(input.error());
    }
    if (!config.key_file) return {};
    const auto current = read_key_file(*config.key_file);
    if (!current) return std::unexpected(current.error());
    auto opened = unseal(*current);
    if (opened || opened.error().code != "seal.wrong_key" || !config.previous_key_file) return opened;

    const auto previous = read_key_file(*config.previous_key_file);
    if (!previous) return std::unexpected(previous.error());
    if (auto with_previous = unseal(*previous); !with_previous) return with_previous;
    if (auto added = add_key_file_slot(records(), *current); !added) return added;
    base::log(
        base::LogLevel::warning, "seal.key_file_changed",
        {{"next", "remove the slot of seal.previous_key_file with `claviger seal remove`, and the setting"}});
    return {};
}

}  // namespace

base::Status serve(const std::filesystem::path& config_file, InsecureListen insecure) {
    auto config = load_config(config_file);
    if (!config) return std::unexpected(std::move(config).error());
    if (const auto facts = explain_config(*config, insecure); !facts) return std::unexpected(facts.error());
    if (auto logging = start_logging(config->log_level, config->log_file); !logging) return logging;
    if (auto locked = crypto::prove_locked_memory(); !locked) return locked;
    if (auto quiet = crypto::forbid_core_dumps(); !quiet) return quiet;
    std::signal(SIGPIPE, SIG_IGN);  // nobody who stops reading, a log's reader neither, may end the process
    std::signal(SIGHUP, SIG_IGN);   // until reloading is possible

    const base::SystemClock clock;
    const auto missing = [&] {
        return base::failure(
            ErrorKind::invalid_request, "store.missing",
            "There is no store in " + config->data_dir.string() + ".",
            "Make one with `claviger init --data " + config->data_dir.string() + " --key-file FILE`.");
    };
    std::error_code unreadable;  // opening would make an empty store where there is none
    if (!std::filesystem::exists(config->store_dir(), unreadable) && !unreadable) return missing();
    auto engine = vault::open_rocksdb(config->store_dir());
    if (!engine) return std::unexpected(std::move(engine).error());
    if ((*engine)->last_commit() == 0) return missing();
    auto agents_tls = load_tls(config->agents);
    if (!agents_tls) return std::unexpected(std::move(agents_tls).error());
    auto admin_tls = load_tls(config->admin);
    if (!admin_tls) return std::unexpected(std::move(admin_tls).error());

    proxy::ProxyCounters counters;  // before the workers: calls that are cut off count themselves out
    const auto cores = std::max(1U, std::thread::hardware_concurrency());
    std::vector<std::unique_ptr<net::Worker>> workers;
    for (unsigned i = 0; i < (config->threads == 0 ? cores : config->threads); ++i)
        workers.push_back(std::make_unique<net::Worker>(i));

    // Below, `unsealed` is written once, by whoever unseals, before the two gates let anybody see it.
    std::unique_ptr<Unsealed> unsealed;
    std::optional<vault::BackupRoom> backups;  // ends before the store that it reads
    if (config->backup_dir) backups.emplace(*config->backup_dir);
    boost::asio::thread_pool beside{2};  // for tokens and disks, which take their time
    std::atomic<const proxy::McpEndpoint*> agents_gate{nullptr};
    std::atomic<vault::Records*> records_gate{nullptr};
    std::atomic<bool> stopping{false};
    const net::Server* agents_seen = nullptr;
    const net::Server* admin_seen = nullptr;

    admin::api::ApiSettings api_settings;
    api_settings.allowed_hosts = config->admin.allowed_hosts;
    if (const auto url = oauth::parse_web_url(config->admin.public_url))
        api_settings.allowed_hosts.push_back(url->host);
    api_settings.private_upstreams =
        config->upstream_allow_private ? net::PrivateAddresses::allow : net::PrivateAddresses::refuse;
    api_settings.session_token_lifetime = config->session_token_lifetime;
    api_settings.webhooks = delivery_settings(*config);
    if (config->pkcs11_module) api_settings.token_input = [&] { return token_input(*config); };
    api_settings.key_files = [&config] { return key_files(*config); };
    api_settings.in_background = [&beside](std::function<void()> work) {
        boost::asio::post(beside, std::move(work));
    };
    api_settings.backups = backups ? &*backups : nullptr;
    api_settings.begin_service = [&]() -> base::Status {
        auto begun = unsealed->begin_service();
        if (begun) agents_gate.store(&unsealed->endpoint(), std::memory_order_release);
        return begun;
    };
    api_settings.more_metrics = [&] {
        auto* records = records_gate.load();
        return metrics_text(*agents_seen, *admin_seen, counters, records,
                            records != nullptr ? &unsealed->grants().counters() : nullptr,
                            records != nullptr ? unsealed->pin() : nullptr);
    };
    admin::api::Api api(
        pointers(workers), [&](net::Worker& worker) -> net::ClientPool& { return unsealed->pool_of(worker); },
        std::move(api_settings));

    net::Server agents(
        pointers(workers), server_limits(*config),
        [&](const net::Request& request, net::ResponseWriter& writer) {
            const auto* endpoint = agents_gate.load(std::memory_order_acquire);
            return endpoint != nullptr ? endpoint->handle(request, writer)
                                       : refuse_agents(writer, records_gate.load());
        },
        [&](const net::Request& head, const net::Worker& worker) {
            const auto* endpoint = agents_gate.load(std::memory_order_acquire);
            return endpoint != nullptr && endpoint->knows(head, worker);
        });
    net::Server admin(
        pointers(workers), server_limits(*config),
        [&](const net::Request& request, net::ResponseWriter& writer) { return api.handle(request, writer); },
        [&](const net::Request& head, const net::Worker&) { return api.knows(head); },
        [] { return crypto::random_id<base::RequestId>().text(); });
    agents_seen = &agents;
    admin_seen = &admin;

    std::mutex unsealing;  // a store that is being opened when it is time to stop is waited for
    const auto unseal = [&](const vault::SealInput& input) -> base::Status {
        const std::lock_guard one_at_a_time(unsealing);
        if (stopping.load())
            return base::failure(ErrorKind::unavailable, "seal.stopping", "Claviger is stopping.",
                                 "Unseal it after its next start.");
        if (records_gate.load() != nullptr)
            return base::failure(ErrorKind::conflict, "seal.open", "The store is unsealed already.",
                                 "There is nothing to do.");
        auto opened = Unsealed::open(**engine, input, *config, workers, clock, counters);
        if (!opened) return std::unexpected(std::move(opened).error());
        unsealed = std::move(*opened);
        unsealed->note(vault::Action::unseal);
        const auto fence = vault::fence_of(unsealed->records());
        if (!fence) return std::unexpected(fence.error());
        const auto& connect = unsealed->open_connect(url_of(config->admin, admin.port()));
        if (!*fence)
            if (auto begun = unsealed->begin_service(); !begun) return begun;
        api.rotate_with(unsealed->key_rotations());
        api.connect_with(connect);
        api.open(unsealed->records(), &unsealed->grants(), url_of(config->agents, agents.port()));
        records_gate.store(&unsealed->records());
        if (!*fence) agents_gate.store(&unsealed->endpoint(), std::memory_order_release);
        base::log(base::LogLevel::info, "unsealed", {{"entries", unsealed->records().ledger().head().size}});
        return {};
    };
    UnsealDoor door(unseal, {.summary = [&] { return summary_of(**engine); },
                             .sealed = [&] { return records_gate.load() == nullptr; },
                             .token_input = [&] { return token_input(*config); },
                             .clock = clock});
    net::Server local({workers[0].get()}, net::ServerLimits{.connections = 16},
                      [&](const net::Request& request, net::ResponseWriter& writer) {
                          return door.handle(*workers[0], request, writer);
                      });

    const Threads threads(workers);
    if (auto listening = agents.listen(config->agents.address, config->agents.port, *agents_tls); !listening)
        return listening;
    if (auto listening = admin.listen(config->admin.address, config->admin.port, *admin_tls); !listening)
        return listening;
    if (auto opened =
            unseal_at_start(*config, unseal, [&]() -> vault::Records& { return unsealed->records(); });
        !opened)
        return opened;
    if (auto listening = local.listen("unix:" + config->unseal_socket().string(), 0, nullptr); !listening)
        return listening;
    OperatorSignals signals;  // before anybody may believe that we are ready for them
    base::log(base::LogLevel::info, "started",
              {{"agents_port", agents.port()}, {"admin_port", admin.port()}, {"workers", workers.size()}});
    std::cout << nlohmann::json{{"ready", true},
                                {"sealed", records_gate.load() == nullptr},
                                {"agents_port", agents.port()},
                                {"admin_port", admin.port()}}
                     .dump()
              << std::endl;

    signals.wait([&] { reload(config_file, agents_tls->get(), admin_tls->get()); });

    stopping.store(true);
    base::log(base::LogLevel::info, "stopping");
    {
        const std::lock_guard no_more(unsealing);  // what was opened meanwhile is closed in order, too
    }
    const auto stop_calls = [&](proxy::CallsUnderWay::Stop what) {
        if (records_gate.load() != nullptr) unsealed->endpoint().stop(what);
    };
    stop_calls(proxy::CallsUnderWay::Stop::streams);
    drain_all(agents, admin, local, config->drain, [&] {
        stop_calls(proxy::CallsUnderWay::Stop::all);
        if (records_gate.load() != nullptr) unsealed->grants().end_waiting();
    });
    if (records_gate.load() != nullptr) unsealed->outbox().drain(config->drain);
    if (records_gate.load() != nullptr) unsealed->grants().drain();  // an answer on its way is not lost
    if (records_gate.load() != nullptr) unsealed->connect_upkeep().drain();
    if (records_gate.load() != nullptr) unsealed->note(vault::Action::stop);
    return {};
}

}  // namespace claviger::server
