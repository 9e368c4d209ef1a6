#include "oauth/connect_secrets.h"

#include "base/bytes.h"
#include "crypto/sealed_text.h"

#include <array>
#include <cstring>
#include <span>

namespace claviger::oauth {
namespace {

constexpr std::size_t kHead = 5;  // tag and length of a part

/// In the order of their tags, 1 and up: they rest on disk, so new ones are appended.
template <class Secrets>
auto parts_of(Secrets& secrets) {
    return std::array{&secrets.client_secret,      &secrets.verifier, &secrets.device_code,
                      &secrets.registration_token, &secrets.dpop_key, &secrets.subject_token};
}

std::string binding(const base::RawId& row) {
    std::string text = "connect-secrets";
    text.append(reinterpret_cast<const char*>(row.data()), row.size());
    return text;
}

crypto::Secret joined(const ConnectSecrets& secrets, std::size_t size) {
    return crypto::Secret::filled(size, [&](std::span<std::byte> out) {
        unsigned char tag = 0;
        for (const auto* part : parts_of(secrets)) {
            ++tag;
            if (!*part) continue;
            out[0] = std::byte{tag};
            for (int i = 0; i < 4; ++i)
                out[static_cast<std::size_t>(i) + 1] =
                    static_cast<std::byte>((*part)->size() >> (24 - 8 * i) & 0xff);
            (*part)->expose([&](std::span<const std::byte> bytes) {
                std::memcpy(out.data() + kHead, bytes.data(), bytes.size());
            });
            out = out.subspan(kHead + (*part)->size());
        }
    });
}

}  // namespace

std::string seal_secrets(const vault::KeyRing& keys, const base::RawId& row, const ConnectSecrets& secrets) {
    std::size_t size = 0;
    for (const auto* part : parts_of(secrets))
        if (*part) size += kHead + (*part)->size();
    if (size == 0) return {};
    return joined(secrets, size).expose([&](std::span<const std::byte> bytes) {
        return crypto::seal_text(keys.derived(crypto::Purpose::connect_secrets), binding(row),
                                 base::as_view(bytes));
    });
}

base::Result<ConnectSecrets> open_secrets(const vault::KeyRing& keys, const base::RawId& row,
                                          std::string_view sealed) {
    ConnectSecrets secrets;
    if (sealed.empty()) return secrets;
    auto opened = crypto::open_text(keys.derived(crypto::Purpose::connect_secrets), binding(row), sealed);
    bool good = opened.has_value();
    if (good) {
        std::string_view rest = *opened;
        const auto parts = parts_of(secrets);
        while (good && !rest.empty()) {
            const std::size_t tag = static_cast<unsigned char>(rest[0]);
            good = rest.size() >= kHead && tag >= 1 && tag <= parts.size();
            if (!good) break;
            const auto size = base::read_big_endian<std::uint32_t>(rest.data() + 1);
            good = size <= rest.size() - kHead;
            if (!good) break;
            *parts[tag - 1] = crypto::Secret::copy_of(rest.substr(kHead, size));
            rest.remove_prefix(kHead + size);
        }
        crypto::wipe(std::span<char>(*opened));
    }
    if (!good)
        return base::failure(base::ErrorKind::corrupt, "connect.secrets_refused",
                             "What was stored for this step cannot be opened.", "Make a new connect link.",
                             "row " + base::to_hex({reinterpret_cast<const char*>(row.data()), row.size()}));
    return secrets;
}

}  // namespace claviger::oauth
