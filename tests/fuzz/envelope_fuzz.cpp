// Fuzzes claviger_crypto: no bytes make open(), key_ref_of(), open_text() or Tree::restore() misbehave or
// agree.
#include "crypto/envelope.h"
#include "crypto/merkle.h"
#include "crypto/sealed_text.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

using namespace claviger;
using namespace claviger::crypto;

namespace {

void must(bool holds) {
    if (!holds) std::abort();
}

/// Takes the head of the input as a place, as far as it reaches.
Place place_from(base::ByteView& input) {
    Place place;
    const auto take = [&](auto& field) {
        const auto bytes = std::min(sizeof field, input.size());
        std::memcpy(&field, input.data(), bytes);
        input.remove_prefix(bytes);
    };
    std::uint8_t type = 0;
    take(type);
    place.type = static_cast<ObjectType>(type);
    take(place.schema);
    take(place.instance);
    take(place.object);
    take(place.version);
    take(place.wrapping_key);
    take(place.constraints);
    return place;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Key key = Key::generate();
    const base::ByteView whole(reinterpret_cast<const char*>(data), size);

    base::ByteView rest = whole;
    const Place place = place_from(rest);
    const auto sealed = seal(key, place, base::as_span(rest));
    const auto opened = open_metadata(key, place, sealed);
    must(opened && *opened == rest && key_ref_of(sealed) == place.wrapping_key);
    must(open(key, place, sealed).has_value());

    // The key is random and new, so nothing the fuzzer can write is authentic.
    must(!open_metadata(key, place, rest) && !open(key, place, whole));
    if (const auto ref = key_ref_of(rest)) {
        Place named = place;
        named.wrapping_key = *ref;
        must(!open(key, named, rest));
    }
    if (!rest.empty()) {
        auto changed = sealed;
        const auto at = static_cast<unsigned char>(rest[0]) % changed.size();
        changed[at] = static_cast<char>(changed[at] ^ (1 << (rest.size() % 8)));
        must(!open(key, place, changed));
    }

    must(!open_text(key, "context", whole) && !open_text(key, "context", base::to_base64url(whole)));
    const auto bounded = whole.substr(0, kMaxSealedPlain);
    must(open_text(key, "context", seal_text(key, "context", bounded)) == bounded);

    if (auto tree = Tree::restore(whole)) {
        must(tree->serialise() == whole);
        tree->root();
    }
    return 0;
}
