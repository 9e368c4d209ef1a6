// Which client Claviger is to an authorization server: one that an operator registered, the one that its own
// document describes, or one that it registers itself.
#pragma once

#include "oauth/discovery.h"
#include "oauth/metadata.h"
#include "oauth/provider_profile.h"

#include <string>
#include <string_view>

namespace claviger::oauth {

/// Where people's browsers find this Claviger: configured, never taken from a request.
struct OwnAddress {
    std::string public_url;  // "https://claviger.example.com", without a slash at the end

    /// Where authorization servers send browsers back to.
    std::string redirect_uri() const { return public_url + "/oauth/callback"; }
    /// The id of the client that the document describes; empty when others cannot fetch it.
    std::string document_url() const;
};

/// The client metadata document (draft-ietf-oauth-client-id-metadata-document) as JSON. Its address is the
/// client's id.
std::string client_metadata_document(const OwnAddress& own);

/// The first way of the profile's list that is open here. Errors: invalid_request "registration.no_way", with
/// what an operator can do.
base::Result<RegistrationWay> choose_registration(const ProviderProfile& profile,
                                                  const AuthorizationServer& server, bool has_registered,
                                                  const OwnAddress& own);

/// RFC 7591, for the grant given. No scope is sent: servers would hold the client to it later, when more is
/// needed. Errors: unavailable "registration.unreachable"; denied "registration.needs_token";
/// invalid_request "registration.refused", "registration.invalid".
net::awaitable<base::Result<ClientRegistration>> register_client(const Outbound& out,
                                                                 const AuthorizationServer& server,
                                                                 const OwnAddress& own, GrantType grant);

}  // namespace claviger::oauth
