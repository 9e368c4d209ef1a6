#include "oauth/pkce.h"
#include "tests/oauth/jose_vectors.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

std::string shown(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

TEST_CASE("The challenge is the one of RFC 7636 appendix B", "[oauth]") {
    const auto verifier =
        crypto::Secret::copy_of(std::string_view("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
    CHECK(pkce_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

TEST_CASE("Every authorization request gets its own verifier and state", "[oauth]") {
    const auto one = make_pkce_pair(), other = make_pkce_pair();
    CHECK(shown(one.verifier) != shown(other.verifier));
    CHECK(one.challenge == pkce_challenge(one.verifier));
    CHECK(base::from_base64url(shown(one.verifier)).value().size() == 32);

    const auto state = make_state();
    CHECK(base::from_base64url(shown(state.text)).value().size() == 32);
    CHECK(state.digest == state_digest(shown(state.text)));
    CHECK(state.digest != state_digest(shown(make_state().text)));
}

}  // namespace
}  // namespace claviger::oauth
