// Opaque texts that clients hold for us and bring back unchanged: page cursors, session ids, task ids.
#pragma once

#include "base/bytes.h"
#include "crypto/secret.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::crypto {

inline constexpr std::size_t kMaxSealedText = 64 * 1024;
inline constexpr std::size_t kMaxSealedPlain = kMaxSealedText / 4 * 3 - 24 - 16;

/// XChaCha20-Poly1305 with `context` authenticated, as base64url. The text is bound to the context:
/// put the kind of text and whose it is into it. Aborts above kMaxSealedPlain: check the
/// length of what others sent first.
std::string seal_text(const Key& key, std::string_view context, base::ByteView plain);
/// The same, but the same text every time, for ids that clients compare: the nonce is a keyed BLAKE2b of
/// context and plain. Tells whoever sees two texts of one context whether they stand for the same, and
/// nothing else.
std::string seal_text_repeatably(const Key& key, std::string_view context, base::ByteView plain);

/// Nothing when key, context or text differ from the sealing, or the text is longer than kMaxSealedText.
std::optional<base::Bytes> open_text(const Key& key, std::string_view context, std::string_view text);

}  // namespace claviger::crypto
