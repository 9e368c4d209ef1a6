// Takes fixed-width fields off bytes that come from a disk, and never reads past their end.
#pragma once

#include "base/bytes.h"
#include "base/id.h"

#include <algorithm>
#include <type_traits>

namespace claviger::vault {

/// Once a read does not fit, it and all later ones give zeros and complete() stays false: check once, at the
/// end.
class ByteReader {
public:
    explicit ByteReader(base::ByteView bytes) : rest_(bytes) {}

    template <class Unsigned>
    Unsigned number() {
        static_assert(std::is_unsigned_v<Unsigned>);
        const auto taken = bytes(sizeof(Unsigned));
        return taken.empty() ? Unsigned{0} : base::read_big_endian<Unsigned>(taken.data());
    }
    /// Seven bits per byte, lowest first, as append_varint writes them; at most five bytes.
    std::uint32_t varint() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 35; shift += 7) {
            const auto byte = number<std::uint8_t>();
            value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0) break;
            if (shift == 28) good_ = false;
        }
        if (value > 0xffffffff) good_ = false;
        return good_ ? static_cast<std::uint32_t>(value) : 0;
    }
    template <std::size_t N>
    std::array<unsigned char, N> array() {
        std::array<unsigned char, N> out{};
        const auto taken = bytes(N);
        std::copy_n(taken.begin(), taken.size(), out.begin());
        return out;
    }
    base::ByteView bytes(std::size_t size) {
        if (!good_ || size > rest_.size()) {
            good_ = false;
            return {};
        }
        const auto taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }

    /// For what was read and must not be.
    void refuse() { good_ = false; }

    std::size_t left() const { return rest_.size(); }
    bool good() const { return good_; }
    /// Every read fitted and nothing is left over.
    bool complete() const { return good_ && rest_.empty(); }

private:
    base::ByteView rest_;
    bool good_ = true;
};

template <std::size_t N>
void append_array(base::Bytes& out, const std::array<unsigned char, N>& bytes) {
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline void append_varint(base::Bytes& out, std::uint32_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
}

}  // namespace claviger::vault
