// Signatures are those of Standard Webhooks, and secrets open only for their endpoint.
#include "notify/signing.h"

#include "tests/support/notify_outbox_world.h"

using namespace claviger;
using namespace claviger::notify;

namespace {

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

}  // namespace

TEST_CASE("A delivery is signed as the official SDKs check it", "[notify]") {
    const auto secret = crypto::Secret::copy_of("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    const auto signature = sign(secret, {"whe_1", 1'700'000'000, R"({"a":1})"});
    REQUIRE(signature);
    CHECK(*signature == "v1,QO2sk5mfkKsCV71LzA1IqeHkKc/gOF6R/ZJly1Qe//Q=");
}

TEST_CASE("A text that is no signing secret signs nothing", "[notify]") {
    for (const auto* text : {"", "MDEyMzQ1", "whsec_not base64", "WHSEC_MDEyMzQ1"}) {
        INFO(text);
        const auto signature = sign(crypto::Secret::copy_of(text), {"whe_1", 1, "{}"});
        REQUIRE_FALSE(signature);
        CHECK(signature.error().code == "webhook.secret_refused");
    }
}

TEST_CASE("New signing secrets are 32 random bytes in the spelling receivers know", "[notify]") {
    const auto one = text_of(new_signing_secret()), other = text_of(new_signing_secret());
    CHECK(one != other);
    REQUIRE(one.starts_with("whsec_"));
    const auto bytes = base::from_base64(one.substr(6));
    REQUIRE(bytes);
    CHECK(bytes->size() == 32);
}

TEST_CASE("A signing secret opens for its endpoint and for no other", "[notify]") {
    const test::OutboxWorld world;
    const auto& keys = world.records->keys();
    const auto own = crypto::random_id<base::WebhookEndpointId>();
    const auto secret = new_signing_secret();
    const auto sealed = seal_signing_secret(keys, own, secret);
    CHECK(sealed.find(text_of(secret)) == sealed.npos);

    const auto opened = open_signing_secret(keys, own, sealed);
    REQUIRE(opened);
    CHECK(text_of(*opened) == text_of(secret));
    const auto elsewhere = open_signing_secret(keys, crypto::random_id<base::WebhookEndpointId>(), sealed);
    REQUIRE_FALSE(elsewhere);
    CHECK(elsewhere.error().code == "webhook.secret_refused");
    CHECK(elsewhere.error().kind == base::ErrorKind::corrupt);
}
