#include "net/connection_pool.h"

#include <functional>
#include <iterator>
#include <utility>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;

// A connection that rested for no longer is not asked whether it still stands: the question costs a system
// call, and an answer that it does is true no longer than this rest was. Servers close what was idle for
// seconds, or at once after an answer; the latter show at the first rest, after which each is asked.
constexpr auto kUnaskedRest = 10ms;

}  // namespace

bool ConnectionPool::Idle::is_usable(std::chrono::steady_clock::time_point now) const {
    if (usable_until <= now) return false;
    return (lasts && now - since < kUnaskedRest) || !connection->looks_stale();
}

std::size_t ConnectionPool::Hash::operator()(const Origin& origin) const {
    return std::hash<std::string>()(origin.host) * 31 +
           (std::size_t{origin.port} << 1 | std::size_t{origin.tls});
}

void ConnectionPool::retire(std::string_view partition) {
    for (auto& [name, origin] : origins_)
        origin.count -=
            std::erase_if(origin.idle, [partition](const Idle& idle) { return idle.partition == partition; });
    for (auto* lease = first_; lease; lease = lease->next_)
        if (lease->partition_ == partition) lease->retired_ = true;
}

std::size_t ConnectionPool::idle_connections() const {
    std::size_t idle = 0;
    for (const auto& [name, origin] : origins_) idle += origin.idle.size();
    return idle;
}

void ConnectionPool::sweep() {
    const auto now = worker_.now();
    for (auto at = origins_.begin(); at != origins_.end();) {
        auto& origin = at->second;
        origin.count -= std::erase_if(origin.idle, [now](const Idle& idle) {
            return idle.usable_until <= now || idle.connection->looks_stale();
        });
        at = origin.count == 0 ? origins_.erase(at) : std::next(at);
    }
}

ConnectionPool::Lease::Lease(ConnectionPool& pool) : pool_(pool), next_(pool.first_) {
    if (next_) next_->previous_ = this;
    pool.first_ = this;
}

ConnectionPool::Lease::~Lease() {
    drop();
    if (previous_) previous_->next_ = next_;
    if (next_) next_->previous_ = previous_;
    if (pool_.first_ == this) pool_.first_ = next_;
}

bool ConnectionPool::Lease::reuse(const Origin& origin, const SendOptions& options) {
    const auto found = pool_.origins_.find(origin);
    if (found == pool_.origins_.end()) return false;
    auto& idle = found->second.idle;
    const auto now = pool_.worker_.now();
    for (auto at = idle.size(); at-- > 0;) {
        if (idle[at].partition != options.partition) continue;
        if (idle[at].private_address && options.private_addresses == PrivateAddresses::refuse) continue;
        auto taken = std::move(idle[at]);
        idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(at));
        if (!taken.is_usable(now)) {
            --found->second.count;
            continue;
        }
        origin_ = &found->second;
        connection_ = std::move(taken.connection);
        partition_ = std::move(taken.partition);
        private_address_ = taken.private_address;
        lasts_ = true;
        return true;
    }
    return false;
}

bool ConnectionPool::Lease::reserve(const Origin& origin, const SendOptions& options) {
    auto& connections = pool_.origins_[origin];
    if (connections.count >= pool_.limits_.connections_per_origin) {
        if (connections.idle.empty()) return false;
        connections.close_oldest();
    }
    ++connections.count;
    origin_ = &connections;
    partition_ = options.partition;
    return true;
}

void ConnectionPool::Lease::opened(Dialed dialed) {
    connection_ = std::move(dialed.connection);
    lasts_ = false;
    private_address_ = dialed.private_address;
}

void ConnectionPool::Lease::rest(std::chrono::milliseconds duration) {
    if (pool_.limits_.idle_per_origin == 0) return drop();
    auto& connections = *std::exchange(origin_, nullptr);
    if (connections.idle.size() >= pool_.limits_.idle_per_origin) connections.close_oldest();
    connection_->expires_never();
    const auto now = pool_.worker_.now();
    connections.idle.push_back(
        {std::move(connection_), std::move(partition_), private_address_, lasts_, now, now + duration});
}

void ConnectionPool::Lease::drop() {
    connection_.reset();
    if (origin_) --origin_->count;
    origin_ = nullptr;
}

}  // namespace claviger::net
