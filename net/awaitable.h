// The coroutine type of the house: bound to the concrete executor of one io_context, which is what makes it
// cheap, with frames from net/frame_memory.h.
#pragma once

#include "net/frame_memory.h"

#include <boost/asio/detail/thread_info_base.hpp>

namespace boost::asio::detail {

template <>
inline void* thread_info_base::allocate(awaitable_frame_tag, thread_info_base*, std::size_t bytes,
                                        std::size_t) {
    return claviger::net::frame_memory().take(bytes);
}
template <>
inline void thread_info_base::deallocate(awaitable_frame_tag, thread_info_base*, void* frame,
                                         std::size_t bytes) {
    claviger::net::frame_memory().give_back(frame, bytes);
}

}  // namespace boost::asio::detail

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace claviger::net {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;

template <class T>
using awaitable = asio::awaitable<T, Executor>;

}  // namespace claviger::net
