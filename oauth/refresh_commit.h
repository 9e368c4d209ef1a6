// The two commits of an attempt: that it begins, and what came of it. Run on the commit thread, alone.
#pragma once

#include "oauth/introspection.h"
#include "oauth/refresh_attempt.h"
#include "oauth/refresher.h"

namespace claviger::oauth {

struct Begun {
    vault::Ref<vault::Credential> credential = {};
    StoredGrant grant = {};
    RefreshAttempt attempt = {};
    std::string_view refusal = {};  // why no attempt begins; nothing was written then
    bool elsewhere = false;         // because another process has one under way, and its lease holds
};

/// Why no attempt begins for somebody who has seen older tokens than there are.
inline constexpr std::string_view kNewerTokens = "a newer token is there already";

struct Beginning {
    const base::CredentialId& id;
    const base::Clock& clock;  // the wall's: a change's own time never goes back
    const ProviderCatalog& providers;
    const GrantHooks& hooks;
    const RefreshSettings& settings;
    AttemptId attempt;
    std::uint64_t epoch = 0, gen = 0;          // that somebody found wanting; a newer set needs no attempt
    std::optional<std::uint64_t> refused_gen;  // the server refused the token of this generation
};
/// Rows 5 and 12; also 10 for an attempt whose process is gone. What is on record when this is durable may be
/// sent.
base::Status begin_attempt(vault::Change& change, const Beginning& beginning, Begun& begun);

struct Landing {
    const base::CredentialId& id;
    const base::Clock& clock;  // as in Beginning
    const GrantHooks& hooks;
    AttemptId attempt;
    std::uint64_t epoch = 0, parent_gen = 0;
    const RefreshOutcome& outcome;
    /// As they were when the request left; null when that is not known any more (from the journal).
    const vault::Credential* sent_for = nullptr;
    const vault::SecretParts* sent_with = nullptr;
    const StoredGrant* sent_grant = nullptr;
};
struct Landed {
    vault::Ref<vault::Credential> credential = {};  // as it was; null: it is gone
    Transition transition = {};
};
/// Rows 6 to 11, 13 and 14. May be run again when its commit failed.
base::Status land_attempt(vault::Change& change, const Landing& landing, Landed& landed);

/// Any other event, at `now` by the wall clock. `transition.refusal` says when nothing happened.
base::Status take_event(vault::Change& change, const base::CredentialId& id, const GrantEvent& event,
                        base::Time now, const GrantHooks& hooks, Transition& transition);

/// Which token set an authorization server was asked about (RFC 7662). What it says of another one than is in
/// use by now changes nothing.
struct Inquiry {
    const base::CredentialId& id;
    const GrantHooks& hooks;
    const base::Clock& clock;  // as in Beginning
    std::uint64_t epoch = 0, gen = 0;
};
/// On record before the credential is opened to ask. `credential` becomes null when it is gone.
base::Status begin_inquiry(vault::Change& change, const base::CredentialId& id,
                           vault::Ref<vault::Credential>& credential);
/// When the access token ends, and what it is good for where the token answer left that out.
base::Status land_lifetime(vault::Change& change, const Inquiry& inquiry, const TokenState& state,
                           Transition& transition);
/// Whether the grant lives. Row 19 when it does not; row 16 of a token that nothing can renew and of which
/// nobody knew how long it lives: an inactive token counts as expired.
base::Status land_fate(vault::Change& change, const Inquiry& inquiry, bool active, Transition& transition);
/// A server wants these claims in the next token; kept until one that was asked for with them is there. The
/// transition is row 18 where only a person can bring them; refused, though the demand is kept, where another
/// token is what follows.
base::Status take_claims(vault::Change& change, const Inquiry& inquiry, const std::string& claims,
                         Transition& transition);

/// The profile that a credential's grant follows.
const ProviderProfile& profile_of(const ProviderCatalog& providers, const vault::Credential& credential,
                                  const StoredGrant& grant);

}  // namespace claviger::oauth
