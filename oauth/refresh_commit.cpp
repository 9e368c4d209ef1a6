#include "oauth/refresh_commit.h"

#include "oauth/subject_token.h"
#include "oauth/token_response.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using vault::Action;

/// The access log's word for where a grant stands, behind a hold if there is one; empty when all is well.
std::string_view reason_of(const GrantFacts& facts) {
    switch (facts.state == GrantState::suspended ? facts.resume_to : facts.state) {
        case GrantState::needs_reauth:
            if (facts.reason == "revoked_upstream") return "grant.revoked_upstream";
            return facts.reason == "refresh_outcome_lost" ? "grant.refresh_outcome_lost"
                                                          : "grant.needs_reauth";
        case GrantState::needs_config:
            return "grant.needs_config";
        case GrantState::uncertain:
            return "grant.uncertain";
        case GrantState::backoff:
            return "grant.transient";
        default:
            return {};
    }
}

void follow_profile(GrantFacts& facts, const ProviderProfile& profile) {
    facts.reuse = profile.refresh_token.reuse;
    facts.reuse_grace = profile.refresh_token.grace.value_or(std::chrono::seconds(0));
    facts.old_access_token =
        profile.refresh_token.old_access_token_dies ? OldAccessToken::dies : OldAccessToken::unknown;
}

base::Status tell(vault::Change& change, const GrantHooks& hooks, const vault::Credential& credential,
                  const StoredGrant& grant, const Transition& transition) {
    if (transition.webhook.empty() || !hooks.tell) return {};
    return hooks.tell(change, credential, grant, transition);
}

GrantEvent event_of(const Landing& landing) {
    const auto& [classification, tokens, lifetime, act_chain, sent_at, refusal] = landing.outcome;
    if (tokens)
        return TokensReceived{.attempt = landing.attempt,
                              .epoch = landing.epoch,
                              .parent_gen = landing.parent_gen,
                              .obtained_at = sent_at,
                              .expires_at = lifetime.expires_at};
    return RefreshRefused{.attempt = landing.attempt,
                          .parent_gen = landing.parent_gen,
                          .kind = classification.kind,
                          .code = classification.code,
                          .retry_after = classification.retry_after};
}

void remember(StoredGrant& grant, const Landing& landing, base::Time now) {
    const auto& outcome = landing.outcome;
    if (!outcome.tokens) {
        if (outcome.classification.recognized) {
            grant.unrecognized = {};
        } else {
            grant.unrecognized.count += 1;
            if (!grant.unrecognized.first_at) grant.unrecognized.first_at = now;
        }
        return;
    }
    grant.unrecognized = {};
    grant.lifetime = outcome.lifetime.source;
    if (outcome.tokens->refresh_token) grant.refresh_expires_at = outcome.tokens->refresh_expires_at;
    if (outcome.tokens->scopes) grant.scopes_granted = *outcome.tokens->scopes;
    grant.act_chain = outcome.act_chain;
    if (grant.claims && landing.sent_grant != nullptr && landing.sent_grant->claims == grant.claims)
        grant.claims->met = true;
}

/// What an inquiry was about; no credential when that is gone, or has other tokens by now. `transition` says
/// so until something else happens.
struct AskedAbout {
    vault::Ref<vault::Credential> credential = {};
    StoredGrant grant = {};
};
base::Result<AskedAbout> asked_about(const vault::Change& change, const Inquiry& inquiry,
                                     Transition& transition) {
    transition = {.facts = {}, .refusal = kNewerTokens};
    AskedAbout found{.credential = change.catalog().find<vault::Credential>(inquiry.id)};
    if (!found.credential || found.credential->archived) return AskedAbout{};
    auto grant = grant_of(change.catalog(), *found.credential);
    if (!grant) return std::unexpected(std::move(grant).error());
    if (grant->facts.epoch != inquiry.epoch || grant->facts.gen != inquiry.gen) return AskedAbout{};
    found.grant = std::move(*grant);
    return found;
}

/// What follows from an inquiry goes with its entry and its webhook into one commit.
base::Status store_findings(vault::Change& change, const Inquiry& inquiry,
                            const vault::Credential& credential, StoredGrant& grant,
                            const Transition& transition) {
    if (transition.taken()) grant.facts = transition.facts;
    change.note_grant(Action::update, credential,
                      transition.taken() ? reason_of(grant.facts) : std::string_view());
    if (transition.taken())
        if (auto told = tell(change, inquiry.hooks, credential, grant, transition); !told) return told;
    return store_grant(change, credential, grant);
}

/// The credential with the new set as its next version.
base::Status write_tokens(vault::Change& change, const vault::Credential& credential,
                          const RefreshOutcome& outcome) {
    auto parts = change.open_secret(credential);
    if (!parts) return std::unexpected(std::move(parts).error());
    parts->token = crypto::Secret::copy_of(outcome.tokens->access_token);
    parts->previous_refresh_token.reset();
    if (outcome.tokens->refresh_token) {
        parts->previous_refresh_token = std::move(parts->refresh_token);
        parts->refresh_token = crypto::Secret::copy_of(*outcome.tokens->refresh_token);
    }
    auto updated = credential;
    updated.expires = outcome.lifetime.expires_at;
    return change.store_with_secret(std::move(updated), *parts);
}

/// Tokens that nobody will use go back to the server that gave them, as the client that asked for them. Some
/// servers end all that a person granted to a client when one of its access tokens is revoked: where the
/// credential lives on with that client, an access token alone is left to run out.
base::Status give_back(vault::Change& change, const Landing& landing, const vault::Credential* now,
                       const StoredGrant& grant) {
    const auto* credential = landing.sent_for != nullptr ? landing.sent_for : now;
    if (!landing.hooks.revoke || !landing.outcome.tokens || credential == nullptr || !credential->refresh)
        return {};
    if (!change.catalog().find<vault::Vault>(credential->vault))
        return {};  // the key that would seal it is gone
    const bool lives_on = now != nullptr && now->version != 0 && now->refresh &&
                          now->refresh->client_id == credential->refresh->client_id;
    if (lives_on && !landing.outcome.tokens->refresh_token) return {};
    vault::SecretParts strays;
    strays.token = crypto::Secret::copy_of(landing.outcome.tokens->access_token);
    if (landing.outcome.tokens->refresh_token)
        strays.refresh_token = crypto::Secret::copy_of(*landing.outcome.tokens->refresh_token);
    if (landing.sent_with != nullptr && landing.sent_with->client_secret)
        strays.client_secret = crypto::Secret::copy_of(*landing.sent_with->client_secret);
    change.note_grant(Action::refresh_failed, *credential, "grant.superseded");
    return landing.hooks.revoke(change, *credential, grant, std::move(strays));
}

}  // namespace

const ProviderProfile& profile_of(const ProviderCatalog& providers, const vault::Credential& credential,
                                  const StoredGrant& grant) {
    if (!grant.provider.empty())
        if (const auto* named = providers.find(grant.provider)) return *named;
    return providers.for_server_url(credential.normal_url);
}

base::Status begin_attempt(vault::Change& change, const Beginning& beginning, Begun& begun) {
    begun = {};
    begun.credential = change.catalog().find<vault::Credential>(beginning.id);
    const auto& credential = begun.credential;
    if (!credential || credential->archived || credential->version == 0 || !credential->refresh) {
        begun.refusal = "there is nothing to refresh";
        return {};
    }
    auto stored = grant_of(change.catalog(), *credential);
    if (!stored) return std::unexpected(std::move(stored).error());
    auto& grant = *stored;
    if (grant.facts.epoch != beginning.epoch || grant.facts.gen != beginning.gen) {
        begun.refusal = kNewerTokens;
        return {};
    }
    const auto now = beginning.clock.now();
    follow_profile(grant.facts, profile_of(beginning.providers, *credential, grant));

    bool gave_up = false;
    if (grant.facts.state == GrantState::refreshing && grant.facts.attempt) {
        // It is not one of ours: we make one at a time, and this is it.
        const auto& other = *grant.facts.attempt;
        const auto lost = beginning.settings.store_is_shared
                              ? apply(grant.facts, LeaseExpired{other.id}, now)
                              : apply(grant.facts,
                                      RefreshRefused{.attempt = other.id,
                                                     .parent_gen = other.parent_gen,
                                                     .kind = AnswerClass::unknown_outcome,
                                                     .code = "process_ended"},
                                      now);
        if (!lost.taken()) {
            begun.refusal = "somebody else is refreshing";
            begun.elsewhere = true;
            return {};
        }
        grant.facts = lost.facts;
        gave_up = true;
    }
    const auto lease_until = now + beginning.settings.lease;
    const auto transition =
        grant.facts.state == GrantState::uncertain
            ? apply(grant.facts, RetryDue{beginning.attempt, lease_until, beginning.refused_gen}, now)
            : apply(grant.facts, RefreshDue{beginning.attempt, lease_until, beginning.refused_gen}, now);
    if (!transition.taken()) {
        begun.refusal = transition.refusal;
        if (!gave_up) return {};
        change.note_grant(Action::refresh_failed, *credential, reason_of(grant.facts));
        return store_grant(change, *credential, grant);
    }
    grant.facts = transition.facts;
    begun.attempt = *grant.facts.attempt;
    begun.grant = grant;
    change.note_grant(Action::refresh, *credential);
    note_exchange(change, *credential->refresh);
    return store_grant(change, *credential, grant);
}

base::Status land_attempt(vault::Change& change, const Landing& landing, Landed& landed) {
    landed = {};
    landed.credential = change.catalog().find<vault::Credential>(landing.id);
    if (!landed.credential) {
        // What is known of its server is what was known when the request left.
        auto grant = landing.sent_grant != nullptr ? *landing.sent_grant : StoredGrant();
        grant.facts.attempt.reset();
        return give_back(change, landing, nullptr, grant);
    }
    const auto& credential = *landed.credential;
    auto stored = grant_of(change.catalog(), credential);
    if (!stored) return std::unexpected(std::move(stored).error());
    auto& grant = *stored;
    landed.transition = apply(grant.facts, event_of(landing), landing.clock.now());
    const auto& transition = landed.transition;
    if (!transition.taken()) {
        if (!transition.has(GrantAction::revoke_stray_tokens)) return {};
        return give_back(change, landing, &credential, grant);
    }
    grant.facts = transition.facts;
    remember(grant, landing, landing.clock.now());
    const bool writes = transition.has(GrantAction::write_tokens) && credential.version != 0;
    if (writes)
        if (auto written = write_tokens(change, credential, landing.outcome); !written) return written;
    change.note_grant(writes ? Action::refreshed : Action::refresh_failed, credential,
                      transition.row == 8 ? "grant.superseded" : reason_of(grant.facts));
    if (transition.has(GrantAction::write_tokens) && !writes)  // it was archived while the request ran
        if (auto given = give_back(change, landing, &credential, grant); !given) return given;
    if (auto told = tell(change, landing.hooks, credential, grant, transition); !told) return told;
    return store_grant(change, credential, grant);
}

base::Status take_event(vault::Change& change, const base::CredentialId& id, const GrantEvent& event,
                        base::Time now, const GrantHooks& hooks, Transition& transition) {
    transition = {.facts = {}, .refusal = "the credential is gone"};
    const auto credential = change.catalog().find<vault::Credential>(id);
    if (!credential) return {};
    auto stored = grant_of(change.catalog(), *credential);
    if (!stored) return std::unexpected(std::move(stored).error());
    auto& grant = *stored;
    transition = apply(grant.facts, event, now);
    if (!transition.taken()) return {};
    grant.facts = transition.facts;
    change.note_grant(Action::update, *credential, reason_of(grant.facts));
    if (auto told = tell(change, hooks, *credential, grant, transition); !told) return told;
    return store_grant(change, *credential, grant);
}

base::Status begin_inquiry(vault::Change& change, const base::CredentialId& id,
                           vault::Ref<vault::Credential>& credential) {
    credential = change.catalog().find<vault::Credential>(id);
    if (!credential || credential->archived || credential->version == 0) {
        credential = nullptr;
        return {};
    }
    change.note_grant(Action::introspect, *credential);
    return {};
}

base::Status land_lifetime(vault::Change& change, const Inquiry& inquiry, const TokenState& state,
                           Transition& transition) {
    auto about = asked_about(change, inquiry, transition);
    if (!about) return std::unexpected(std::move(about).error());
    if (!about->credential) return {};
    auto& [credential, grant] = *about;
    const auto& facts = grant.facts;
    const auto now = inquiry.clock.now();
    grant.introspected = {.at = now, .active = state.active};
    if (state.scopes && grant.scopes_granted.empty()) grant.scopes_granted = *state.scopes;
    auto expires_at = state.expires_at;
    // One that was exchanged ends with what it was exchanged for.
    if (expires_at && facts.expires_at && grant.lifetime == LifetimeSource::unknown)
        expires_at = std::min(*expires_at, *facts.expires_at);
    const bool credible =
        expires_at && *expires_at > now && *expires_at - facts.obtained_at.value_or(now) <= kLongestLifetime;
    if (credible) {
        transition = apply(facts, LifetimeLearned{inquiry.epoch, inquiry.gen, *expires_at}, now);
        grant.lifetime = LifetimeSource::introspection;
        auto updated = *credential;
        updated.expires = expires_at;
        if (auto kept = change.store(std::move(updated)); !kept) return kept;
    }
    return store_findings(change, inquiry, *credential, grant, transition);
}

base::Status land_fate(vault::Change& change, const Inquiry& inquiry, bool active, Transition& transition) {
    auto about = asked_about(change, inquiry, transition);
    if (!about) return std::unexpected(std::move(about).error());
    if (!about->credential) return {};
    auto& [credential, grant] = *about;
    const auto now = inquiry.clock.now();
    grant.introspected = {.at = now, .active = active};
    if (active) {
        transition.refusal = "the grant lives";
        return store_findings(change, inquiry, *credential, grant, transition);
    }
    if (grant.facts.attempt || grant.facts.unresolved) {
        transition.refusal = "an attempt under way may have replaced the tokens";
    } else if (!grant.facts.renewable && !grant.facts.expires_at) {
        const auto ended = apply(grant.facts, LifetimeLearned{inquiry.epoch, inquiry.gen, now}, now);
        transition = ended.taken() ? apply(ended.facts, TokenExpired{}, now) : ended;
    } else {
        transition = apply(grant.facts, RevokedUpstream{}, now);
    }
    return store_findings(change, inquiry, *credential, grant, transition);
}

base::Status take_claims(vault::Change& change, const Inquiry& inquiry, const std::string& claims,
                         Transition& transition) {
    auto about = asked_about(change, inquiry, transition);
    if (!about) return std::unexpected(std::move(about).error());
    if (!about->credential) return {};
    auto& [credential, grant] = *about;
    const auto now = inquiry.clock.now();
    grant.claims = ClaimsDemand{.claims = claims, .at = now};
    transition = apply(grant.facts, ClaimsRefused{inquiry.gen}, now);
    return store_findings(change, inquiry, *credential, grant, transition);
}

}  // namespace claviger::oauth
