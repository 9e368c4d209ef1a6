#include "oauth/connect_store.h"

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "oauth/connect_terms.h"
#include "oauth/grant_event.h"
#include "oauth/jose.h"
#include "oauth/json_document.h"
#include "oauth/mint.h"
#include "oauth/stored_grant.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using vault::ConnectState;

std::unexpected<base::Error> gone(const std::string& what) {
    return base::failure(ErrorKind::conflict, "connect.target_gone", what,
                         "Make a new connect link for another vault or credential.");
}

/// The credential as it is, or a new one for the flow's server.
base::Result<vault::Credential> target_of(const ConnectWorld& world, const vault::Change& change,
                                          const vault::ConnectFlow& flow, const ProviderProfile& profile) {
    const auto& catalog = change.catalog();
    const auto vault = catalog.find<vault::Vault>(flow.vault);
    if (!vault || vault->archived) return gone("The vault was archived or deleted in the meantime.");
    const auto& wish = flow.wish;
    if (wish.credential) {
        const auto found = catalog.find<vault::Credential>(*wish.credential);
        if (!found || found->archived) return gone("The credential was archived or deleted in the meantime.");
        return *found;
    }
    vault::Credential made;
    made.id = crypto::random_id<base::CredentialId>();
    made.workspace = flow.workspace;
    made.vault = flow.vault;
    made.type = vault::AuthType::mcp_oauth;
    made.mcp_server_url = wish.server_url;
    made.normal_url = wish.normal_url;
    made.injection = {profile.upstream.header, profile.upstream.scheme};
    made.created = change.now();
    if (auto room = world.check_room(catalog, made); !room) return std::unexpected(std::move(room).error());
    return made;
}

/// The grant before, or a new one that knows what the provider is like.
StoredGrant grant_before(const vault::Catalog& catalog, const vault::Credential& credential,
                         const ProviderProfile& profile) {
    StoredGrant grant;
    if (credential.version != 0)
        if (auto before = grant_of(catalog, credential)) grant = std::move(*before);
    auto& facts = grant.facts;
    if (facts.seed == 0) facts.seed = jitter_seed(credential.id.text(), 0);
    facts.reuse = profile.refresh_token.reuse;
    facts.reuse_grace = profile.refresh_token.grace.value_or(std::chrono::seconds(0));
    facts.old_access_token = profile.refresh_token.old_access_token_dies ? OldAccessToken::dies
                             : profile.refresh_token.reuse == RefreshTokenReuse::unknown
                                 ? OldAccessToken::unknown
                                 : OldAccessToken::survives;
    return grant;
}

/// Many servers end all that a person granted to a client when one of its tokens is revoked, the new tokens
/// with them. So the old ones are only given back when they surely belong to somebody else's consent or to
/// another client, or where the profile knows each consent to be a grant of its own.
bool may_be_revoked(const vault::Credential& before, const StoredGrant& grant,
                    const vault::ConnectTerms& terms, const ProviderProfile& profile,
                    const std::string& account) {
    if (before.refresh && before.refresh->client_id != terms.client_id) return true;
    if (!account.empty() && !grant.account.empty() && account != grant.account) return true;
    return profile.refresh_token.on_reconnect == OnReconnect::revoke && grant.issuer == terms.issuer;
}

/// Some servers give the same token for every consent.
bool holds_any_of(const vault::SecretParts& before, const TokenSet& tokens) {
    return (before.token && *before.token == tokens.access_token) ||
           (before.refresh_token && tokens.refresh_token && *before.refresh_token == *tokens.refresh_token);
}

/// The tokens of before are put among what is to be revoked, by this commit.
base::Status give_up_old_set(const ConnectWorld& world, vault::Change& change,
                             const vault::Credential& as_it_was, const StoredGrant& grant_as_it_was,
                             const TokenSet& tokens) {
    auto before = change.open_secret(*change.catalog().find<vault::Credential>(as_it_was.id));
    if (!before) return std::unexpected(std::move(before).error());
    if (holds_any_of(*before, tokens)) return {};
    return world.hooks.revoke(change, as_it_was, grant_as_it_was, std::move(*before));
}

}  // namespace

std::string account_of(const ProviderProfile& profile, std::string_view issuer, const TokenSet& tokens) {
    std::string said;
    if (!profile.response.account.empty()) {
        const auto rest = tokens.rest.expose(
            [](std::span<const std::byte> bytes) { return parse_object(base::as_view(bytes)); });
        for (const auto& name : profile.response.account) {
            const auto path = profile.response.captured.find(name);
            const auto* value =
                rest && path != profile.response.captured.end() ? at_path(*rest, path->second) : nullptr;
            if (value == nullptr || value->is_null()) return {};
            said += "\n" + value->dump();
        }
    } else if (tokens.id_token) {
        const auto claims = tokens.id_token->expose(
            [](std::span<const std::byte> bytes) { return unverified_claims(base::as_view(bytes)); });
        const auto subject = claims ? string_in(*claims, "sub") : std::nullopt;
        if (!subject) return {};
        said = "\n" + *subject;
    } else {
        return {};
    }
    const auto digest = crypto::sha256({issuer, said});
    return base::to_hex(crypto::view(digest).substr(0, 16));
}

base::Result<base::CredentialId> store_connected(const ConnectWorld& world, vault::Change& change,
                                                 const base::ConnectLinkId& id,
                                                 const ProviderProfile& profile, const Connected& connected) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || !found->terms || found->state == ConnectState::connected ||
        found->state == ConnectState::failed)
        return base::failure(ErrorKind::conflict, "connect.ended",
                             "This connect link was taken away or had ended in the meantime.",
                             "Make a new connect link.");
    auto flow = *found;
    const auto& terms = *flow.terms;
    auto target = target_of(world, change, flow, profile);
    if (!target) return std::unexpected(std::move(target).error());
    auto& credential = *target;
    const auto as_it_was = credential;
    auto grant = grant_before(change.catalog(), credential, profile);
    const auto grant_as_it_was = grant;
    if (!connected.account.empty() && !grant.account.empty() && grant.account != connected.account &&
        !flow.wish.other_account)
        return base::failure(
            ErrorKind::conflict, "connect.other_account",
            "Another account was chosen than the one this credential was connected with before.",
            "Make a new link and choose the same account, or make it with allow_other_account.");

    const auto& tokens = connected.tokens;
    const auto granted = grant_named(flow.wish.grant);
    const bool minted = granted && mints(*granted);
    const bool renewable = minted || tokens.refresh_token;
    const auto moved = apply(grant.facts,
                             ConnectSucceeded{.expires_at = connected.lifetime.expires_at,
                                              .renewable = renewable,
                                              .scopes_requested = terms.scopes},
                             world.records.clock().now());
    if (!moved.taken()) return gone("The credential's grant is being deleted.");
    grant.facts = moved.facts;
    grant.lifetime = connected.lifetime.source;
    grant.unrecognized = {};
    grant.refresh_expires_at = tokens.refresh_expires_at;
    grant.scopes_granted = tokens.scopes.value_or(Scopes());
    grant.provider = profile.name;
    grant.issuer = terms.issuer;
    grant.revocation_endpoint = terms.revocation_endpoint;
    grant.act_chain = connected.act_chain;
    grant.claims.reset();
    grant.introspected.reset();
    if (!connected.account.empty()) grant.account = connected.account;

    if (flow.wish.display_name) credential.display_name = flow.wish.display_name;
    for (const auto& [name, value] : flow.wish.metadata) credential.metadata[name] = value;
    credential.expires = connected.lifetime.expires_at;
    credential.refresh = refresh_block(flow.wish, terms, profile);
    if (!renewable) credential.refresh->grant = "none";
    credential.updated = change.now();
    vault::SecretParts parts{.token = crypto::Secret::copy_of(tokens.access_token),
                             .refresh_token = crypto::Secret::copy_of(tokens.refresh_token),
                             .client_secret = crypto::Secret::copy_of(connected.client_secret),
                             .subject_token = crypto::Secret::copy_of(connected.subject_token)};
    // The upstream sees by the scheme whether a proof has to come along.
    if (tokens.type == TokenType::dpop && connected.key) {
        parts.dpop_key = connected.key->exported();
        credential.injection.scheme = "DPoP";
    } else if (credential.injection.scheme == "DPoP") {
        credential.injection.scheme = profile.upstream.scheme;
    }

    if (moved.has(GrantAction::revoke_previous_tokens) && world.hooks.revoke &&
        may_be_revoked(as_it_was, grant_as_it_was, terms, profile, connected.account))
        if (auto given = give_up_old_set(world, change, as_it_was, grant_as_it_was, tokens); !given)
            return std::unexpected(std::move(given).error());
    if (world.hooks.tell)
        if (auto told = world.hooks.tell(change, credential, grant, moved); !told)
            return std::unexpected(std::move(told).error());
    const auto credential_id = credential.id;
    auto logged = credential;
    logged.version += 1;
    change.note_grant(vault::Action::connect, logged);
    if (auto stored = change.store_with_secret(credential, parts); !stored)
        return std::unexpected(std::move(stored).error());
    if (auto stored = store_grant(change, credential, grant); !stored)
        return std::unexpected(std::move(stored).error());
    flow.state = ConnectState::connected;
    flow.problem.reset();
    flow.credential = credential_id;
    flow.secrets.clear();
    flow.updated = change.now();
    if (auto stored = change.store(std::move(flow)); !stored)
        return std::unexpected(std::move(stored).error());
    return credential_id;
}

}  // namespace claviger::oauth
