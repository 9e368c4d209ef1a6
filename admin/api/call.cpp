#include "admin/api/call.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {

Answer answer(const Json& json) {
    // What upstreams sent may be cut inside a character; everything else is valid UTF-8 already.
    return {
        .body = json.dump(-1, ' ', false, Json::error_handler_t::replace), .shown_once = {}, .shown_as = {}};
}

net::awaitable<base::Status> change(Call& call, std::function<base::Status(vault::Change&)> apply) {
    co_return co_await net::await_callback<base::Status>(call.worker, [&](vault::Done done) {
        call.records.change(call.actor, std::move(apply), std::move(done));
    });
}

}  // namespace claviger::admin::api
