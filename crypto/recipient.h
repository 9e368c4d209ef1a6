// People to whom something is sealed that only they can open: X25519 keys in the text form of age.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/secret.h"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace claviger::crypto {

/// A public key. Text form: "age1…", as `age-keygen` and `claviger seal keygen` show it.
struct Recipient {
    std::array<unsigned char, 32> key{};

    std::string text() const;
    /// Nothing when it is none, or one of the few keys that everybody could open.
    static std::optional<Recipient> parse(std::string_view text);
    /// Whether something can be sealed to it.
    bool usable() const;
    bool operator==(const Recipient&) const = default;
};

/// A private key and its public one.
class Identity {
public:
    static Identity generate();
    static Identity of(Key secret);
    /// Reads an identity file as age writes it: comments, empty lines and one "AGE-SECRET-KEY-1…".
    /// invalid_request "identity.refused".
    static base::Result<Identity> parse(const Secret& file);

    const Recipient& recipient() const { return recipient_; }
    /// "AGE-SECRET-KEY-1…", without a line end.
    Secret text() const;
    /// X25519 with somebody's public key; nothing for one that gives zeros.
    std::optional<Key> shared_with(const Recipient& other) const;

private:
    explicit Identity(Key secret);
    Key secret_;
    Recipient recipient_;
};

/// What root keys are sealed to a recipient with: all that one of them sealed is opened by one opening key.
struct RecipientSeal {
    Recipient ephemeral;
    Key opening;
};
/// A fresh one. Nobody needs to be present to seal. invalid_request "recipient.refused" for a key that
/// everybody could open.
base::Result<RecipientSeal> fresh_seal_to(const Recipient& recipient);
/// Seals a root key so that only the recipient opens it: the ephemeral public key, then an envelope under the
/// opening key.
base::Bytes wrap_root_to(const RecipientSeal& seal, const Place& place, const Key& root);
/// The ephemeral public key in front of such a wrap; nothing when it is too short to be one.
std::optional<Recipient> ephemeral_of(base::ByteView wrapped);
/// The key that opens what was sealed with that ephemeral key and nothing else: safe to hand to the server,
/// unlike the identity.
base::Result<Key> opening_key(const Identity& identity, const Recipient& ephemeral);
/// ErrorKind::corrupt, "envelope.refused": another wrap's key, another place, or changed bytes.
base::Result<Key> unwrap_root_with(const Key& opening, const Place& place, base::ByteView wrapped);

}  // namespace claviger::crypto
