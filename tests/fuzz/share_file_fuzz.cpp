// Fuzzes claviger_crypto: no text makes the readers of shares, keys and age files misbehave, and nothing
// opens that should not.
#include "crypto/age_file.h"
#include "crypto/bech32.h"
#include "crypto/hash.h"
#include "crypto/seal_slot.h"

#include <cstdint>
#include <cstdlib>

using namespace claviger;
using namespace claviger::crypto;

namespace {

void must(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto slot = deal_slot({}, {"alice", "bob", "carol"}, 2).value();
    static const auto set = share_set_of({}, slot.parameters);
    static const auto identity = Identity::generate();
    const base::ByteView text(reinterpret_cast<const char*>(data), size);

    const auto secret = Secret::copy_of(std::string_view(text));
    if (auto file = parse_share(secret)) {
        must(is_holder_name(file->holder) && file->share.number >= 1 && file->share.number <= file->count);
        const auto again = parse_share(share_text(*file));  // what is accepted is written the same way
        must(again && again->holder == file->holder && again->share.value == file->share.value &&
             again->share.number == file->share.number && again->set == file->set &&
             again->instance == file->instance);
        must(!examine(set, *file));  // its secret is new and random
    } else {
        must(!file.error().message.empty() && !file.error().hint.empty());
    }
    if (const auto recipient = Recipient::parse(text)) must(recipient->text().size() == text.size());
    if (const auto parsed = Identity::parse(secret)) must(parsed->recipient().usable());
    must(!age_decrypt(identity, text));

    // A body with a good checksum gets past it, into the checks behind.
    base::Bytes body(text.substr(0, 160));
    body += view(blake2b(body)).substr(0, 4);
    static constexpr std::string_view alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    std::string line = "claviger-share-";
    unsigned bits = 0, held = 0;
    for (const char c : body) {
        bits = (bits << 8 | static_cast<unsigned char>(c)) & 0xfff;
        for (held += 8; held >= 5; held -= 5) line.push_back(alphabet[bits >> (held - 5) & 31]);
    }
    if (held > 0) line.push_back(alphabet[bits << (5 - held) & 31]);
    if (const auto file = parse_share(Secret::copy_of(std::string_view(line)))) must(!examine(set, *file));
    return 0;
}
