// Tokens that need neither a person nor a refresh token: bought anew with what proves the client.
#pragma once

#include "oauth/provider_profile.h"
#include "oauth/token_request.h"
#include "vault/records.h"

#include <optional>
#include <string_view>

namespace claviger::oauth {

/// The grant by which the next token set of this block is minted; nothing when it needs a refresh token or a
/// person.
std::optional<GrantType> minting_grant(const vault::Refresh& refresh);
/// True for the grants that mint.
bool mints(GrantType grant);
/// True for those of them that take a token for a token: fetch_exchanged() comes first.
bool exchanges(GrantType grant);

/// The tokens that a grant with an exchange presents. Borrowed; null: there is none.
struct PresentedTokens {
    const crypto::Secret* subject = nullptr;
    const crypto::Secret* actor = nullptr;  // of a token exchange in which somebody acts for the subject
};

/// The request to the block's token endpoint, good for one attempt. `secret` is the client secret, or the
/// private key in PEM; `presented` is what fetch_exchanged() gave for a block with an exchange. Its answer
/// is read like any other token answer. `claims` are asked for in client_credentials alone. Errors:
/// invalid_request "mint.not_this_grant", "mint.no_subject", "mint.no_actor", and those of
/// SigningKey::from_pem, client_assertion and authenticated.
base::Result<TokenRequest> mint_request(const vault::Refresh& refresh, const crypto::Secret* secret,
                                        const ProviderProfile& profile, std::string_view issuer,
                                        base::Time now, const PresentedTokens& presented = {},
                                        std::string_view claims = {});

}  // namespace claviger::oauth
