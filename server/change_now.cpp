#include "server/change_now.h"

#include <future>

namespace claviger::server {

base::Status change_now(vault::Records& records, std::function<base::Status(vault::Change&)> apply) {
    std::promise<base::Status> promise;
    auto done = promise.get_future();
    records.change({}, std::move(apply), [&](base::Status status) { promise.set_value(std::move(status)); });
    return done.get();
}

}  // namespace claviger::server
