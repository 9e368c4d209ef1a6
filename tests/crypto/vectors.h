// What crypto tests share: golden bytes of tests/vectors/*.txt, and ways to write bytes down.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/envelope.h"
#include "crypto/secret.h"
#include "tests/support/spec.h"

#include <fstream>
#include <map>
#include <numeric>
#include <string>

namespace claviger::crypto {

inline base::Bytes hex(std::string_view text) { return base::from_hex(text).value(); }

/// count bytes: first, first + 1, ...
inline base::Bytes run(int first, std::size_t count) {
    base::Bytes bytes(count, '\0');
    for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(first + static_cast<int>(i));
    return bytes;
}

inline base::Bytes golden(const std::string& name) {
    static const auto vectors = [] {
        std::map<std::string, base::Bytes> read;
        for (const auto* name : {"/crypto.txt", "/seal.txt"}) {
            std::ifstream file(std::string(CLAVIGER_VECTORS) + name);
            for (std::string key, value; file >> key >> value;) read[key] = hex(value);
        }
        return read;
    }();
    INFO("golden bytes of " << name);
    REQUIRE(vectors.contains(name));
    return vectors.at(name);
}

inline Key key_of(std::string_view bytes) { return Key::from(Secret::copy_of(bytes)).value(); }

template <class Array>
Array array_of(std::string_view bytes) {
    Array array{};
    REQUIRE(bytes.size() == array.size());
    std::copy(bytes.begin(), bytes.end(), array.begin());
    return array;
}

template <class Exposable>
base::Bytes bytes_of(const Exposable& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return base::Bytes(base::as_view(bytes)); });
}

/// The place of the golden vectors; every field differs from every other.
inline Place golden_place() {
    return {.type = ObjectType::static_value,
            .schema = 0x01020304,
            .instance = array_of<base::RawId>(run(0x10, 16)),
            .workspace = array_of<base::RawId>(run(0x20, 16)),
            .vault = array_of<base::RawId>(run(0x30, 16)),
            .object = array_of<base::RawId>(run(0x40, 16)),
            .version = 7,
            .wrapping_key = 0x1122334455667788,
            .commit_seq = 42,
            .created_ms = 1795255200000,
            .constraints = array_of<Digest>(run(0x80, 32)),
            .writer = array_of<base::RawId>(run(0xf0, 16))};
}

}  // namespace claviger::crypto
