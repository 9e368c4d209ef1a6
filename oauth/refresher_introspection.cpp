// What the refresh engine asks authorization servers about the tokens that they gave (RFC 7662): how long one
// lives, and whether a grant still does. Never for a call that fares well, one question at a time.
#include "base/log.h"
#include "oauth/grant_server.h"
#include "oauth/mint.h"
#include "oauth/refresher_state.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kAskAgain = 60s;           // about the same grant
constexpr std::chrono::minutes kEndpointKept = 60min;     // what metadata say
constexpr std::chrono::minutes kNoEndpointKept = 5min;    // they may have been out of reach
constexpr std::size_t kMostRemembered = 10'000;           // of each kind; then they are forgotten
constexpr std::chrono::seconds kClaimsAgain = kFreshFor;  // before a server's next demand counts

bool says_nothing(const StoredGrant& grant) {
    return grant.lifetime == LifetimeSource::unknown || grant.lifetime == LifetimeSource::profile;
}

/// Whether the end of this grant is something that the authorization server can tell, and nothing under way
/// makes the answer doubtful: an attempt of unknown outcome may have replaced the tokens.
bool may_have_ended(const vault::Credential& credential, const StoredGrant& grant, base::Time now) {
    const auto& facts = grant.facts;
    if (minting_grant(*credential.refresh) || facts.attempt || facts.unresolved) return false;
    if (!facts.renewable && facts.expires_at && now >= *facts.expires_at) return false;  // row 16
    return facts.state == GrantState::ready || facts.state == GrantState::backoff ||
           facts.state == GrantState::needs_config;
}

bool is_asked_about(const vault::Credential& credential, const StoredGrant& grant, Question question,
                    base::Time now) {
    if (!credential.refresh || credential.archived) return false;
    return question == Question::lifetime ? says_nothing(grant) && grant.facts.state == GrantState::ready
                                          : may_have_ended(credential, grant, now);
}

/// Of the access token; whether a grant lives its refresh token says first. Servers that tell nothing of
/// refresh tokens call them inactive: then the access token has to bear it out.
net::awaitable<base::Result<TokenState>> answer_to(const Outbound& out, const IntrospectionCall& call,
                                                   Question question) {
    const auto& parts = call.parts;
    if (question == Question::fate && call.grant.facts.renewable && parts.refresh_token) {
        auto state = co_await introspect(out, call, *parts.refresh_token, "refresh_token");
        if (!state || state->active) co_return state;
    }
    co_return co_await introspect(out, call, *parts.token, "access_token");
}

}  // namespace

const Refresher::Lane* Refresher::State::lane_of(const net::Worker& worker) const {
    const auto own = std::ranges::find_if(lanes, [&](const Lane& lane) { return &lane.worker == &worker; });
    return own == lanes.end() ? nullptr : &*own;
}

bool Refresher::State::may_ask(const CredentialId& id) {
    const auto time = now();
    const std::lock_guard lock(mutex);
    if (stopping) return false;
    if (asked.size() >= kMostRemembered) asked.clear();
    const auto [before, is_first] = asked.try_emplace(id, time);
    // A clock that was put back keeps nobody from asking.
    if (!is_first && time >= before->second && time - before->second < kAskAgain) return false;
    before->second = time;
    return true;
}

/// Empty when there is none. A profile that names the endpoints itself has the last word.
net::awaitable<std::string> Refresher::State::introspection_endpoint(const Outbound& out,
                                                                     const vault::Credential& credential,
                                                                     const StoredGrant& grant) {
    const auto profile = filled_profile(providers, credential, grant);
    const auto& named = profile.endpoints.introspection;
    if (!named.empty()) co_return named.find('{') == std::string::npos ? named : std::string();
    if (profile.endpoints_from == EndpointsFrom::profile) co_return std::string();
    const auto key = grant.issuer + " " + credential.refresh->token_endpoint;
    {
        const std::lock_guard lock(mutex);
        if (const auto known = introspection_endpoints.find(key);
            known != introspection_endpoints.end() && now() < known->second.until)
            co_return known->second.url;
    }
    const auto server = co_await server_of(out, credential, grant);
    const auto url = server ? server->introspection_endpoint : std::string();
    const std::lock_guard lock(mutex);
    if (introspection_endpoints.size() >= kMostRemembered) introspection_endpoints.clear();
    introspection_endpoints[key] = {url, now() + (url.empty() ? kNoEndpointKept : kEndpointKept)};
    co_return url;
}

/// On record first; then the credential is opened. Nothing when it has changed meanwhile.
net::awaitable<std::optional<vault::SecretParts>> Refresher::State::open_to_ask(
    net::Worker& worker, const vault::Credential& seen) {
    vault::Ref<vault::Credential> credential;
    const auto on_record = co_await change(
        worker, [&](vault::Change& change) { return begin_inquiry(change, seen.id, credential); });
    if (!on_record) base::log_error("introspection.not_begun", on_record.error());
    if (!on_record || !credential || credential->version != seen.version) co_return std::nullopt;
    const auto sealed = records.sealed_secret(*credential);
    auto parts = sealed ? records.open_parts(*sealed)
                        : base::Result<vault::SecretParts>(std::unexpected(sealed.error()));
    if (!parts || !parts->token) co_return std::nullopt;
    counters.introspections.fetch_add(1, std::memory_order_relaxed);
    co_return std::move(*parts);
}

/// Nothing is asked about a grant while it is being asked about.
net::awaitable<Asked> Refresher::State::ask(const Lane& lane, const CredentialId& id, Question question) {
    const auto credential = records.catalog().find<vault::Credential>(id);
    const auto grant = credential ? grant_of(records.catalog(), *credential)
                                  : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
    if (!grant || !is_asked_about(*credential, *grant, question, now())) co_return Asked{};
    const auto reach = [&](std::string_view url) {
        return hooks.reach ? hooks.reach(*credential, url) : net::PrivateAddresses::refuse;
    };
    const bool inside = reach(credential->refresh->token_endpoint) == net::PrivateAddresses::allow;
    const Outbound out{.worker = lane.worker,
                       .pool = lane.pool,
                       .clock = records.clock(),
                       .reach = reach,
                       .plain_loopback = inside ? PlainLoopback::allow : PlainLoopback::refuse};
    const auto endpoint = co_await introspection_endpoint(out, *credential, *grant);
    if (endpoint.empty() || !may_ask(id)) co_return Asked{};
    const auto parts = co_await open_to_ask(lane.worker, *credential);
    if (!parts) co_return Asked{};

    const auto profile = filled_profile(providers, *credential, *grant);
    const IntrospectionCall call{.endpoint = endpoint,
                                 .credential = *credential,
                                 .parts = *parts,
                                 .grant = *grant,
                                 .profile = profile,
                                 .timeout = settings.introspection_timeout};
    auto state = co_await answer_to(out, call, question);
    Asked asked_now{.epoch = grant->facts.epoch, .gen = grant->facts.gen};
    if (state)
        asked_now.state = std::move(*state);
    else
        base::log(
            base::LogLevel::info, "introspection.no_use",
            {{"credential", id.text()}, {"code", state.error().code}, {"detail", state.error().detail}});
    co_return asked_now;
}

net::awaitable<void> Refresher::State::learn_lifetime(const Lane& lane, const CredentialId& id) {
    const auto answer = co_await ask(lane, id, Question::lifetime);
    // A token that was just given out and is "inactive" is one that the server does not talk about.
    if (!answer.state || !answer.state->active) co_return;
    Transition transition;
    const Inquiry inquiry{
        .id = id, .hooks = hooks, .clock = records.clock(), .epoch = answer.epoch, .gen = answer.gen};
    const auto stored = co_await change(lane.worker, [&](vault::Change& change) {
        return land_lifetime(change, inquiry, *answer.state, transition);
    });
    if (!stored) base::log_error("introspection.not_stored", stored.error());
    if (const auto credential = records.catalog().find<vault::Credential>(id)) look(*credential);
}

/// The server refuses the token of that version and no other one can be had: whether that is the end of the
/// grant is for its authorization server to say (row 19).
net::awaitable<base::Error> Refresher::State::refused_for_good(net::Worker& worker, const CredentialId& id,
                                                               std::uint64_t version) {
    const auto* lane = lane_of(worker);
    const auto before = records.catalog().find<vault::Credential>(id);
    if (lane == nullptr || !before || before->version != version) co_return upstream_unauthorized();
    const auto answer = co_await ask(*lane, id, Question::fate);
    if (!answer.state) co_return upstream_unauthorized();
    Transition transition;
    const Inquiry inquiry{
        .id = id, .hooks = hooks, .clock = records.clock(), .epoch = answer.epoch, .gen = answer.gen};
    const auto stored = co_await change(worker, [&](vault::Change& change) {
        return land_fate(change, inquiry, answer.state->active, transition);
    });
    if (!stored) base::log_error("introspection.not_stored", stored.error());
    const auto credential = records.catalog().find<vault::Credential>(id);
    if (!stored || !transition.taken() || !credential) co_return upstream_unauthorized();
    count(transition);
    look(*credential);
    StoredGrant ended;
    ended.facts = transition.facts;
    co_return why_unusable(ended, now());
}

/// Keeps what the server wants to find in the next token. One demand a minute counts: a server that wants
/// something else each time gets no token request for each call.
net::awaitable<base::Status> Refresher::State::demand_claims(net::Worker& worker, const CredentialId& id,
                                                             std::uint64_t version,
                                                             const std::string& claims) {
    const auto credential = records.catalog().find<vault::Credential>(id);
    if (!credential || credential->version != version) co_return base::Status();
    const auto grant = grant_of(records.catalog(), *credential);
    if (!grant) co_return std::unexpected(grant.error());
    const auto& demand = grant->claims;
    if (demand && now() >= demand->at && now() - demand->at < kClaimsAgain) co_return base::Status();
    if (demand && !demand->met && demand->claims == claims) co_return base::Status();
    Transition transition;
    const Inquiry inquiry{.id = id,
                          .hooks = hooks,
                          .clock = records.clock(),
                          .epoch = grant->facts.epoch,
                          .gen = grant->facts.gen};
    co_return co_await change(
        worker, [&](vault::Change& change) { return take_claims(change, inquiry, claims, transition); });
}

}  // namespace claviger::oauth
