#include "oauth/mint.h"
#include "oauth/refresher.h"
#include "oauth/refresher_state.h"

#include <algorithm>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using enum GrantState;

/// What people were asked for because the authorization server renews the token no more without it.
std::string consent_needed(const GrantFacts& facts) {
    for (const auto& step_up : facts.step_ups)
        if (step_up.pending && step_up.operation == kRefreshOperation)
            return " Somebody has to connect the account again and grant: " + join_scopes(step_up.scopes) +
                   ".";
    return {};
}

std::string because(const GrantFacts& facts) {
    return facts.reason.empty() ? std::string(".") : " (" + facts.reason + ").";
}

}  // namespace

std::optional<base::Time> earlier(std::optional<base::Time> a, std::optional<base::Time> b) {
    if (!a || !b) return a ? a : b;
    return std::min(*a, *b);
}

std::optional<base::Time> certain_end_of(const vault::Credential& credential, const StoredGrant& grant,
                                         const ProviderProfile& profile) {
    const auto& facts = grant.facts;
    const auto& lifetime = profile.refresh_token.absolute_lifetime;
    if (!facts.renewable || !facts.granted_at || !lifetime) return std::nullopt;
    if (credential.refresh && minting_grant(*credential.refresh)) return std::nullopt;
    const auto end = *facts.granted_at + *lifetime;
    return grant.refresh_expires_at ? std::max<base::Time>(end, *grant.refresh_expires_at) : end;
}

std::optional<base::Time> end_warning_of(const StoredGrant& grant, std::optional<base::Time> certain_end) {
    const auto& facts = grant.facts;
    if (!certain_end || facts.end_warned || !facts.granted_at || facts.state != ready) return std::nullopt;
    return expiry_warning_at(*facts.granted_at, *certain_end);
}

std::optional<base::Time> next_step_of(const StoredGrant& grant, const ProviderProfile& profile,
                                       std::optional<base::Time> last_used, base::Time now,
                                       std::chrono::hours unused_after) {
    const auto& facts = grant.facts;
    switch (facts.state) {  // no default: a new state must be given its place here
        case ready: {
            if (!facts.renewable) {
                if (!facts.expires_at || !facts.obtained_at) return facts.expires_at;
                return facts.expiry_warned ? *facts.expires_at
                                           : expiry_warning_at(*facts.obtained_at, *facts.expires_at);
            }
            if (!facts.obtained_at) return std::nullopt;
            // What was connected a while ago and is never called is renewed when somebody calls it.
            const auto seen = std::max(last_used.value_or(base::Time{}),
                                       facts.gen <= 1 ? *facts.obtained_at : base::Time{});
            const auto due =
                refresh_due({.obtained_at = *facts.obtained_at,
                             .expires_at = now - seen < unused_after ? facts.expires_at : std::nullopt,
                             .refresh_token_idle_ttl = profile.refresh_token.idle_lifetime,
                             .last_refreshed_at = *facts.obtained_at},
                            facts.seed + facts.gen);
            return due && cools_down(facts, now) ? std::max(*due, *facts.cooldown_until) : due;
        }
        case backoff:
            return earlier(cools_down(facts, now) ? *facts.cooldown_until : now,
                           facts.degraded ? std::nullopt : facts.expires_at);
        case uncertain:
            return earlier(plan_retry(facts, now).not_before,
                           facts.degraded ? std::nullopt : facts.expires_at);
        case refreshing:
            return facts.attempt ? std::optional(facts.attempt->lease_until) : std::nullopt;
        case needs_config:
            return now + kDailyProbe;
        case initial:
        case needs_reauth:
        case suspended:
        case revoking:
        case revoked:
            return std::nullopt;
    }
    return std::nullopt;
}

base::Error no_journal() {
    return {ErrorKind::unavailable, "grant.journal_unavailable",
            "The token for this server cannot be renewed: Claviger's disk would not keep the answer.",
            "It is tried again by itself; an administrator has to look at the disk of Claviger."};
}

base::Error why_unusable(const StoredGrant& grant, base::Time now) {
    const auto& facts = grant.facts;
    const std::string ask = "Ask an administrator; `claviger credential status` says more.";
    switch (facts.state) {  // no default: a new state must be given its words here
        case initial:
            return {ErrorKind::denied, "grant.not_connected",
                    "The account for this server has not been connected yet.",
                    "Ask an administrator for a connect link."};
        case needs_reauth:
            if (facts.reason == "refresh_outcome_lost")
                return {ErrorKind::denied, "grant.refresh_outcome_lost",
                        "The authorization for this server was lost when its renewal got no answer.",
                        "Somebody has to connect the account again."};
            return {ErrorKind::denied, "grant.needs_reauth",
                    "The authorization for this server has ended" + because(facts),
                    "Somebody has to connect the account again."};
        case needs_config:
            return {ErrorKind::denied, "grant.needs_config",
                    "The authorization server does not accept Claviger's client or request" + because(facts),
                    ask};
        case suspended:
            return {ErrorKind::denied, "grant.suspended", "The account for this server is on hold.", ask};
        case revoking:
        case revoked:
            return {ErrorKind::denied, "credential.archived",
                    "The credential for this server has just been taken away.", ask};
        case backoff: {
            std::string hint = "The token has run out; try again in a moment.";
            if (cools_down(facts, now)) {
                const auto wait = std::chrono::ceil<std::chrono::seconds>(*facts.cooldown_until - now);
                hint = "The token has run out; try again in " + std::to_string(wait.count()) + " s.";
            }
            hint += consent_needed(facts);
            return {
                ErrorKind::unavailable, "grant.transient",
                facts.reason == "not_sent"
                    ? "The authorization server that renews the token for this server cannot be reached."
                    : "The authorization server cannot renew the token for this server now" + because(facts),
                std::move(hint)};
        }
        case uncertain:
            return {ErrorKind::unavailable, "grant.uncertain",
                    "The renewal of the token for this server got no answer yet.",
                    "It is tried again by itself; try again in a moment."};
        case ready:
        case refreshing:
            return {ErrorKind::unavailable, "grant.refreshing", "The token for this server is being renewed.",
                    "Try again in a moment."};
    }
    return {ErrorKind::internal, "internal", "The state of this grant is not known."};
}

}  // namespace claviger::oauth
