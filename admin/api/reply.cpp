#include "admin/api/reply.h"

#include "base/log.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

struct Wire {
    unsigned status;
    std::string_view type;
};

Wire wire_of(ErrorKind kind) {
    using enum ErrorKind;
    switch (kind) {  // no default: a new kind must be given its place here
        case invalid_request:
            return {400, "invalid_request_error"};
        case unauthenticated:
            return {401, "authentication_error"};
        case denied:
            return {403, "permission_error"};
        case not_found:
            return {404, "not_found_error"};
        case conflict:
            return {409, "conflict_error"};
        case unavailable:
            return {503, "api_error"};
        case corrupt:
            return {500, "api_error"};
        case internal:
            return {500, "api_error"};
    }
    return {500, "api_error"};
}

void add_common(net::Response& response, const base::RequestId& id) {
    response.headers.add("content-type", "application/json");
    response.headers.add("cache-control", "no-store");
    response.headers.add("request-id", id.text());
}

}  // namespace

net::Response error_reply(const Refusal& refusal, const base::RequestId& id) {
    const auto& error = refusal.error;
    const auto wire = wire_of(error.kind);
    net::Response response;
    response.status = refusal.status != 0 ? refusal.status : wire.status;
    add_common(response, id);
    if (!refusal.allow.empty()) response.headers.add("allow", refusal.allow);
    if (!refusal.retry_after_ms.empty()) {
        response.headers.add("retry-after-ms", refusal.retry_after_ms);
        response.headers.add("x-should-retry", "true");
    } else if (error.kind == ErrorKind::conflict || error.code == "store.sealed" ||
               error.kind == ErrorKind::corrupt) {
        response.headers.add("x-should-retry", "false");
    }
    Json details{{"error_code", error.code}};
    if (!error.hint.empty()) details["hint"] = error.hint;
    const auto type = response.status == 413 ? std::string_view("request_too_large") : wire.type;
    const Json body{{"type", "error"},
                    {"error", {{"type", type}, {"message", error.message}, {"details", std::move(details)}}},
                    {"request_id", id.text()}};
    response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (response.status >= 500) base::log_error("admin.request_failed", error);
    return response;
}

net::Response reply(const Answer& answer, const base::RequestId& id, const base::WorkspaceId& workspace) {
    net::Response response;
    add_common(response, id);
    response.headers.add("anthropic-workspace-id", workspace.text());
    if (!answer.shown_once) {
        response.body = answer.body;
        return response;
    }
    // The text is base64url and needs no escaping; reserving keeps it from being left behind by a
    // reallocation.
    response.body.reserve(answer.body.size() + answer.shown_as.size() + answer.shown_once->size() + 8);
    response.body.append(answer.body, 0, answer.body.size() - 1).append(",\"");
    response.body.append(answer.shown_as).append("\":\"");
    answer.shown_once->expose(
        [&](std::span<const std::byte> bytes) { response.body.append(base::as_view(bytes)); });
    response.body.append("\"}");
    return response;
}

void wipe(net::Response& response) { crypto::wipe(std::span(response.body.data(), response.body.size())); }

}  // namespace claviger::admin::api
