#include "proxy/departure.h"

#include "base/log.h"
#include "proxy/inject.h"
#include "proxy/proof.h"
#include "proxy/session_ids.h"
#include "proxy/token_verdict.h"

#include <utility>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

/// Nothing when the agent named a session that is not its own.
std::optional<LegacySession> session_of(Lane& lane, const Call& call) {
    const auto given = call.request.headers.find("Mcp-Session-Id");
    if (call.era != Era::legacy || !given) return LegacySession{};
    auto opened = open_session_id(lane.records.keys(), *call.context, call.server, *given);
    if (!opened) return std::nullopt;
    return LegacySession{std::string(*given), std::move(opened->upstream_id)};
}

/// The request with the secret in it. Errors: those of write_head and add_proof; invalid_request
/// "request.invalid".
base::Status write_request(Lane& lane, const Call& call, const ForServer& message, Departure& departure) {
    // To the server a task has another id, and Mcp-Name must repeat that.
    const bool renamed =
        call.era == Era::modern && call.message.method.starts_with("tasks/") && message.task_id;
    auto written =
        write_head(departure.head, call.request, call.era, call.server, departure.session.for_server(),
                   departure.token->secret,
                   mirrors_name(call.message) && !renamed ? MirroredName::travels : MirroredName::stays);
    if (written && needs_proof(call.server))
        written = add_proof(departure.head, call.request.method, call.server, lane.records, lane.nonces);
    if (written && renamed && !departure.head.add("Mcp-Name", encode_mirrored(*message.task_id)))
        return base::failure(ErrorKind::invalid_request, "request.invalid",
                             "The task id cannot be sent on in a header.");
    return written;
}

/// Only a POST's body was read and decided on.
std::string_view body_of(const Call& call, const ForServer& message) {
    if (call.request.method != "POST") return {};
    return message.body ? *message.body : call.request.body;
}

}  // namespace

base::Status prepare(Lane& lane, const Call& call, const ForServer& message, Departure& departure) {
    auto session = session_of(lane, call);
    if (!session) return base::failure(ErrorKind::not_found, "session.unknown", "Session not found");
    departure.session = std::move(*session);
    // The decision is as old as the wait for the disk.
    if (auto stands = still_allowed(lane, *call.context, call.server, {}); !stands) return stands;
    auto token = call.server.token.open(lane.records);
    if (!token) {
        base::log_error("credential.refused", token.error());
        return std::unexpected(std::move(token).error());
    }
    departure.token = std::move(*token);
    if (auto written = write_request(lane, call, message, departure); !written) return written;
    departure.body = body_of(call, message);
    auto certificate = certificate_for(call.server, lane.records);
    if (!certificate) return std::unexpected(std::move(certificate).error());
    departure.certificate = std::move(*certificate);
    return {};
}

}  // namespace claviger::proxy
