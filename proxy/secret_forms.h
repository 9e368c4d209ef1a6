// All forms of one secret that an answer may hold, and the search for them: plain, base64, hex, and each of
// these behind escapes.
#pragma once

#include "crypto/secret.h"
#include "proxy/unescaped.h"

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::proxy {

struct Span {
    std::size_t from, bytes;
};

/// The forms lie in locked memory and are wiped with this. Const members are safe from several threads.
/// Cost: making it about two microseconds, finding above 1 GB/s when nothing is found.
class SecretForms {
public:
    explicit SecretForms(const crypto::Secret& secret);
    SecretForms(const SecretForms&) = delete;
    SecretForms& operator=(const SecretForms&) = delete;

    /// False of a secret that cannot be told from ordinary text: then nothing else may be asked.
    bool searchable() const { return store_.has_value(); }
    /// Where a form stands in the text as it is, in order.
    std::vector<Span> find(std::string_view text) const;
    /// Where a form stands behind escapes, as spans of the text with all of them, in order.
    std::vector<Span> find(const Unescaped& reading) const;
    /// The text without its escapes, then without those that show only now; empty when a form can stand
    /// behind none. What is escaped more than twice is not read.
    Readings read(std::string_view text) const;
    /// Where the tail of the text begins that could still become a form; its size when there is none.
    /// `readings`: of the same text.
    std::size_t hold_from(std::string_view text, const Readings& readings) const;

private:
    static constexpr std::size_t kMost = 9;  // of long secrets; short ones have the first only

    void build(std::span<const std::byte> secret);
    bool add_pattern(const std::byte* texts, Span span);
    void fill_table(std::span<std::byte> room);
    std::size_t longest_match(std::string_view texts, std::string_view rest) const;
    bool has_escapes(std::string_view text) const;
    std::size_t tail_from(std::string_view texts, std::string_view text) const;

    // In locked memory: the shift table of a Wu-Manber search over pairs of bytes, then every pattern.
    std::optional<crypto::Secret> store_;
    std::array<Span, kMost> all_patterns_{};  // into the store, behind the table
    std::span<Span> patterns_;                // those in use
    std::size_t shortest_ = 0, longest_ = 0;
    std::size_t window_ = 0;            // bytes of each pattern that the table is made of
    std::array<bool, 256> alphabet_{};  // the bytes that occur in patterns
};

}  // namespace claviger::proxy
