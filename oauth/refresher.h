// Keeps grants fresh: one attempt at a time for each, on record before it leaves, its answer on disk before
// it is read, its tokens committed before anybody uses them (oauth.md 2, 9, 10).
#pragma once

#include "base/result.h"
#include "net/client.h"
#include "net/worker.h"
#include "oauth/grant_event.h"
#include "oauth/journal.h"
#include "oauth/provider_catalog.h"
#include "oauth/scope_need.h"
#include "oauth/stored_grant.h"
#include "vault/records.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// Read by /metrics from any thread.
struct RefreshCounters {
    std::atomic<std::uint64_t> started{0}, succeeded{0}, recovered{0};
    std::atomic<std::uint64_t> deferred{0}, uncertain{0}, needs_reauth{0}, needs_config{0};
    std::atomic<std::uint64_t> journal_failures{0}, micros{0}, introspections{0};
    std::atomic<bool> journal_writable{true};  // false: nothing is renewed until its disk takes answers again
};

/// What follows from a transition in other parts, in the same commit. All may be empty.
struct GrantHooks {
    /// Webhooks: `transition.webhook` names one when there is something to tell.
    std::function<base::Status(vault::Change&, const vault::Credential&, const StoredGrant&,
                               const Transition&)>
        tell;
    /// Tokens of this credential that nobody will use again, to be revoked at their server.
    std::function<base::Status(vault::Change&, const vault::Credential&, const StoredGrant&,
                               vault::SecretParts)>
        revoke;
    /// Which addresses its token endpoint may have.
    std::function<net::PrivateAddresses(const vault::Credential&, std::string_view host)> reach;
};

struct RefreshSettings {
    std::chrono::milliseconds request_timeout{30'000};  // of the token request
    std::chrono::milliseconds introspection_timeout{5'000};
    std::chrono::milliseconds lease{75'000};     // longer than an attempt can take
    std::chrono::milliseconds patience{10'000};  // how long a call waits for a refresh
    std::size_t per_issuer = 4;                  // attempts at one token endpoint's host at a time
    std::chrono::hours unused_after{7 * 24};     // no background refresh of what nobody uses
    bool store_is_shared = false;  // others may hold leases; false: a lease that is not ours is a dead
                                   // process's
};

/// What came of the last attempt, for those who show it.
struct RefreshReport {
    bool sent = false;  // an attempt was made, not only waited for
    AnswerClass kind = AnswerClass::success;
    std::string code = {};
    bool connected = true;  // false: the token endpoint was not reached
    unsigned status = 0;    // of its refusal
    std::string content_type = {};
    std::optional<crypto::Secret> body = {};  // of its refusal: may repeat what was sent
};

class Refresher {
public:
    struct Lane {
        net::Worker& worker;
        net::ClientPool& pool;
    };

    /// Everything borrowed outlives it. `lanes` are the workers that attempts run on, at least one.
    Refresher(vault::Records& records, Journal journal, const ProviderCatalog& providers,
              std::vector<Lane> lanes, RefreshSettings settings, GrantHooks hooks);
    ~Refresher();  // after the workers have stopped
    Refresher(const Refresher&) = delete;
    Refresher& operator=(const Refresher&) = delete;

    /// Commits what the journal holds, then plans refreshes in the background. Blocks for the disk.
    base::Status start();
    /// Calls that wait now are told at the next tick that they waited for nothing; the attempts go on. Any
    /// thread.
    void end_waiting();
    /// No attempt begins any more; returns when the running ones have ended, which takes no longer than a
    /// token request. Not on a worker.
    void drain();

    /// Whether the credential's token may be injected as it is. Any thread; one look-up. Starts a refresh in
    /// the background when one is due.
    bool usable(const vault::Credential& credential);
    /// On `worker`: waits until it may, if that takes a refresh. Errors: denied "grant.needs_reauth",
    /// "grant.needs_config", "grant.suspended", "grant.not_connected"; unavailable "grant.transient",
    /// "grant.uncertain", "grant.refreshing", "grant.journal_unavailable".
    net::awaitable<base::Status> make_usable(net::Worker& worker, const base::CredentialId& id);
    /// On `worker`: the server refused the token of that version of the credential. Success: there is
    /// another one now, worth one more try. Errors as above, and unavailable "upstream.unauthorized" when
    /// nothing can be done. Where nothing can be renewed the authorization server is asked what has become of
    /// the grant (RFC 7662), once a minute at most. `claims`: what the server wants to find in the other
    /// token, from insufficient_claims(); empty when it does not say.
    net::awaitable<base::Status> replace_refused(net::Worker& worker, const base::CredentialId& id,
                                                 std::uint64_t version, std::string claims = {});
    /// On `worker`: the server refused that version's token although it is new; no other one is fetched. What
    /// the caller is to be told: denied "grant.needs_reauth" when the authorization server says that the
    /// grant has ended, else unavailable "upstream.unauthorized".
    net::awaitable<base::Error> refused_again(net::Worker& worker, const base::CredentialId& id,
                                              std::uint64_t version);
    /// On `worker`: asks the authorization server when the credential's token ends, if neither its answer nor
    /// the token said so and there is an endpoint for it (RFC 7662). What comes of it is stored; a failure
    /// changes nothing.
    net::awaitable<void> learn_lifetime(net::Worker& worker, const base::CredentialId& id);
    /// The same for those who show what happened. Never refuses for being fresh.
    net::awaitable<RefreshReport> force(net::Worker& worker, const base::CredentialId& id);

    /// The server refused `operation` because the grant lacks these scopes: people are to be asked for them
    /// (oauth.md 1.15). Gives what the caller is to be told. Any thread; does not wait.
    ScopeNeed scope_refused(const base::CredentialId& id, std::string_view operation,
                            const Scopes& challenged);
    /// What its provider's profile says of errors that mean a refused token although their status does not;
    /// null when it says nothing. Any thread; one look-up. The rule lives as long as the catalog of profiles.
    const UpstreamRule* rejections_of(const vault::Credential& credential) const;
    /// Denied "grant.suspended" once an administrator holds the grant. Any thread; one look-up.
    base::Status not_held(const vault::Credential& credential) const;

    /// The credential or its grant was changed by others: look at it again. Any thread.
    void touched(const base::CredentialId& id);
    /// When the next step is planned; nothing when none is.
    std::optional<base::Time> next_step(const base::CredentialId& id) const;
    /// The profile that the credential's grant follows; lives as long as the catalog of profiles.
    const ProviderProfile& profile_of(const vault::Credential& credential, const StoredGrant& grant) const;

    const RefreshCounters& counters() const;
    /// Why no attempt begins for any grant: the journal takes no answer. Nothing while it does, and as long
    /// as nobody has tried. Any thread.
    std::optional<base::Error> journal_trouble() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

inline constexpr std::chrono::hours kDailyProbe{24};  // row 15

/// What an agent is told of a grant that cannot be renewed because the journal takes no answer.
base::Error no_journal();
/// What an agent or an operator is told of a grant whose token cannot be used.
base::Error why_unusable(const StoredGrant& grant, base::Time now);

/// When the background has something to do for the grant, by time alone; nothing: never. `last_used` decides
/// whether anybody misses it.
std::optional<base::Time> next_step_of(const StoredGrant& grant, const ProviderProfile& profile,
                                       std::optional<base::Time> last_used, base::Time now,
                                       std::chrono::hours unused_after);

/// When the grant ends however often it is renewed, where the provider's profile knows (absolute_lifetime) or
/// its answers name a later end; nothing for grants that mint, which have no refresh token to die.
std::optional<base::Time> certain_end_of(const vault::Credential& credential, const StoredGrant& grant,
                                         const ProviderProfile& profile);
/// When people are to be told of that end; nothing when they were, or nobody has to be.
std::optional<base::Time> end_warning_of(const StoredGrant& grant, std::optional<base::Time> certain_end);

}  // namespace claviger::oauth
