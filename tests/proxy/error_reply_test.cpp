#include "proxy/error_reply.h"

#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <string>

using namespace claviger;
using base::ErrorKind;
using nlohmann::json;

TEST_CASE("Every failure has its place on the wire", "[proxy][error_reply]") {
    struct Row {
        ErrorKind kind;
        std::string_view code;
        unsigned with_id, without_id;
        int rpc;
    };
    const Row rows[] = {
        {ErrorKind::invalid_request, "json.invalid", 400, 400, -32700},
        {ErrorKind::invalid_request, "json.too_deep", 400, 400, -32700},
        {ErrorKind::invalid_request, "rpc.invalid", 400, 400, -32600},
        {ErrorKind::invalid_request, "rpc.batch", 400, 400, -32600},
        {ErrorKind::unauthenticated, "session.token_unknown", 401, 401, 40101},
        {ErrorKind::denied, "policy.denied", 200, 403, 40301},
        {ErrorKind::not_found, "server.unknown", 404, 404, 40401},
        {ErrorKind::conflict, "storage.conflict", 409, 409, 40901},
        {ErrorKind::unavailable, "log.not_durable", 503, 503, 50301},
        {ErrorKind::corrupt, "envelope.refused", 500, 500, 50001},
        {ErrorKind::internal, "internal", 500, 500, -32603},
        {ErrorKind::unavailable, "upstream.timeout", 200, 502, 50401},
        {ErrorKind::unavailable, "upstream.unauthorized", 200, 502, 40302},
        {ErrorKind::unavailable, "upstream.forbidden", 200, 502, 40302},
        {ErrorKind::denied, "upstream.insufficient_scope", 200, 502, 40302},
        {ErrorKind::denied, "grant.suspended", 200, 502, 40302},
        {ErrorKind::unavailable, "upstream.unreachable", 200, 502, 50201},
        {ErrorKind::invalid_request, "upstream.invalid", 200, 502, 50201},
    };
    for (const auto& row : rows) {
        INFO(row.code);
        const base::Error error{row.kind, row.code, "What \"happened\".", "Do this.", "detail of ours"};
        const auto with_id = proxy::error_reply(R"("a")", error);
        CHECK(with_id.status == row.with_id);
        CHECK(*with_id.headers.find("Content-Type") == "application/json");
        CHECK(json::parse(with_id.body) == json{{"jsonrpc", "2.0"},
                                                {"id", "a"},
                                                {"error",
                                                 {{"code", row.rpc},
                                                  {"message", "What \"happened\"."},
                                                  {"data", {{"code", row.code}, {"hint", "Do this."}}}}}});
        const auto without_id = proxy::error_reply("", error);
        CHECK(without_id.status == row.without_id);
        CHECK(json::parse(without_id.body)["id"].is_null());
    }
}

TEST_CASE("A refusal that the model reads is a result", "[proxy][error_reply]") {
    const auto legacy = proxy::refused_result("7", proxy::Era::legacy, "not\nnow");
    CHECK(legacy.status == 200);
    CHECK(json::parse(legacy.body) ==
          json{{"jsonrpc", "2.0"},
               {"id", 7},
               {"result", {{"content", {{{"type", "text"}, {"text", "not\nnow"}}}}, {"isError", true}}}});
    const auto modern = proxy::refused_result("7", proxy::Era::modern, "not now");
    CHECK(json::parse(modern.body)["result"]["resultType"] == "complete");
}

TEST_CASE("Missing scopes are named for programs as well", "[proxy][error_reply]") {
    const base::Error error{ErrorKind::denied, "upstream.insufficient_scope", "More is needed.", "Ask."};
    const std::string scopes[] = {"a\"b", "mcp:write"};
    const auto reply = proxy::scopes_reply("7", error, scopes);
    CHECK(reply.status == 200);
    CHECK(json::parse(reply.body)["error"] == json{{"code", 40302},
                                                   {"message", "More is needed."},
                                                   {"data",
                                                    {{"code", "upstream.insufficient_scope"},
                                                     {"hint", "Ask."},
                                                     {"missing_scopes", {"a\"b", "mcp:write"}}}}});
    CHECK(json::parse(proxy::scopes_reply("", error, {}).body)["error"]["data"]["missing_scopes"] ==
          json::array());
}

TEST_CASE("An unknown token is told so without a way into somebody's OAuth", "[proxy][error_reply]") {
    const auto reply = proxy::error_reply(
        "7", {ErrorKind::unauthenticated, "session.token_unknown", "The session token is not valid."});
    CHECK(reply.status == 401);
    CHECK(json::parse(reply.body)["id"] == 7);
    CHECK(*reply.headers.find("WWW-Authenticate") == R"(Bearer error="invalid_token")");
    CHECK(reply.headers.count("WWW-Authenticate") == 1);
}
