#include "proxy/page_writer.h"

#include <utility>

namespace claviger::proxy {

bool is_preflight(const net::Request& request) {
    return request.method == "OPTIONS" && request.headers.find("Access-Control-Request-Method");
}

net::Response preflight_reply() {
    net::Response response;
    response.status = 204;
    response.headers.add("Access-Control-Allow-Methods", "POST, GET, DELETE");
    // Authorization is never meant by the asterisk; Mcp-Param-* can be meant by nothing else.
    response.headers.add("Access-Control-Allow-Headers", "Authorization, *");
    response.headers.add("Access-Control-Max-Age", "7200");  // seconds; no browser remembers it longer
    return response;
}

void PageWriter::open_to_page(net::Headers& headers) const {
    headers.add("Access-Control-Allow-Origin", origin_);
    headers.add("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After");
    headers.add("Vary", "Origin");
}

net::awaitable<base::Status> PageWriter::send(const net::Response& response) {
    auto opened = response;
    open_to_page(opened.headers);
    co_return co_await agent_.send(opened);
}

base::Status PageWriter::start(unsigned status, const net::Headers& headers,
                               std::optional<std::uint64_t> length) {
    auto opened = headers;
    open_to_page(opened);
    return agent_.start(status, opened, length);
}

}  // namespace claviger::proxy
