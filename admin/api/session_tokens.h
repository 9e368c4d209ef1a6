// Session tokens: what an agent presents to the proxy. Shown once, kept as a hash.
#pragma once

#include "admin/api/call.h"

#include <chrono>

namespace claviger::admin::api {

class Fields;

/// A token's text and what is stored of it. `lifetime` counts from the commit.
struct NewToken {
    vault::SessionToken stored;
    crypto::Secret text;
    std::chrono::seconds lifetime;
};
NewToken new_session_token(const Call& call, const base::SessionId& session, std::chrono::seconds lifetime);
/// Reads a lifetime in seconds, or takes the default of the settings.
std::chrono::seconds read_lifetime(Fields& in, std::string_view name, const ApiSettings& settings);
base::Status store(vault::Change& change, NewToken& token);

net::awaitable<Answered> create_session_token(Call& call);
net::awaitable<Answered> list_session_tokens(Call& call);
net::awaitable<Answered> revoke_session_token(Call& call);

}  // namespace claviger::admin::api
