#include "crypto/constraints.h"

#include <algorithm>
#include <string_view>

namespace claviger::crypto {
namespace {

/// The part of CBOR that constraints need, always in the shortest form.
class Cbor {
public:
    void map(std::uint64_t entries) { head(5, entries); }
    void integer(std::int64_t value) {
        if (value >= 0)
            head(0, static_cast<std::uint64_t>(value));
        else
            head(1, static_cast<std::uint64_t>(-(value + 1)));
    }
    void text(std::string_view value) {
        head(3, value.size());
        out_.append(value);
    }
    void set(const std::vector<std::string>& values) {
        std::vector<std::string_view> sorted(values.begin(), values.end());
        std::ranges::sort(sorted);
        sorted.erase(std::ranges::unique(sorted).begin(), sorted.end());
        head(4, sorted.size());
        for (const auto value : sorted) text(value);
    }
    base::Bytes take() { return std::move(out_); }

private:
    void head(unsigned major, std::uint64_t value) {
        const auto first = [&](unsigned low) { out_.push_back(static_cast<char>(major << 5 | low)); };
        if (value < 24) {
            first(static_cast<unsigned>(value));
        } else if (value <= 0xff) {
            first(24);
            base::append_big_endian(out_, static_cast<std::uint8_t>(value));
        } else if (value <= 0xffff) {
            first(25);
            base::append_big_endian(out_, static_cast<std::uint16_t>(value));
        } else if (value <= 0xffff'ffff) {
            first(26);
            base::append_big_endian(out_, static_cast<std::uint32_t>(value));
        } else {
            first(27);
            base::append_big_endian(out_, value);
        }
    }

    base::Bytes out_;
};

}  // namespace

base::Bytes canonical_cbor(const Constraints& constraints) {
    Cbor cbor;
    std::int64_t key = 0;
    const auto set = [&](const std::vector<std::string>& values) {
        cbor.integer(++key);
        cbor.set(values);
    };
    const auto text = [&](const std::string& value) {
        cbor.integer(++key);
        cbor.text(value);
    };
    cbor.map(10);
    set(constraints.hosts);
    set(constraints.path_prefixes);
    set(constraints.methods);
    text(constraints.injection);
    text(constraints.audience);
    set(constraints.scopes);
    set(constraints.environments);
    set(constraints.agent_classes);
    set(constraints.tools);
    cbor.integer(++key);
    cbor.integer(constraints.expires_ms);
    return cbor.take();
}

Digest constraint_digest(const Constraints& constraints) { return blake2b(canonical_cbor(constraints)); }

}  // namespace claviger::crypto
