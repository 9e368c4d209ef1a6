// Who acts for whom by a token that was exchanged, as the token says itself (RFC 8693 4.1).
#pragma once

#include "crypto/secret.h"

#include <cstddef>
#include <string>
#include <vector>

namespace claviger::oauth {

inline constexpr std::size_t kMostActors = 8;          // of a longer chain the outermost are kept
inline constexpr std::size_t kLongestActorName = 128;  // bytes; the rest is cut off

/// The "sub" of each "act", outermost first: the one who acts now, then whoever acted before. For people to
/// read and for nothing else: nobody has verified the token, and decisions never rest on it. Characters other
/// than printable ASCII become '?', and so does a member without "sub". Empty when the token is no JWT, or
/// nobody acts.
std::vector<std::string> act_chain_of(const crypto::Secret& access_token);

}  // namespace claviger::oauth
