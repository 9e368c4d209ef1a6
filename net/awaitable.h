// The coroutine type of the house: bound to the concrete executor of one io_context, which is what makes it
// cheap.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

namespace claviger::net {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;

template <class T>
using awaitable = asio::awaitable<T, Executor>;

}  // namespace claviger::net
