// Why a call that is with its server ends before its answer does: its client goes, it takes too long, it may
// not go on, Claviger stops.
#pragma once

#include "net/http.h"
#include "proxy/lane.h"
#include "proxy/tool_call.h"

#include <chrono>
#include <functional>

namespace claviger::proxy {

/// A stream that goes on until somebody ends it.
inline constexpr std::string_view kListen = "subscriptions/listen";

/// A stream that nobody waits for the end of.
bool is_endless(const Call& call);

/// `lane`, `call` and `writer` must live as long.
class Cancellation final : public CallsUnderWay::One {
public:
    using Time = std::chrono::steady_clock::time_point;

    Cancellation(Lane& lane, const Call& call, net::ResponseWriter& writer, Time started);
    ~Cancellation() { writer_.on_client_gone(nullptr); }
    Cancellation(const Cancellation&) = delete;
    Cancellation& operator=(const Cancellation&) = delete;

    /// `cancel` ends the server's part; called when it has to end.
    void use(std::function<void()> cancel) { cancel_ = std::move(cancel); }
    /// Whether the call may go on; asked every second, too, because silence is no reason to go on. A call
    /// whose answer is still due gets a moment when its value is retired or its session token's time is over.
    /// Errors as of SessionContexts::still_stands and value_stands.
    base::Status stands() const;
    void limit(std::chrono::milliseconds from_now);
    void lose_client();
    /// What `error`, with which the server's part ended, is for those who are told of it.
    base::Error reason(const base::Error& error) const;

    void look(Time now) override;
    void stop(CallsUnderWay::Stop what) override;

private:
    void cancel();

    Lane& lane_;
    const Call& call_;
    net::ResponseWriter& writer_;
    std::function<void()> cancel_;

public:
    const bool endless;  // as is_endless() of the call
    /// Modern: the client closing its stream is the cancel signal. Legacy: only GET streams end with their
    /// client (mcp.md 8.2).
    const bool outlives_client;
    bool client_gone = false, stopping = false;

private:
    Time until_;
    bool overdue_ = false;
};

}  // namespace claviger::proxy
