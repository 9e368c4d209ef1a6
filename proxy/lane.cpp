#include "proxy/lane.h"

#include <algorithm>

namespace claviger::proxy {

vault::Fingerprint Fingerprints::of(std::string_view name) {
    constexpr std::size_t most = 4'096;  // names come from agents: bounded
    const auto known = known_.find(name);
    if (known != known_.end()) return known->second;
    if (known_.size() >= most) known_.clear();
    return known_.emplace(std::string(name), log_.fingerprint(domain_, name)).first->second;
}

void OpenStreams::end_all() {
    ended_ = true;
    const Streams streams = *streams_;  // a stream may leave the list while another is being ended
    for (const auto& stream : streams)
        if (stream.end) stream.end();
}

void OpenStreams::look_regularly(net::Worker& worker) {
    // The worker outlives the lane, and calls until it stops.
    worker.every(std::chrono::seconds(1), [known = std::weak_ptr(streams_)] {
        const auto streams = known.lock();
        if (!streams) return;
        for (auto next = streams->begin(); next != streams->end();) {
            const auto stream = next++;  // it may leave the list
            if (stream->look) stream->look();
        }
    });
}

OutgoingEntries::~OutgoingEntries() {
    std::erase_if(entries_, [](const auto& one) { return one.appended != nullptr; });
    if (!entries_.empty()) ledger_.append(entries_);
}

void OutgoingEntries::add(vault::QueuedEntry entry) {
    // Few enough that the commit thread need not wait for all, many enough that they share its cost.
    constexpr std::size_t least = 8, part = 4;
    entries_.push_back(std::move(entry));
    if (entries_.size() >= std::max(least, *calls_ / part))
        hand_over();
    else if (entries_.size() == 1)
        worker_.after_ready([this] { hand_over(); });
}

Lane::Lane(net::Worker& worker_, vault::Records& records_, const ProxySettings& settings_,
           std::shared_ptr<net::TlsClient> tls, net::ClientLimits limits)
    : worker(worker_),
      records(records_),
      settings(settings_),
      pool(worker_, limits, std::move(tls)),
      contexts(records_, settings_.private_upstreams),
      methods(records_.access_log(), "method"),
      tools(records_.access_log(), "tool"),
      entries(worker_, records_.ledger()) {
    streams.look_regularly(worker_);
}

}  // namespace claviger::proxy
