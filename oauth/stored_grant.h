// A grant as it rests beside its credential: where it stands, and what is known of how it came to be.
#pragma once

#include "base/result.h"
#include "oauth/classify.h"
#include "oauth/grant_state.h"
#include "oauth/lifetime.h"
#include "vault/records.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// What a server wants to find in the next token (a claims challenge: oauth.md 1.15, OpenID Connect
/// Core 5.5).
struct ClaimsDemand {
    std::string claims;  // one JSON object in ASCII, a stranger's word: for the authorization server alone
    base::Time at{};     // when it was first made
    bool met = false;    // a token set came since that was asked for with them
    bool operator==(const ClaimsDemand&) const = default;
};

/// What the authorization server last said of this grant's tokens (RFC 7662).
struct Introspected {
    base::Time at{};
    bool active = false;
    bool operator==(const Introspected&) const = default;
};

/// No secrets: those are parts of the credential's value. Layout: docs/storage_format.md.
struct StoredGrant {
    GrantFacts facts;
    LifetimeSource lifetime = LifetimeSource::unknown;  // how facts.expires_at is known
    UnrecognizedHistory unrecognized = {};              // refusals nobody recognised, in a row
    std::optional<base::Time> refresh_expires_at = {};  // of the refresh token, where the provider says so
    Scopes scopes_granted = {};                         // empty: as requested
    std::string provider = {};                          // a profile's name; empty: the one of the server URL
    std::string issuer = {};                            // empty: unknown, tokens were handed over
    std::string revocation_endpoint = {};               // from metadata; empty: the profile's
    std::optional<ClaimsDemand> claims = {};            // of the last refusal for want of claims
    std::optional<Introspected> introspected = {};      // nothing: it was never asked, or never answered
    std::string account = {};                           // tells accounts of one provider apart; may be empty
    std::vector<std::string> act_chain = {};            // who acts by the access token, by its own word
    bool operator==(const StoredGrant&) const = default;
};

std::string encode(const StoredGrant& grant);
/// Refuses (corrupt "grant.malformed") what encode() does not write.
base::Result<StoredGrant> decode_stored_grant(std::string_view text);

/// Whether there is something to get the next token with: a refresh token, or a grant that mints.
bool can_refresh(const vault::Credential& credential);

/// The grant of a credential whose tokens were handed over by an administrator: ready, of generation 1 in
/// the epoch after `before`, or new when there is no token. `before` keeps what the provider is like, and a
/// hold: new tokens do not end it.
StoredGrant handed_over(const vault::Credential& credential, const StoredGrant* before, base::Time now);

/// What rests beside the credential; of one that has no row yet, what handed_over() would have written.
/// Corrupt "grant.malformed".
base::Result<StoredGrant> grant_of(const vault::Catalog& catalog, const vault::Credential& credential);

/// Creates or replaces what rests beside the credential.
base::Status store_grant(vault::Change& change, const vault::Credential& credential,
                         const StoredGrant& grant);

}  // namespace claviger::oauth
