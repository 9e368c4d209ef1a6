#include "net/name_lookup.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace claviger::net {

struct NameLookup::State {
    State(Worker& on, Lookup how) : worker(on), lookup(std::move(how)) {}

    Worker& worker;
    const Lookup lookup;
    std::map<std::string, std::vector<Done>> waiting;  // on the worker's thread alone
    std::mutex mutex;                                  // guards the next one
    bool ended = false;
};

NameLookup::NameLookup(Worker& worker, Lookup lookup)
    : state_(std::make_shared<State>(worker, std::move(lookup))) {}

NameLookup::~NameLookup() { end(); }

void NameLookup::end() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->ended = true;
    }
    state_->waiting.clear();
}

NameLookup::Found NameLookup::by_system(const std::string& host) {
    asio::io_context alone;
    asio::ip::tcp::resolver resolver(alone);
    boost::system::error_code error;
    const auto results = resolver.resolve(host, "", error);
    Found found;
    for (const auto& result : results) found.addresses.push_back(result.endpoint().address());
    if (found.addresses.empty()) found.problem = error ? error.message() : "no addresses";
    return found;
}

void NameLookup::find(const std::string& host, Done done) {
    const auto [found, is_new] = state_->waiting.try_emplace(host);
    found->second.push_back(std::move(done));
    if (!is_new) return;
    const auto land = [](const std::shared_ptr<State>& state, const std::string& name, const Found& what) {
        const std::lock_guard lock(state->mutex);
        if (state->ended) return;
        state->worker.deliver([state, name, what] {
            const auto waiters = state->waiting.extract(name);
            if (waiters.empty()) return;
            for (const auto& tell : waiters.mapped()) tell(what);
        });
    };
    if (state_->waiting.size() > kMostNames)
        return land(state_, host, {.addresses = {}, .problem = "too many names are being looked up"});
    try {
        std::thread([state = state_, host, land] {
            Found what;
            try {
                what = state->lookup(host);
            } catch (const std::exception& broken) {
                what.problem = broken.what();
            }
            land(state, host, what);
        }).detach();
    } catch (const std::system_error& refused) {  // no more threads
        land(state_, host, {.addresses = {}, .problem = refused.what()});
    }
}

}  // namespace claviger::net
