// What an answer says of the token that its call was sent with, before any of it reaches the agent: accepted,
// refused, or lacking scopes (oauth.md 1.15, 2.3; mcp.md 9.3).
#pragma once

#include "net/client.h"
#include "net/http.h"
#include "proxy/lane.h"
#include "proxy/redact.h"
#include "proxy/session_context.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// Whether the server's credential is a token that an authorization server may replace.
bool is_granted(const Lane& lane, const ServerContext& server);

/// Whether what allowed the call still does: as SessionContexts::still_stands, and nobody holds the grant.
base::Status still_allowed(const Lane& lane, const SessionContext& context, const ServerContext& server,
                           std::chrono::milliseconds grace);

/// One use of a credential's token. Everything is borrowed.
struct TokenUse {
    const ServerContext& server;
    std::string_view id;         // JSON text of the request's id; empty when it has none
    std::string_view operation;  // the tool, prompt or resource, else the method
    bool retried;                // the call runs again with another token already
    bool proven;                 // and with the nonce that the server asked for
    const bool& client_gone;     // nobody waits any more: then nothing is tried again
};

/// What to do with the call that was refused before anything was done. It is a use of its own.
enum class Again { no, with_other_token, with_nonce };

struct TokenVerdict {
    std::string_view failure = {};  // a literal code; empty: the answer is the agent's
    Again again = Again::no;
    std::string claims = {};  // that the server wants to find in the other token; empty: it does not say
    std::optional<net::Response> refusal = {};  // what the agent gets when the call does not go out again
};

/// False when judge_token() would find nothing, whatever else is in the answer.
bool may_tell_of_token(const Lane& lane, const ServerContext& server, unsigned status);

/// Looks at status and challenges, and at the body where the provider's profile says that errors come with
/// other statuses: of a short JSON answer, which is read whole and then put back into `answer` to be relayed.
/// A refusal for want of scopes is noted at the grant, so that people are asked. `redactor` masks what the
/// server says.
net::awaitable<TokenVerdict> judge_token(Lane& lane, const TokenUse& use,
                                         std::unique_ptr<net::Answer>& answer, Redactor& redactor);

}  // namespace claviger::proxy
