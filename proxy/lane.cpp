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

void CallsUnderWay::Link::leave() {
    previous->next = next;
    next->previous = previous;
    previous = next = this;
}

void CallsUnderWay::Link::join(Link& ring) {
    leave();
    previous = ring.previous;
    next = &ring;
    previous->next = next->previous = this;
}

template <class Act>
void CallsUnderWay::for_each(Link& ring, Act act) {
    Link walked;  // what is still to be visited: any of them may go, and others come, meanwhile
    walked.join(ring);
    ring.leave();
    while (walked.next != &walked) {
        auto& one = static_cast<One&>(*walked.next);
        one.join(ring);
        act(one);
    }
}

void CallsUnderWay::stop(Stop what) {
    stopped_ = what;
    for_each(*ring_, [what](One& one) { one.stop(what); });
}

void CallsUnderWay::look_regularly(net::Worker& worker) {
    // The worker outlives the lane, and calls until it stops.
    worker.every(std::chrono::seconds(1), [known = std::weak_ptr(ring_)] {
        const auto ring = known.lock();
        const auto now = std::chrono::steady_clock::now();
        if (ring) for_each(*ring, [now](One& one) { one.look(now); });
    });
}

OutgoingEntries::~OutgoingEntries() {
    std::erase_if(entries_, [](const auto& one) { return one.appended != nullptr; });
    if (!entries_.empty()) ledger_.append(entries_);
}

void OutgoingEntries::add(vault::QueuedEntry entry) {
    constexpr std::size_t most = 128;  // so that a long queue of calls does not keep the disk waiting
    entries_.push_back(std::move(entry));
    if (entries_.size() >= most)
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
    calls.look_regularly(worker_);
}

}  // namespace claviger::proxy
