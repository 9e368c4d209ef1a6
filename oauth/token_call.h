// A request to a token endpoint on its way to a new grant: with a proof of possession where tokens are bound
// to a key.
#pragma once

#include "oauth/discovery.h"
#include "oauth/dpop.h"
#include "oauth/token_request.h"

#include <functional>
#include <optional>
#include <string_view>

namespace claviger::oauth {

/// Made anew for each attempt: assertions are good for one.
using MakeRequest = std::function<base::Result<TokenRequest>()>;

struct TokenCall {
    std::string_view url;  // of the token endpoint; borrowed, like the rest
    const ProviderProfile& profile;
    const std::optional<DpopKey>& key;  // tokens are to be bound to it
    MakeRequest make;
    const AttemptJournal* journal = nullptr;  // null: the answer can be had again
    std::string_view partition = "connect";
    std::chrono::milliseconds timeout{30'000};  // as in ExchangeRequest
};

/// Puts the proof into a request to the token endpoint (RFC 9449 5). `nonce` may be empty. Errors: those of
/// DpopKey::proof and add_header.
base::Status add_proof(TokenRequest& request, const DpopKey& key, std::string_view url,
                       std::string_view nonce, base::Time now);

/// Sends it once; a second time only when the complete answer refuses the proof for want of a nonce, which
/// leaves code and assertion unspent (RFC 9449 8). Each answer goes through the journal before it is read.
/// Errors: those of `make`, DpopKey::proof and the journal's before_sending, with which nothing was sent.
net::awaitable<base::Result<ExchangeAnswer>> call_token_endpoint(const Outbound& out, const TokenCall& call);

}  // namespace claviger::oauth
