// The client under which an account is connected: found, or made.
#pragma once

#include "oauth/connect_flow.h"

#include <optional>
#include <string>

namespace claviger::oauth {

struct ChosenClient {
    std::string client_id;
    RegistrationWay from = RegistrationWay::registered;
    vault::TokenEndpointAuth auth = vault::TokenEndpointAuth::none;
    std::optional<crypto::Secret> secret = {};    // or the private key, in PEM
    std::optional<base::OauthClientId> row = {};  // where it is stored, if it is
};

/// "registered", "metadata_document", "dynamic".
std::string_view word_of(RegistrationWay way);

/// In this order: the client that came with the wish; of a reconnect the client that an operator gave before,
/// if the issuer is still the same; one stored for the issuer; then what choose_registration says. A dynamic
/// registration is used again for as long as it is good, and stored when it is new. Errors: invalid_request
/// "connect.issuer_needed"; those of choose_registration, register_client and choose_client_auth; unavailable
/// when the store cannot be written.
net::awaitable<base::Result<ChosenClient>> choose_client(const ConnectWorld& world, const Outbound& out,
                                                         const vault::Actor& actor,
                                                         const vault::ConnectFlow& flow,
                                                         const ProviderProfile& profile,
                                                         const AuthorizationServer& server);

/// Forgets a dynamic registration that its server does not know any more, so that the next link makes a new
/// one.
base::Status forget_client(vault::Change& change, const base::OauthClientId& id);

}  // namespace claviger::oauth
