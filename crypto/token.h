// Keys that never leave a PKCS#11 token: an HSM, a smart card, or a process that stands in for one.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/secret.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace claviger::crypto {

/// A token with an open session, logged in. One thread at a time. Every call may block for as long as the
/// token takes.
///
/// Errors of all calls: invalid_request "token.module_missing", "token.absent", "token.pin_refused";
/// unavailable "token.pin_locked", "token.key_missing", "token.failed". Never the PIN, and what the module
/// says only in detail.
class Token {
public:
    /// Loads the module and opens the token of that label with the user's PIN. The module is code: its path
    /// comes from the operator's config, never from the store.
    static base::Result<Token> open(const std::filesystem::path& module, const std::string& label,
                                    const Secret& pin);
    Token(Token&&) noexcept;
    Token& operator=(Token&&) = delete;
    ~Token();

    /// Makes the AES-256 key of a slot and a root key epoch in the token, sensitive and never extractable,
    /// and seals `root` under it: nonce 12 | AES-256-GCM with the place as additional data | tag 16. conflict
    /// "token.key_exists" when the token has a key of that slot and epoch: it is another root key's, of a
    /// history that a restore left behind or of an attempt that was killed, and is not used again.
    base::Result<base::Bytes> wrap(const base::RawId& slot, std::uint64_t epoch, const Place& place,
                                   const Key& root);
    /// ErrorKind::corrupt, "envelope.refused", when bytes or place differ.
    base::Result<Key> unwrap(const base::RawId& slot, std::uint64_t epoch, const Place& place,
                             base::ByteView wrapped);
    /// Destroys the key: nothing that it sealed opens again, in no backup either. Nothing happens when it is
    /// gone.
    base::Status destroy(const base::RawId& slot, std::uint64_t epoch);

private:
    struct Session;
    explicit Token(std::unique_ptr<Session> session);
    std::unique_ptr<Session> session_;
};

}  // namespace claviger::crypto
