// Work that would hold up a worker, done elsewhere.
#pragma once

#include "admin/api/call.h"
#include "net/worker.h"

#include <functional>
#include <utility>

namespace claviger::admin::api {

/// Runs what may block beside the worker, and comes back to it.
template <class T>
net::awaitable<T> beside(Call& call, std::function<T()> work) {
    if (!call.settings.in_background) co_return work();
    co_return co_await net::await_callback<T>(call.worker, [&](std::function<void(T)> done) {
        call.settings.in_background([&work, done = std::move(done)] { done(work()); });
    });
}

}  // namespace claviger::admin::api
