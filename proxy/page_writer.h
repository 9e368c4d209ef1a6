// Answers that a browser may show to a page of another origin: the CORS protocol of WHATWG Fetch
// (mcp.md 8.2).
#pragma once

#include "net/http.h"

#include <functional>
#include <optional>
#include <string_view>

namespace claviger::proxy {

/// Whether a browser asks if its page may send what it wants to send. Such a request bears no token.
bool is_preflight(const net::Request& request);
/// Yes, it may: whatever a call may consist of.
net::Response preflight_reply();

/// Adds to an answer which origin may read it. `agent` and `origin` must live as long.
class PageWriter final : public net::ResponseWriter {
public:
    PageWriter(net::ResponseWriter& agent, std::string_view origin) : agent_(agent), origin_(origin) {}

    net::awaitable<base::Status> send(const net::Response& response) override;
    base::Status start(unsigned status, const net::Headers& headers,
                       std::optional<std::uint64_t> length) override;
    net::awaitable<base::Status> write(std::string_view bytes) override { return agent_.write(bytes); }
    net::awaitable<base::Status> finish(std::string_view last) override { return agent_.finish(last); }
    void abort() override { agent_.abort(); }
    bool started() const override { return agent_.started(); }
    void on_client_gone(std::function<void()> action) override { agent_.on_client_gone(std::move(action)); }

private:
    void open_to_page(net::Headers& headers) const;

    net::ResponseWriter& agent_;
    const std::string_view origin_;
};

}  // namespace claviger::proxy
