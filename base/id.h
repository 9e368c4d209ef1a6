// Ids of API objects: 16 random bytes on disk, "vlt_01" and 22 base58 characters on the wire.
#pragma once

#include "base/bytes.h"

#include <algorithm>
#include <array>
#include <compare>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::base {

using RawId = std::array<unsigned char, 16>;

/// 22 characters of the Bitcoin alphabet, left-padded with '1'.
std::string to_base58(const RawId& id);
/// Accepts exactly what to_base58 gives.
std::optional<RawId> from_base58(std::string_view text);

template <std::size_t N>
struct IdPrefix {
    char text[N];
    consteval IdPrefix(const char (&literal)[N]) { std::copy_n(literal, N, text); }
    constexpr std::string_view view() const { return {text, N - 1}; }
};

/// A value type; the prefix makes ids of different objects different types.
template <IdPrefix Prefix>
struct Id {
    RawId raw{};

    static constexpr std::string_view prefix() { return Prefix.view(); }
    std::string text() const { return std::string(prefix()) + "01" + to_base58(raw); }
    static std::optional<Id> parse(std::string_view text) {
        if (!text.starts_with(prefix())) return std::nullopt;
        text.remove_prefix(prefix().size());
        if (!text.starts_with("01")) return std::nullopt;
        const auto raw = from_base58(text.substr(2));
        if (!raw) return std::nullopt;
        return Id{*raw};
    }
    /// The 16 bytes as a row key; lives as long as the id.
    ByteView key() const { return {reinterpret_cast<const char*>(raw.data()), raw.size()}; }
    bool empty() const { return raw == RawId{}; }
    auto operator<=>(const Id&) const = default;
};

using WorkspaceId = Id<"wrkspc_">;
using ApiKeyId = Id<"apikey_">;
using VaultId = Id<"vlt_">;
using CredentialId = Id<"vcrd_">;
using EnvironmentId = Id<"env_">;
using AgentId = Id<"agent_">;
using SessionId = Id<"sesn_">;
using SessionTokenId = Id<"stok_">;
using ConnectLinkId = Id<"clnk_">;
using OauthClientId = Id<"ocli_">;
using WebhookEndpointId = Id<"whep_">;
using WebhookEventId = Id<"whe_">;
using OutboxItemId = Id<"obx_">;
using OperationId = Id<"op_">;
using ShreddingId = Id<"shrd_">;
using RequestId = Id<"req_">;

/// For hash tables: ids are random, so any eight bytes are a good hash.
struct IdHash {
    template <IdPrefix Prefix>
    std::size_t operator()(const Id<Prefix>& id) const {
        std::size_t hash;
        std::memcpy(&hash, id.raw.data(), sizeof hash);
        return hash;
    }
};

}  // namespace claviger::base
