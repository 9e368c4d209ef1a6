#include "proxy/cancellation.h"

#include "proxy/token_verdict.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

// For calls whose answer is due when their value is retired or their session token's time is over.
constexpr std::chrono::minutes kLastAnswers{1};

}  // namespace

bool is_endless(const Call& call) { return call.request.method == "GET" || call.message.method == kListen; }

Cancellation::Cancellation(Lane& lane, const Call& call, net::ResponseWriter& writer, Time started)
    : One(lane.calls),
      lane_(lane),
      call_(call),
      writer_(writer),
      endless(is_endless(call)),
      outlives_client(call.era == Era::legacy && call.request.method == "POST"),
      until_(endless ? Time::max() : started + lane.settings.total) {
    writer.on_client_gone([this] { lose_client(); });
}

void Cancellation::lose_client() {
    if (client_gone) return;
    client_gone = true;
    if (outlives_client)
        limit(lane_.settings.abandoned);
    else
        cancel();
}

void Cancellation::cancel() {
    if (cancel_) cancel_();
}

void Cancellation::limit(std::chrono::milliseconds from_now) {
    until_ = std::min(until_, lane_.worker.now() + from_now);
}

base::Status Cancellation::stands() const {
    const auto grace = endless ? std::chrono::minutes(0) : kLastAnswers;
    if (auto allowed = still_allowed(lane_, *call_.context, call_.server, grace); !allowed) return allowed;
    return lane_.contexts.value_stands(*call_.context, call_.server, grace);
}

base::Error Cancellation::reason(const base::Error& error) const {
    if (stopping) return {ErrorKind::unavailable, "server.stopping", "Claviger is stopping."};
    if (overdue_ && client_gone) return {ErrorKind::unavailable, "client.gone", "The client has gone."};
    if (overdue_)
        return {ErrorKind::unavailable, "upstream.timeout", "The call took longer than calls may take."};
    if (error.code != "upstream.cancelled") return error;  // it failed by itself
    const auto allowed = stands();
    return allowed ? error : allowed.error();
}

void Cancellation::look(Time now) {
    overdue_ = overdue_ || now >= until_;
    if (overdue_ || !stands()) cancel();
}

void Cancellation::stop(CallsUnderWay::Stop what) {
    if (what != CallsUnderWay::Stop::all && !endless) return;
    stopping = true;
    cancel();
}

}  // namespace claviger::proxy
