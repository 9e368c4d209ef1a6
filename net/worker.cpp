#include "net/worker.h"

#include "base/scheduling.h"
#include "crypto/secret.h"
#include "net/connection.h"
#include "net/frame_memory.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <pthread.h>
#include <csignal>
#include <cstring>
#include <ctime>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;

constexpr auto kTick = 250ms;
constexpr std::size_t kBufferBytes = 16 * 1024;
constexpr std::size_t kLargestKeptBuffer = 256 * 1024;
constexpr std::size_t kKeptBytes = 8 * 1024 * 1024;

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

struct Periodic {
    std::chrono::milliseconds period;
    std::chrono::steady_clock::time_point due;
    std::function<void()> action;
};

}  // namespace

struct Worker::State {
    explicit State(std::size_t number)
        : index(number),
          // Sockets and timers of a worker belong to its thread; others only post.
          context(std::make_unique<asio::io_context>(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO)),
          tick_timer(context->get_executor()) {}

    std::size_t index;
    std::atomic<bool> running{false};

    std::mutex mail_guard;
    std::vector<std::function<void()>> mail;  // guarded by mail_guard
    std::vector<std::function<void()>> opened_mail;

    Connection* first = nullptr;
    Connection* next_in_walk = nullptr;  // moved on when that connection goes away during the walk
    std::size_t connections = 0;
    Parked* parked = nullptr;

    std::vector<std::string> buffers;
    std::size_t buffer_bytes = 0;
    std::size_t unused_buffers = 0;  // the fewest that lay in the pool since the last tick
    std::vector<std::unique_ptr<Periodic>> periodic;

    std::unique_ptr<asio::io_context> context;
    std::optional<Timer> tick_timer;

    void open_mail();
    void await_tick();
    void tick(std::chrono::steady_clock::time_point now);
    void trim_buffers();
};

Worker::Worker(std::size_t index) : state_(std::make_unique<State>(index)) {}

Worker::~Worker() {
    state_->tick_timer.reset();
    while (Parked* coroutine = state_->parked) {
        unpark(*coroutine);
        coroutine->leave_(coroutine->room_, Parked::Then::destroy);
    }
    // Mail that nobody will open may own sockets, which cannot outlive the context.
    state_->mail.clear();
    state_->opened_mail.clear();
    // Suspended coroutines live in the operations of the context. Their connections and buffers come back to
    // this worker while they are destroyed, so everything else must still be there.
    state_->context.reset();
}

asio::io_context& Worker::context() { return *state_->context; }
std::size_t Worker::index() const { return state_->index; }
std::size_t Worker::connections() const { return state_->connections; }
bool Worker::running() const { return state_->running.load(std::memory_order_acquire); }

std::chrono::steady_clock::time_point Worker::now() const {
    // Same epoch as steady_clock (CLOCK_MONOTONIC), a quarter of its price.
    timespec at{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return std::chrono::steady_clock::time_point(std::chrono::seconds(at.tv_sec) +
                                                 std::chrono::nanoseconds(at.tv_nsec));
}

void Worker::run() {
    // OpenSSL writes with write(2): a vanished peer must be an error of that write, not the end of the
    // process.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    base::prefer_short_turns();

    state_->running.store(true, std::memory_order_release);
    state_->await_tick();
    auto stay = asio::make_work_guard(*state_->context);
    state_->context->run();
    state_->running.store(false, std::memory_order_release);
}

void Worker::stop() { state_->context->stop(); }

void Worker::deliver(std::function<void()> work) {
    bool first = false;
    {
        const std::lock_guard hold(state_->mail_guard);
        first = state_->mail.empty();
        state_->mail.push_back(std::move(work));
    }
    if (first) asio::post(*state_->context, [state = state_.get()] { state->open_mail(); });
}

void Worker::after_ready(std::function<void()> work) { asio::post(*state_->context, std::move(work)); }

void Worker::State::open_mail() {
    {
        const std::lock_guard hold(mail_guard);
        std::swap(mail, opened_mail);
    }
    for (auto& work : opened_mail) work();
    opened_mail.clear();
}

void Worker::every(std::chrono::milliseconds period, std::function<void()> action) {
    auto added = std::make_shared<Periodic>(period, now() + period, std::move(action));
    deliver([this, added] { state_->periodic.push_back(std::make_unique<Periodic>(std::move(*added))); });
}

void Worker::State::await_tick() {
    tick_timer->expires_after(kTick);
    tick_timer->async_wait([this](const boost::system::error_code& error) {
        if (error) return;
        tick(std::chrono::steady_clock::now());
        await_tick();
    });
}

void Worker::State::tick(std::chrono::steady_clock::time_point now) {
    for (Connection* at = first; at; at = next_in_walk) {
        next_in_walk = at->next_;
        at->tick(now);
    }
    next_in_walk = nullptr;
    // By index: an action may add another one.
    for (std::size_t i = 0; i < periodic.size(); ++i) {
        Periodic& one = *periodic[i];
        if (one.due > now) continue;
        one.due = now + one.period;
        one.action();
    }
    trim_buffers();
    frame_memory().trim();
}

std::string Worker::take_buffer() {
    if (state_->buffers.empty()) {
        std::string fresh;
        fresh.reserve(kBufferBytes);
        return fresh;
    }
    std::string taken = std::move(state_->buffers.back());
    state_->buffers.pop_back();
    state_->buffer_bytes -= taken.capacity();
    state_->unused_buffers = std::min(state_->unused_buffers, state_->buffers.size());
    return taken;
}

void Worker::give_back(std::string buffer) {
    crypto::wipe(std::span<char>(buffer));
    const std::size_t bytes = buffer.capacity();
    if (bytes < kBufferBytes || bytes > kLargestKeptBuffer || state_->buffer_bytes + bytes > kKeptBytes)
        return;
    buffer.clear();
    state_->buffer_bytes += bytes;
    state_->buffers.push_back(std::move(buffer));
}

void Worker::State::trim_buffers() {
    // What nobody took for a whole tick is left over from a burst.
    for (std::size_t surplus = unused_buffers / 2; surplus > 0; --surplus) {
        buffer_bytes -= buffers.back().capacity();
        buffers.pop_back();
    }
    unused_buffers = buffers.size();
}

void Worker::park(Parked& coroutine) {
    coroutine.next_ = state_->parked;
    if (state_->parked) state_->parked->previous_ = &coroutine;
    state_->parked = &coroutine;
}

void Worker::unpark(Parked& coroutine) {
    if (coroutine.previous_) coroutine.previous_->next_ = coroutine.next_;
    if (coroutine.next_) coroutine.next_->previous_ = coroutine.previous_;
    if (state_->parked == &coroutine) state_->parked = coroutine.next_;
}

void Worker::link(Connection& connection) {
    connection.next_ = state_->first;
    if (state_->first) state_->first->previous_ = &connection;
    state_->first = &connection;
    ++state_->connections;
}

void Worker::unlink(Connection& connection) {
    if (state_->next_in_walk == &connection) state_->next_in_walk = connection.next_;
    if (connection.previous_) connection.previous_->next_ = connection.next_;
    if (connection.next_) connection.next_->previous_ = connection.previous_;
    if (state_->first == &connection) state_->first = connection.next_;
    --state_->connections;
}

void PooledBuffer::wipe() {
    bytes_.resize(bytes_.capacity());
    ::explicit_bzero(bytes_.data(), bytes_.size());
    bytes_.clear();
}

}  // namespace claviger::net
