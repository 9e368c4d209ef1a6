// Fuzzes claviger_admin: any body and query is read or refused, and no refusal repeats a secret.
#include "admin/api/credential_fields.h"
#include "admin/api/fields.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace claviger::admin::api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    [[maybe_unused]] const auto query = Query::parse(text);
    auto body = Body::parse(text);
    if (!body) return 0;
    Fields in(*body);
    const auto made = read_new_credential(in, ApiSettings{}, {});
    const auto read = body->finish();
    if (read || !made.secrets.token || made.secrets.token->size() < 8) return 0;
    made.secrets.token->expose([&](std::span<const std::byte> bytes) {
        // A field's name may hold any text, so only what stands nowhere else counts as leaked.
        const auto secret = claviger::base::as_view(bytes);
        const auto first = text.find(secret);
        const bool once = first == text.rfind(secret);
        if (once && read.error().message.find(secret) != std::string::npos) std::abort();
    });
    return 0;
}
