#include "oauth/pkce.h"

#include "base/bytes.h"
#include "crypto/random.h"

#include <span>

namespace claviger::oauth {
namespace {

crypto::Secret random_text() {
    auto text = crypto::random_token_text("");
    auto secret = crypto::Secret::copy_of(text);
    crypto::wipe(std::span<char>(text));
    return secret;
}

}  // namespace

PkcePair make_pkce_pair() {
    auto verifier = random_text();
    auto challenge = pkce_challenge(verifier);
    return {std::move(verifier), std::move(challenge)};
}

std::string pkce_challenge(const crypto::Secret& verifier) {
    return verifier.expose([](std::span<const std::byte> bytes) {
        return base::to_base64url(crypto::view(crypto::sha256(base::as_view(bytes))));
    });
}

State make_state() {
    auto text = random_text();
    const auto digest =
        text.expose([](std::span<const std::byte> bytes) { return state_digest(base::as_view(bytes)); });
    return {std::move(text), digest};
}

crypto::Digest state_digest(std::string_view text) { return crypto::sha256(text); }

}  // namespace claviger::oauth
