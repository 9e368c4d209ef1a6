#include "proxy/error_reply.h"

#include "proxy/json_rpc.h"

namespace claviger::proxy {

using base::ErrorKind;

Wire wire_of(const base::Error& error) {
    if (error.code == "json.invalid" || error.code == "json.too_deep") return {400, -32700};
    if (error.code == "upstream.timeout") return {200, kUpstreamTimeout};
    if (error.code == "upstream.unauthorized" || error.code == "upstream.forbidden" ||
        error.code == "upstream.insufficient_scope")
        return {200, kUpstreamRefused};
    // The agent's call is well, its credential is not: a model should read that as an answer.
    if (error.code.starts_with("grant."))
        return {200, error.kind == ErrorKind::unavailable ? kGrantUnavailable : kUpstreamRefused};
    if (error.code.starts_with("upstream.")) return {200, kUpstreamFailed};
    switch (error.kind) {  // no default: a new kind must be given its place here
        case ErrorKind::invalid_request:
            return {400, -32600};
        case ErrorKind::unauthenticated:
            return {401, 40101};
        case ErrorKind::denied:
            return {200, kDenied};
        case ErrorKind::not_found:
            return {404, 40401};
        case ErrorKind::conflict:
            return {409, 40901};
        case ErrorKind::unavailable:
            return {503, 50301};
        case ErrorKind::corrupt:
            return {500, 50001};
        case ErrorKind::internal:
            return {500, -32603};
    }
    return {500, -32603};
}

namespace {

/// `more` is JSON text of further members of `data`, each with a comma before it.
std::string error_text(std::string_view id, int code, std::string_view message, std::string_view data_code,
                       std::string_view hint, std::string_view more) {
    std::string body = R"({"jsonrpc":"2.0","id":)";
    body += id.empty() ? "null" : id;
    body += R"(,"error":{"code":)" + std::to_string(code) + R"(,"message":)" + json_string(message);
    if (!data_code.empty()) {
        body += R"(,"data":{"code":)" + json_string(data_code);
        if (!hint.empty()) body += R"(,"hint":)" + json_string(hint);
        body += more;
        body += '}';
    }
    return body + "}}";
}

/// An error that belongs to no request cannot travel in a 200.
unsigned status_of(std::string_view id, const Wire& wire) {
    return id.empty() && wire.status == 200 ? (wire.code == kDenied ? 403 : 502) : wire.status;
}

}  // namespace

std::string error_body(std::string_view id, int code, std::string_view message, std::string_view data_code,
                       std::string_view hint) {
    return error_text(id, code, message, data_code, hint, {});
}

net::Response json_reply(unsigned status, std::string body) {
    net::Response response;
    response.status = status;
    response.headers.add("Content-Type", "application/json");
    response.body = std::move(body);
    return response;
}

net::Response error_reply(std::string_view id, unsigned status, int code, std::string_view message,
                          std::string_view data_code, std::string_view hint) {
    return json_reply(status, error_body(id, code, message, data_code, hint));
}

net::Response error_reply(std::string_view id, const base::Error& error) {
    const auto wire = wire_of(error);
    auto reply = error_reply(id, status_of(id, wire), wire.code, error.message, error.code, error.hint);
    if (reply.status == 401) reply.headers.add("WWW-Authenticate", R"(Bearer error="invalid_token")");
    return reply;
}

net::Response scopes_reply(std::string_view id, const base::Error& error,
                           std::span<const std::string> scopes) {
    const auto wire = wire_of(error);
    std::string names;
    for (const auto& scope : scopes) names += (names.empty() ? "" : ",") + json_string(scope);
    return json_reply(status_of(id, wire), error_text(id, wire.code, error.message, error.code, error.hint,
                                                      R"(,"missing_scopes":[)" + names + "]"));
}

net::Response refused_result(std::string_view id, Era era, std::string_view text) {
    std::string body = R"({"jsonrpc":"2.0","id":)";
    body += id;
    body += R"(,"result":{"content":[{"type":"text","text":)" + json_string(text) + R"(}],"isError":true)";
    if (era == Era::modern) body += R"(,"resultType":"complete")";
    return json_reply(200, body + "}}");
}

}  // namespace claviger::proxy
