#include "notify/signing.h"

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/sealed_text.h"

#include <algorithm>

namespace claviger::notify {
namespace {

constexpr std::string_view kPrefix = "whsec_";
constexpr std::size_t kSecretBytes = 32;

std::string binding(const base::WebhookEndpointId& endpoint) {
    return "webhook-secret" + std::string(endpoint.key());
}

std::unexpected<base::Error> refused() {
    return base::failure(base::ErrorKind::corrupt, "webhook.secret_refused",
                         "The signing secret of the webhook endpoint does not open.",
                         "Make a new one with `claviger webhook rotate-secret`.");
}

}  // namespace

crypto::Secret new_signing_secret() {
    const auto bytes = crypto::Secret::random(kSecretBytes);
    auto text =
        bytes.expose([](std::span<const std::byte> raw) { return base::to_base64(base::as_view(raw)); });
    auto secret = crypto::Secret::filled(kPrefix.size() + text.size(), [&](std::span<std::byte> out) {
        std::ranges::copy(base::as_span(kPrefix), out.begin());
        std::ranges::copy(base::as_span(text), out.begin() + kPrefix.size());
    });
    crypto::wipe(std::span<char>(text));
    return secret;
}

std::string seal_signing_secret(const vault::KeyRing& keys, const base::WebhookEndpointId& endpoint,
                                const crypto::Secret& secret) {
    return secret.expose([&](std::span<const std::byte> bytes) {
        return crypto::seal_text(keys.derived(crypto::Purpose::webhook_secrets), binding(endpoint),
                                 base::as_view(bytes));
    });
}

base::Result<crypto::Secret> open_signing_secret(const vault::KeyRing& keys,
                                                 const base::WebhookEndpointId& endpoint,
                                                 std::string_view sealed) {
    auto plain = crypto::open_text(keys.derived(crypto::Purpose::webhook_secrets), binding(endpoint), sealed);
    if (!plain) return refused();
    auto secret = crypto::Secret::copy_of(*plain);
    crypto::wipe(std::span<char>(*plain));
    return secret;
}

base::Result<std::string> sign(const crypto::Secret& secret, const Signed& what) {
    return secret.expose([&](std::span<const std::byte> bytes) -> base::Result<std::string> {
        const auto text = base::as_view(bytes);
        if (!text.starts_with(kPrefix)) return refused();
        auto raw = base::from_base64(text.substr(kPrefix.size()));
        if (!raw) return refused();
        const auto key = crypto::Secret::copy_of(*raw);
        crypto::wipe(std::span<char>(*raw));
        const auto stamp = std::to_string(what.timestamp);
        const auto mac = crypto::hmac_sha256(key, {what.id, ".", stamp, ".", what.body});
        return "v1," + base::to_base64(crypto::view(mac));
    });
}

}  // namespace claviger::notify
