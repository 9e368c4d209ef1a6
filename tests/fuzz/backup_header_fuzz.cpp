// Fuzzes claviger_vault: whatever bytes stand where a backup's header should, reading them ends in a header
// or a refusal; and a header that was read is written as the same bytes, so nothing in it can hide.
#include "vault/backup_header.h"

#include <cstdlib>

using namespace claviger;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    static const auto key = crypto::Key::filled([](std::span<std::byte> out) {
        for (auto& byte : out) byte = std::byte{1};
    });
    const base::ByteView given(reinterpret_cast<const char*>(data), size);
    // Inputs would never guess the digest: it is made to fit what stands before it.
    base::Bytes bytes(given);
    bytes += crypto::view(crypto::blake2b(given));
    bytes += crypto::view(crypto::blake2b_keyed(key, bytes));
    const auto header = vault::decode_backup_header(bytes);
    if (header && vault::encode(*header, key) != bytes) std::abort();
    if (header && !vault::authenticate_backup_header(bytes, key)) std::abort();
    if (vault::decode_backup_header(given) && size < 64) std::abort();
    return 0;
}
