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
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace claviger::proxy {

struct ProxySettings {
    std::vector<std::string> allowed_hosts;    // Host names agents may use besides the loopback names
    std::vector<std::string> allowed_origins;  // exact Origin values of browsers besides loopback ones
    net::PrivateAddresses private_upstreams = net::PrivateAddresses::refuse;
    std::chrono::milliseconds head_timeout{300'000};  // from sending a call to the head of its answer
    std::chrono::milliseconds stream_idle{600'000};   // without a byte of a call's answer
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

/// The streams of a worker, for those who have to end them. Not thread safe.
class OpenStreams {
public:
    struct Stream {
        std::function<void()> end = {};   // Claviger stops; empty: it ends by itself. Called at most once
        std::function<void()> look = {};  // to be ended if it may not go on; about once a second
    };

private:
    using Streams = std::list<Stream>;

public:
    /// From now until it goes, one stream.
    class Entry {
    public:
        Entry(OpenStreams& streams, Stream stream)
            : streams_(streams.streams_), at_(streams_->insert(streams_->end(), std::move(stream))) {}
        ~Entry() { streams_->erase(at_); }
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;

    private:
        std::shared_ptr<Streams>
            streams_;  // also while a suspended call goes with its worker, after the lane
        Streams::iterator at_;
    };

    /// Has each of them looked at from now on.
    void look_regularly(net::Worker& worker);
    void end_all();
    /// end_all() was called: no stream should begin any more.
    bool ended() const { return ended_; }

private:
    std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
    bool ended_ = false;
};

/// Entries of one worker on their way to the log. They are handed over together, so that they share a commit:
/// once everything that was ready has had its turn, and before that when they are a good part of the calls
/// under way, so that the disk and this worker are at work at the same time. Nothing is waited for. Not
/// thread safe.
class OutgoingEntries {
public:
    OutgoingEntries(net::Worker& worker, vault::Ledger& ledger) : worker_(worker), ledger_(ledger) {}
    ~OutgoingEntries();  // outcomes still reach the log; who waits for an entry has gone with the worker
    OutgoingEntries(const OutgoingEntries&) = delete;
    OutgoingEntries& operator=(const OutgoingEntries&) = delete;

    void add(vault::QueuedEntry entry);
    /// How many calls are under way on this worker. Shared with them: a suspended call goes with its worker,
    /// after the lane.
    const std::shared_ptr<std::size_t>& calls() const { return calls_; }

private:
    void hand_over() {
        if (!entries_.empty()) ledger_.append(entries_);
    }

    net::Worker& worker_;
    vault::Ledger& ledger_;
    std::vector<vault::QueuedEntry> entries_;
    std::shared_ptr<std::size_t> calls_ = std::make_shared<std::size_t>(0);
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
    OpenStreams streams;
    OutgoingEntries entries;
    Nonces nonces;
    oauth::Refresher* grants = nullptr;  // set before the first call; null: tokens are used as they are
};

}  // namespace claviger::proxy
