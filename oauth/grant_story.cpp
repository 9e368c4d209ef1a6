#include "oauth/grant_story.h"

#include "crypto/hash.h"
#include "oauth/refresher.h"

#include <array>
#include <utility>

namespace claviger::oauth {
namespace {

using enum GrantState;

/// Reasons in words. Behind them stand codes of RFC 6749, and our own.
constexpr std::array<std::pair<std::string_view, std::string_view>, 41> kReasons{{
    {"invalid_grant", "the authorization server says that the refresh token is invalid, expired or revoked"},
    {"bad_refresh_token", "the authorization server says that the refresh token is not good"},
    {"invalid_refresh_token", "the authorization server says that the refresh token is not good"},
    {"token_revoked", "the authorization server says that the tokens were revoked"},
    {"account_inactive", "the provider says that the account is inactive"},
    {"interaction_required", "the provider wants the person to sign in again"},
    {"login_required", "the provider wants the person to sign in again"},
    {"consent_required", "the provider wants the person to consent again"},
    {"refresh_outcome_lost",
     "a renewal was sent and its answer never came; the next one was refused, so the new token was lost on "
     "the way and the old one is spent. That is a fault of the network or of Claviger, not of the person"},
    {"expired_no_refresh", "the access token ran out and there is no refresh token"},
    {"no_refresh_token", "there is no refresh token"},
    {"revoked_upstream", "the provider says that access was revoked"},
    {"unrecognized_refusal", "the authorization server kept refusing in words that nobody knows"},
    {"issuer_changed", "the server now names another authorization server; the old tokens are not for it"},
    {"invalid_client", "the authorization server does not accept the client id or secret"},
    {"unauthorized_client", "the authorization server does not let this client renew tokens"},
    {"incorrect_client_credentials", "the authorization server does not accept the client id or secret"},
    {"invalid_target", "the authorization server does not know the resource that the token is for"},
    {"invalid_scope", "the authorization server does not give out the scopes that are asked for"},
    {"invalid_request", "the authorization server does not understand the request"},
    {"unsupported_grant_type", "the authorization server does not renew tokens in this way"},
    {"upstream_rejects_fresh_token", "the server refuses even a token that was just renewed"},
    {"insufficient_claims",
     "the server wants to find something in the token that only another consent can bring, such as a "
     "stronger sign-in"},
    {"not_sent", "the authorization server cannot be reached"},
    {"no_answer", "the authorization server gave no answer"},
    {"truncated", "the authorization server's answer broke off"},
    {"process_ended", "Claviger ended before the answer came"},
    {"subject_unusable", "the credential whose token is exchanged has no usable token itself"},
    {"subject_refused",
     "the token of the other credential that is exchanged (subject_credential_id) is refused, even renewed"},
    {"subject_gone", "the token that is exchanged is gone: its credential was archived, deleted or changed"},
    {"journal_unavailable",
     "Claviger's disk takes no answer of a token endpoint, so none is asked for; see what_to_do"},
    {"actor_unusable", "the credential of the actor (actor_credential_id) has no usable token itself"},
    {"actor_gone", "the token of the actor is gone: its credential was archived, deleted or changed"},
    {"actor_elsewhere", "an actor's token may only be exchanged where it came from"},
    {"exchange_unusable",
     "one of the tokens that are exchanged (subject_credential_id, actor_credential_id) is refused, and "
     "cannot "
     "be renewed for now"},
    {"exchange_refused",
     "one of the tokens that are exchanged (subject_credential_id, actor_credential_id) is refused, even "
     "renewed"},
    {"subject_elsewhere", "another credential's token may only be exchanged where it came from"},
    {"no_client_at_issuer",
     "no client is registered for the identity provider that exchanges the subject token"},
    {"no_id_jag", "the identity provider gave another token than an identity assertion"},
    {"revocation_incomplete", "the provider did not confirm that the tokens are revoked"},
    {"revocation_unsupported",
     "the provider does not support revoking them: they stay good there until they run out, or until "
     "somebody "
     "withdraws the access there"},
}};

std::string because(const GrantFacts& facts) {
    if (facts.reason.empty()) return ".";
    for (const auto& [code, words] : kReasons)
        if (code == facts.reason) return ": " + std::string(words) + ".";
    return " (" + facts.reason + ").";
}

bool expired(const GrantFacts& facts, base::Time now) { return facts.expires_at && *facts.expires_at <= now; }

/// Whether calls go on meanwhile.
std::string meanwhile(const GrantFacts& facts, base::Time now) {
    return serves_tokens(facts.state, facts.expires_at, now) ? " Calls go on with the access token there is."
                                                             : " Calls to this server are refused meanwhile.";
}

/// What a server demands of the next token, and did not get yet.
std::string told_demand(const StoredGrant& grant) {
    const bool open = grant.claims && !grant.claims->met && is_live(grant.facts.state);
    return open && grant.facts.reason != "insufficient_claims"
               ? " The server demands a token with other claims, such as a newer or a stronger sign-in."
               : "";
}

std::string told_meaning(const StoredGrant& grant, base::Time now) {
    const auto& facts = grant.facts;
    switch (facts.state) {  // no default: a new state must be given its words here
        case initial:
            return "No account has been connected yet.";
        case ready:
            if (!facts.reason.empty())
                return "The tokens are renewed, but something is wrong" + because(facts);
            if (expired(facts, now))
                return facts.renewable ? "The access token has run out; the next call renews it first."
                                       : "The access token has run out, and nothing can renew it.";
            return facts.renewable ? "All is well: the access token is good, and is renewed by itself."
                                   : "The access token is good; nothing can renew it when it runs out.";
        case refreshing:
            return "The tokens are being renewed right now." + meanwhile(facts, now);
        case uncertain:
            return "A renewal was sent and no complete answer came, so nobody knows whether the refresh "
                   "token "
                   "is spent." +
                   meanwhile(facts, now);
        case backoff:
            return "The tokens could not be renewed for now" + because(facts) + meanwhile(facts, now);
        case needs_reauth:
            return "The grant is dead" + because(facts) + " Calls to this server are refused.";
        case needs_config:
            return "Claviger's client or request is refused" + because(facts) + meanwhile(facts, now);
        case suspended:
            return "An administrator or a policy holds this grant. Calls to this server are refused.";
        case revoking:
            return "The credential was let go; its tokens are being revoked at the provider.";
        case revoked:
            return facts.reason.empty() ? "The credential was let go; nothing of its tokens is left."
                                        : "The credential was let go and its tokens are destroyed here, but" +
                                              because(facts).substr(1);
    }
    return {};
}

std::string told_advice(const StoredGrant& grant) {
    const auto& facts = grant.facts;
    for (const auto& step : facts.step_ups)
        if (step.pending)
            return "A person has to grant more scopes: make a connect link with `claviger credential "
                   "connect`.";
    switch (facts.state) {
        case initial:
            return "Let a person connect the account: `claviger credential connect`.";
        case needs_reauth:
            if (facts.reason == "subject_refused")
                return "Connect the other credential again, which subject_credential_id names, and then this "
                       "one: `claviger credential connect`. Both keep their ids.";
            if (facts.reason == "exchange_refused")
                return "Connect the credentials again that subject_credential_id and actor_credential_id "
                       "name, and then this one: `claviger credential connect`. All keep their ids.";
            return "A person has to connect the account again: `claviger credential connect`. The credential "
                   "keeps its id, and agents need no change.";
        case needs_config:
            return facts.reason == "issuer_changed"
                       ? "Find out whether the server really moved; then connect the account again."
                       : "Correct the client's id, secret or resource, here or at the provider. It is tried "
                         "again every day, and at once when the credential is changed.";
        case suspended:
            return "Take the hold off when its cause is gone: `claviger credential resume`.";
        case revoked:
            return facts.reason.empty()
                       ? std::string()
                       : "Revoke the access on the provider's own page, where the person sees "
                         "connected applications.";
        case ready:
            if (facts.reason == "insufficient_claims")
                return "A person has to connect the account again: `claviger credential connect`. The "
                       "link asks for what the server demands.";
            if (facts.end_warned)
                return "Connect the account again before the provider ends the grant: `claviger credential "
                       "connect`. The credential keeps its id.";
            if (facts.reason == "upstream_rejects_fresh_token")
                return "Look at the person's rights at the provider, and at the resource and scopes of the "
                       "grant.";
            return facts.renewable || !facts.expires_at
                       ? std::string()
                       : "Store a new token, or connect the account, before it runs out.";
        case backoff:
        case uncertain:
        case refreshing:
        case revoking:
            return {};
    }
    return {};
}

std::pair<std::string_view, std::string> told_next(const StoredGrant& grant) {
    const auto& facts = grant.facts;
    switch (facts.state) {
        case ready:
            if (facts.renewable)
                return facts.expires_at
                           ? std::pair<std::string_view, std::string>{"refresh",
                                                                      "The tokens are renewed, or "
                                                                      "earlier if the server "
                                                                      "refuses them."}
                           : std::pair<std::string_view, std::string>{
                                 "refresh", "The refresh token is used before it dies of disuse."};
            return facts.expiry_warned
                       ? std::pair<std::string_view, std::string>{"expire", "The access token runs out."}
                       : std::pair<std::string_view, std::string>{"warn",
                                                                  "A webhook warns that the access "
                                                                  "token runs out."};
        case backoff:
            return {"retry", "Renewing is tried again."};
        case uncertain:
            return {"retry", "The same refresh token is sent once more."};
        case refreshing:
            return {"give_up_waiting", "If no answer is there by then, the outcome counts as unknown."};
        case needs_config:
            return {"probe", "It is tried once more, as every day."};
        case revoking:
            return {"revoke", "The outbox revokes the tokens, ten tries in about a day."};
        case initial:
        case needs_reauth:
        case suspended:
        case revoked:
            return {};
    }
    return {};
}

/// For grants of which nothing is planned.
std::string told_rest(const GrantFacts& facts) {
    if (facts.state == ready && facts.renewable)
        return "Nothing is planned: the tokens are renewed when a call needs it, or the server refuses them.";
    if (facts.state == ready) return "Nothing: how long the access token lives is not known.";
    return "Nothing happens by itself.";
}

}  // namespace

GrantStory story_of(const StoredGrant& grant, std::optional<base::Time> next_step, base::Time now,
                    std::optional<base::Time> certain_end) {
    GrantStory story;
    story.meaning = told_meaning(grant, now) + told_demand(grant);
    story.advice = told_advice(grant);
    const bool warns = next_step && next_step == end_warning_of(grant, certain_end);
    if (warns) {
        story.next = "warn";
        story.next_meaning = "A webhook warns that the provider ends the grant, however often it is renewed.";
    } else if (next_step || grant.facts.state == revoking) {
        std::tie(story.next, story.next_meaning) = told_next(grant);
    }
    if (story.next.empty()) story.next_meaning = told_rest(grant.facts);
    return story;
}

std::string token_fingerprint(const vault::KeyRing& keys, const crypto::Secret& token) {
    const auto digest = token.expose([&](std::span<const std::byte> bytes) {
        return crypto::blake2b_keyed(keys.derived(crypto::Purpose::token_fingerprint), base::as_view(bytes));
    });
    return base::to_hex(crypto::view(digest).substr(0, 4));
}

}  // namespace claviger::oauth
