// What one worker needs to carry calls: its connections to upstreams, its resolved sessions, its counters.
#pragma once

#include "net/client.h"
#include "net/worker.h"
#include "oauth/refresher.h"
#include "proxy/proof.h"
#include "proxy/session_context.h"
#include "vault/records.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace claviger::proxy {

struct ProxySettings {
    std::vector<std::string> allowed_hosts = {};    // Host names agents may use besides the loopback names
    std::vector<std::string> allowed_origins = {};  // exact Origin values of browsers besides loopback ones
    net::PrivateAddresses private_upstreams = net::PrivateAddresses::refuse;
    std::chrono::milliseconds head_timeout{300'000};  // from sending a call to the head of its answer
    std::chrono::milliseconds stream_idle{600'000};   // without a byte of a call's answer
    std::chrono::milliseconds total{3'600'000};       // of a call, but for streams that nobody waits for
    std::chrono::milliseconds abandoned{300'000};     // of a call whose legacy client has gone, from then on
    std::size_t abandoned_bytes = 8 * 1024 * 1024;    // of its answer that are still read
    std::size_t list_bytes = 8 * 1024 * 1024;         // a tools/list answer that has to be filtered
    std::size_t json_depth = 64;
};

/// Read by /metrics from any thread.
struct ProxyCounters {
    std::atomic<std::uint64_t> calls{0}, allowed{0}, denied{0}, unauthenticated{0}, invalid{0},
        not_durable{0};
    std::atomic<std::uint64_t> upstream_failures{0}, upstream_refusals{0}, redactions{0}, streams{0},
        in_flight{0};
    std::atomic<std::uint64_t> request_bytes{0}, response_bytes{0}, duration_us{0};
};

/// Fingerprints of names seen by one worker, so that a hot tool costs no hash. Not thread safe.
class Fingerprints {
public:
    Fingerprints(const vault::AccessLog& log, std::string_view domain) : log_(log), domain_(domain) {}
    vault::Fingerprint of(std::string_view name);

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    const vault::AccessLog& log_;
    std::string_view domain_;
    std::unordered_map<std::string, vault::Fingerprint, Hash, std::equal_to<>> known_;
};

/// The calls of a worker that are with their servers, for those who have to end them. Not thread safe.
class CallsUnderWay {
    /// Of a ring, which holds together whoever leaves it: a suspended call goes with its worker, after the
    /// lane.
    struct Link {
        Link() = default;
        ~Link() { leave(); }
        Link(const Link&) = delete;
        Link& operator=(const Link&) = delete;
        void leave();
        void join(Link& ring);

        Link* previous = this;
        Link* next = this;
    };

public:
    /// Which calls are stopped, because Claviger is.
    enum class Stop { none, streams, all };

    /// From now until it goes, one of them. In the call's own frame, because every call has one.
    class One : private Link {
    public:
        explicit One(CallsUnderWay& calls) { join(*calls.ring_); }
        /// About once a second: to end the call if it may not go on.
        virtual void look(std::chrono::steady_clock::time_point now) = 0;
        virtual void stop(Stop what) = 0;

    protected:
        ~One() = default;

    private:
        friend class CallsUnderWay;
    };

    /// Has each of them looked at from now on.
    void look_regularly(net::Worker& worker);
    /// Ends these; no such call should begin any more.
    void stop(Stop what);
    Stop stopped() const { return stopped_; }

private:
    template <class Act>
    static void for_each(Link& ring, Act act);

    std::shared_ptr<Link> ring_ =
        std::make_shared<Link>();  // with the worker's clock, which outlives the lane
    Stop stopped_ = Stop::none;
};

/// Entries of one worker on their way to the log. They are handed over together, so that they share a commit:
/// once everything that was ready has had its turn. Nothing is waited for. Not thread safe.
class OutgoingEntries {
public:
    OutgoingEntries(net::Worker& worker, vault::Ledger& ledger) : worker_(worker), ledger_(ledger) {}
    ~OutgoingEntries();  // outcomes still reach the log; who waits for an entry has gone with the worker
    OutgoingEntries(const OutgoingEntries&) = delete;
    OutgoingEntries& operator=(const OutgoingEntries&) = delete;

    void add(vault::QueuedEntry entry);

private:
    void hand_over() {
        if (!entries_.empty()) ledger_.append(entries_);
    }

    net::Worker& worker_;
    vault::Ledger& ledger_;
    std::vector<vault::QueuedEntry> entries_;
};

struct Lane {
    Lane(net::Worker& worker_, vault::Records& records_, const ProxySettings& settings_,
         std::shared_ptr<net::TlsClient> tls, net::ClientLimits limits);

    net::Worker& worker;
    vault::Records& records;
    const ProxySettings& settings;
    net::ClientPool pool;
    SessionContexts contexts;
    Fingerprints methods, tools;
    CallsUnderWay calls;
    OutgoingEntries entries;
    Nonces nonces;
    oauth::Refresher* grants = nullptr;  // set before the first call; null: tokens are used as they are
};

}  // namespace claviger::proxy
