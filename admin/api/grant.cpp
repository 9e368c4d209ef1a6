#include "admin/api/grant.h"

#include "admin/api/credentials.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "oauth/grant_hold.h"
#include "oauth/grant_story.h"
#include "oauth/live_grants.h"
#include "oauth/refresher.h"
#include "oauth/stored_grant.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::EntryKind;

constexpr std::size_t kLookedThrough = 500;  // uses per page, among which validations are looked for

/// Not the uses by agents: those are the access log's.
bool belongs(const vault::LogEntry& entry) {
    if (entry.kind == EntryKind::use_intent || entry.kind == EntryKind::use_outcome)
        return entry.action == Action::validate && entry.kind == EntryKind::use_outcome;
    return true;
}

struct Timeline {
    std::vector<vault::NamedEntry> entries;  // newest first
    std::optional<std::uint64_t> next_below;
};

base::Result<Timeline> timeline_of(const Call& call, const base::CredentialId& id,
                                   std::optional<std::uint64_t> below, std::size_t limit) {
    Timeline timeline;
    bool more = false;
    for (const auto kind : {EntryKind::grant, EntryKind::write, EntryKind::rotate, EntryKind::use_outcome}) {
        vault::LogQuery query;
        query.workspace = call.workspace().raw;
        query.credential = id.raw;
        query.kind = kind;
        query.below = below;
        query.limit = kind == EntryKind::use_outcome ? kLookedThrough : limit;
        auto page = call.records.access_log().query(query);
        if (!page) return std::unexpected(std::move(page).error());
        more = more || (kind != EntryKind::use_outcome && page->next_below);
        for (auto& entry : page->entries)
            if (belongs(entry.entry)) timeline.entries.push_back(std::move(entry));
    }
    std::ranges::sort(timeline.entries, std::ranges::greater(),
                      [](const auto& named) { return named.entry.position; });
    if (timeline.entries.size() > limit) {
        timeline.entries.erase(timeline.entries.begin() + static_cast<std::ptrdiff_t>(limit),
                               timeline.entries.end());
        more = true;
    }
    if (more && !timeline.entries.empty()) timeline.next_below = timeline.entries.back().entry.position;
    return timeline;
}

Json shown_event(const vault::LogEntry& entry) {
    const auto reason = vault::reason_code(entry.reason);
    Json actor_id = nullptr;
    if (entry.actor == vault::ActorKind::api_key) actor_id = base::ApiKeyId{entry.actor_id}.text();
    if (entry.actor == vault::ActorKind::session) actor_id = base::SessionId{entry.actor_id}.text();
    return {{"position", entry.position},
            {"created_at", shown(entry.time)},
            {"action", vault::name_of(entry.action)},
            {"decision",
             entry.verdict == vault::Verdict::none ? Json(nullptr) : Json(vault::name_of(entry.verdict))},
            {"reason", reason.empty() ? Json(nullptr) : Json(reason)},
            {"status", entry.status == 0 ? Json(nullptr) : Json(entry.status)},
            {"actor", {{"type", vault::name_of(entry.actor)}, {"id", std::move(actor_id)}}}};
}

Json texts(const std::vector<std::string>& names) {
    auto list = Json::array();
    for (const auto& name : names) list.push_back(name);
    return list;
}

std::string_view name_of(oauth::RefreshTokenReuse reuse) {
    switch (reuse) {
        case oauth::RefreshTokenReuse::unknown:
            return "unknown";
        case oauth::RefreshTokenReuse::reusable:
            return "reusable";
        case oauth::RefreshTokenReuse::grace:
            return "grace";
        case oauth::RefreshTokenReuse::strict:
            return "strict";
    }
    return "unknown";
}

Json shown_attempt(const oauth::GrantFacts& facts) {
    if (!facts.attempt) return nullptr;
    return {{"generation", facts.attempt->parent_gen},
            {"started_at", shown(facts.attempt->started_at)},
            {"lease_until", shown(facts.attempt->lease_until)},
            {"is_retry", facts.attempt->retry_of.has_value()}};
}

Json shown_step_ups(const oauth::GrantFacts& facts) {
    auto list = Json::array();
    for (const auto& step : facts.step_ups)
        list.push_back({{"operation", step.operation},
                        {"scopes", texts(step.scopes)},
                        {"times_asked", step.attempts},
                        {"pending", step.pending}});
    return list;
}

Json text_if_any(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

/// What is told of the tokens themselves.
base::Status add_fingerprints(const Call& call, const vault::Credential& credential, Json& json) {
    json["token_fingerprint"] = nullptr;
    json["refresh_token_fingerprint"] = nullptr;
    if (credential.version == 0) return {};
    const auto current = call.records.current_secret(credential.id);
    if (!current) return std::unexpected(current.error());
    const auto parts = call.records.open_parts(current->sealed);
    if (!parts) return std::unexpected(parts.error());
    const auto& keys = call.records.keys();
    if (parts->token) json["token_fingerprint"] = oauth::token_fingerprint(keys, *parts->token);
    if (parts->refresh_token)
        json["refresh_token_fingerprint"] = oauth::token_fingerprint(keys, *parts->refresh_token);
    return {};
}

/// That there is a demand, and since when; its words are a stranger's.
Json shown_demand(const oauth::StoredGrant& grant) {
    if (!grant.claims) return nullptr;
    return {{"demanded_at", shown(grant.claims->at)}, {"pending", !grant.claims->met}};
}

Json shown_introspection(const oauth::StoredGrant& grant) {
    if (!grant.introspected) return nullptr;
    return {{"active", grant.introspected->active}, {"asked_at", shown(grant.introspected->at)}};
}

/// What the refresher and the provider's profile know beyond the grant itself.
struct Ahead {
    std::optional<base::Time> next_step = {}, certain_end = {};
    std::optional<oauth::LiveGrants> live = {};
};

Ahead ahead_of(const Call& call, const vault::Credential& credential, const oauth::StoredGrant& grant) {
    if (call.grants == nullptr) return {};
    const auto& profile = call.grants->profile_of(credential, grant);
    return {.next_step = call.grants->next_step(credential.id),
            .certain_end = oauth::certain_end_of(credential, grant, profile),
            .live = oauth::live_grants(call.catalog(), credential, grant, profile)};
}

Json shown_live(const std::optional<oauth::LiveGrants>& live) {
    if (!live) return nullptr;
    return {{"count", live->count}, {"most", live->most}};
}

/// What to do, where the grant itself asks for nothing but the provider is about to end one.
std::string advice_of(const oauth::GrantStory& story, const std::optional<oauth::LiveGrants>& live) {
    if (!story.advice.empty() || !live || live->count <= live->most) return story.advice;
    return "The provider keeps " + std::to_string(live->most) +
           " grants of one client and account and ends the oldest of more; there are " +
           std::to_string(live->count) + ". Archive those that nobody needs, or use one for all.";
}

Json shown_grant(const vault::Credential& credential, const oauth::StoredGrant& grant, const Ahead& ahead,
                 base::Time now) {
    const auto& facts = grant.facts;
    const auto& next_step = ahead.next_step;
    const auto story = oauth::story_of(grant, next_step, now, ahead.certain_end);
    const auto exchange = credential.refresh ? credential.refresh->exchange : std::nullopt;
    const auto shown_id = [](const std::optional<base::CredentialId>& id) {
        return id ? Json(id->text()) : Json(nullptr);
    };
    return {{"type", "vault_credential_grant"},
            {"credential_id", credential.id.text()},
            {"vault_id", credential.vault.text()},
            {"display_name", shown(credential.display_name)},
            {"mcp_server_url", credential.mcp_server_url},
            {"state", oauth::to_text(facts.state)},
            {"reason", text_if_any(facts.reason)},
            {"meaning", story.meaning},
            {"what_to_do", text_if_any(advice_of(story, ahead.live))},
            {"token_is_served",
             credential.version != 0 && oauth::serves_tokens(facts.state, facts.expires_at, now)},
            {"next",
             {{"action", story.next.empty() ? Json(nullptr) : Json(story.next)},
              {"at", shown(next_step)},
              {"meaning", story.next_meaning}}},
            {"epoch", facts.epoch},
            {"generation", facts.gen},
            {"obtained_at", shown(facts.obtained_at)},
            {"expires_at", shown(facts.expires_at)},
            {"expiry_known_from", oauth::to_text(grant.lifetime)},
            {"refresh_token_expires_at", shown(grant.refresh_expires_at)},
            {"granted_at", shown(facts.granted_at)},
            {"ends_at", shown(ahead.certain_end)},
            {"live_grants", shown_live(ahead.live)},
            {"introspection", shown_introspection(grant)},
            {"claims_challenge", shown_demand(grant)},
            {"renewable", facts.renewable},
            {"refresh_token_reuse", name_of(facts.reuse)},
            {"failures_in_a_row", facts.fail_count},
            {"cooldown_until", shown(facts.cooldown_until)},
            {"attempt", shown_attempt(facts)},
            {"unresolved_attempt",
             facts.unresolved ? Json{{"started_at", shown(facts.unresolved->started_at)}} : Json(nullptr)},
            {"scopes_requested", texts(facts.scopes_requested)},
            {"scopes_granted", texts(grant.scopes_granted)},
            {"step_ups", shown_step_ups(facts)},
            {"provider", text_if_any(grant.provider)},
            {"issuer", text_if_any(grant.issuer)},
            {"subject_credential_id", exchange ? shown_id(exchange->credential) : Json(nullptr)},
            {"actor_credential_id", exchange ? shown_id(exchange->actor) : Json(nullptr)},
            {"act_chain", texts(grant.act_chain)},
            {"as_of", shown(now)}};
}

/// Why no grant at all is renewed.
Json shown_trouble(const base::Error& trouble) {
    return {{"code", "journal_unavailable"}, {"message", trouble.message}, {"hint", trouble.hint}};
}

base::Result<vault::Ref<vault::Credential>> find_granted(const Call& call, const vault::Catalog& catalog) {
    auto found = find_credential(call, catalog);
    if (found && (*found)->type != vault::AuthType::mcp_oauth)
        return base::failure(base::ErrorKind::invalid_request, "credential.not_oauth",
                             "Credential " + call.ids[1] + " is of type " +
                                 std::string(vault::name_of((*found)->type)) +
                                 "; only mcp_oauth credentials have a grant.");
    return found;
}

using Hold = base::Status (*)(vault::Change&, const vault::Credential&);

net::awaitable<Answered> hold(Call& call, Hold apply) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    base::CredentialId id;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_granted(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        id = (*found)->id;
        if ((*found)->archived)
            return base::failure(base::ErrorKind::invalid_request, "credential.archived",
                                 "Credential " + call.ids[1] + " is archived and has no grant any more.");
        return apply(change, **found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (call.grants != nullptr) call.grants->touched(id);
    co_return co_await retrieve_grant(call);
}

}  // namespace

net::awaitable<Answered> suspend_credential(Call& call) {
    co_return co_await hold(call, oauth::suspend_grant);
}

net::awaitable<Answered> resume_credential(Call& call) { co_return co_await hold(call, oauth::resume_grant); }

net::awaitable<Answered> retrieve_grant(Call& call) {
    const auto found = find_granted(call, call.catalog());
    if (!found) co_return std::unexpected(found.error());
    const auto& credential = **found;
    const auto limit = call.query.limit(20, 100);
    if (!limit) co_return std::unexpected(limit.error());
    const ListName list{"grant_timeline", credential.id.raw};
    const auto cursor = cursor_of(call, list);
    if (!cursor) co_return std::unexpected(cursor.error());
    const auto below = *cursor ? std::optional((*cursor)->created_seq) : std::nullopt;
    const auto timeline = timeline_of(call, credential.id, below, *limit);
    if (!timeline) co_return std::unexpected(timeline.error());
    const auto grant = oauth::grant_of(call.catalog(), credential);
    if (!grant) co_return std::unexpected(grant.error());

    const auto now = call.records.clock().now();
    auto json = shown_grant(credential, *grant, ahead_of(call, credential, *grant), now);
    const auto trouble = call.grants != nullptr ? call.grants->journal_trouble() : std::nullopt;
    json["renewal_blocked"] = grant->facts.renewable && trouble ? shown_trouble(*trouble) : Json(nullptr);
    if (auto added = add_fingerprints(call, credential, json); !added)
        co_return std::unexpected(added.error());
    json["timeline"] = Json::array();
    for (const auto& named : timeline->entries) json["timeline"].push_back(shown_event(named.entry));
    std::optional<std::string> next;
    if (timeline->next_below) next = seal_cursor(call, list, {.created_seq = *timeline->next_below});
    json["next_page"] = shown(next);
    co_return answer(json);
}

}  // namespace claviger::admin::api
