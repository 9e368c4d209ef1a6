// What ties an authorization request to its answer: the PKCE pair (RFC 7636) and the state.
#pragma once

#include "crypto/hash.h"
#include "crypto/secret.h"

#include <string>
#include <string_view>

namespace claviger::oauth {

struct PkcePair {
    crypto::Secret verifier;  // 256 random bits as 43 characters; sent with the code
    std::string challenge;    // S256 of it; sent ahead, and public
};
PkcePair make_pkce_pair();
/// BASE64URL(SHA-256(verifier)), the only method there is here.
std::string pkce_challenge(const crypto::Secret& verifier);

struct State {
    crypto::Secret text;    // 256 random bits as 43 characters; goes into the URL and is then forgotten
    crypto::Digest digest;  // what is stored
};
State make_state();
/// SHA-256 of what came back; compare it with crypto::equal.
crypto::Digest state_digest(std::string_view text);

}  // namespace claviger::oauth
