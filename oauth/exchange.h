// One request to an authorization server, or to whoever else belongs to the OAuth dance: sent whole, answered
// whole, never redirected.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "net/client.h"
#include "oauth/classify.h"
#include "oauth/token_request.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::oauth {

/// What goes out. Everything is borrowed until the answer is there.
struct ExchangeRequest {
    std::string_view method = "GET";
    std::string_view url;                   // absolute, as web_url.h takes them
    const TokenRequest* payload = nullptr;  // of a POST; its headers are sent too
    std::string_view accept = "application/json";
    std::vector<std::pair<std::string_view, std::string_view>> headers = {};  // that hold no secrets
    std::string_view partition = "oauth";  // connections are shared inside one only
    net::PrivateAddresses private_addresses = net::PrivateAddresses::refuse;
    /// To the answer's head, and again for its body; connecting has the pool's own limit.
    std::chrono::milliseconds timeout{30'000};
    std::size_t body_limit = 64 * 1024;
};

/// What came. The body is wiped with it.
struct ExchangeAnswer {
    ExchangeAnswer() = default;
    ExchangeAnswer(ExchangeAnswer&&) = default;
    ExchangeAnswer& operator=(ExchangeAnswer&& other) noexcept;
    ~ExchangeAnswer();

    Delivery delivery = Delivery::not_sent;
    base::Error error = {};  // why it is not complete
    unsigned status = 0;
    net::Headers headers;
    std::string body;      // what came of it when truncated
    base::Time sent_at{};  // just before the first byte left
    base::Time came_at{};

    bool complete() const { return delivery == Delivery::complete; }
    std::string_view header(std::string_view name) const { return headers.find(name).value_or(""); }
    /// As classify() and read_token_answer() want it; views into this.
    TokenAnswer token_answer() const;
};

/// Called with each complete answer before anybody reads it.
using BeforeReading = std::function<net::awaitable<void>(const ExchangeAnswer&)>;
struct AttemptJournal {
    /// Takes the room for the answer. When it fails nothing is sent.
    std::function<net::awaitable<base::Status>()> before_sending;
    BeforeReading before_reading;
    /// Takes away what before_reading() kept: the same attempt sends once more.
    std::function<net::awaitable<void>()> before_repeating;
};

/// On the pool's worker. Never fails otherwise than by what the answer says: a URL that cannot be used is
/// `not_sent` with its error. A body above the limit is `truncated`. Source: RFC 6749 3.2, oauth.md 2.8.
net::awaitable<ExchangeAnswer> exchange(net::Worker& worker, net::ClientPool& pool, const base::Clock& clock,
                                        const ExchangeRequest& request);

}  // namespace claviger::oauth
