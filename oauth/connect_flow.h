// Connect links: what every step of connecting an account works with.
#pragma once

#include "oauth/provider_catalog.h"
#include "oauth/refresher.h"
#include "oauth/registration.h"
#include "vault/records.h"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace claviger::oauth {

class ConnectJournal;

/// Lives as long as the store is open. May be used from all threads.
struct ConnectWorld {
    vault::Records& records;
    const ProviderCatalog& providers;
    OwnAddress own;
    /// Whether the vault of this credential has room for it. On the commit thread.
    std::function<base::Status(const vault::Catalog&, const vault::Credential&)> check_room;
    GrantHooks hooks;                   // tell and revoke, in the commit that connects
    Refresher* grants = nullptr;        // hears of what was connected; null: nothing is refreshed
    ConnectJournal* journal = nullptr;  // null: a crash between answer and store loses the answer
};

inline constexpr std::chrono::minutes kStepTakes{10};  // from the click to the return from the provider
inline constexpr std::chrono::minutes kStartTakes{2};  // from the click to the provider's page
inline constexpr std::uint64_t kMostStarts = 20;       // of one link, whatever came of them
inline constexpr std::chrono::hours kEndedFlowsKept{24};

/// A text of two halves, "clnk_01….…": the id by which the row is found, and a secret of which the row has
/// the digest. Links and states are made like this.
crypto::Secret two_halves(const base::ConnectLinkId& id, const crypto::Secret& secret_half);
vault::Ref<vault::ConnectFlow> flow_by_link(const vault::Catalog& catalog, std::string_view text);
vault::Ref<vault::ConnectFlow> flow_by_state(const vault::Catalog& catalog, std::string_view text);

/// "waiting", "started", "connected", "failed", "expired".
std::string_view status_of(const vault::ConnectFlow& flow, base::Time now);
/// Ended so long ago that nobody looks for it any more.
bool is_forgettable(const vault::ConnectFlow& flow, base::Time now);
/// What is said of a flow whose code was sent and whose answer nobody lived to take.
vault::Problem outcome_unknown();
/// True when a person may (still) go on with it.
bool is_open(const vault::ConnectFlow& flow, base::Time now);

std::optional<GrantType> grant_named(std::string_view word);

/// The profile for the wish, its variables replaced. Errors: not_found "provider.not_found", and those of
/// with_variables.
base::Result<ProviderProfile> profile_of(const ConnectWorld& world, const vault::ConnectWish& wish);

/// The way to the servers of this flow: to private addresses only where the calls of its vault may go.
Outbound outbound_of(const ConnectWorld& world, net::Worker& worker, net::ClientPool& pool,
                     const vault::ConnectFlow& flow);

vault::Problem problem_of(const base::Error& error);

/// Runs `apply` on the commit thread and resumes when the disk has the change.
net::awaitable<base::Status> commit(net::Worker& worker, vault::Records& records, vault::Actor actor,
                                    std::function<base::Status(vault::Change&)> apply);

/// Resumes after that time, or when the worker ends.
net::awaitable<void> pause(net::Worker& worker, std::chrono::milliseconds how_long);

/// Whether a flow is still where the one who wants to close it has left it. On the commit thread.
using StillThere = std::function<bool(const vault::ConnectFlow&)>;
/// The flow waits for a person, or for a device.
bool is_unspent(const vault::ConnectFlow& flow);

/// The same for whoever is on the commit thread already.
base::Status store_failure(const ConnectWorld& world, vault::Change& change, vault::ConnectFlow flow,
                           vault::Problem problem, std::string_view reason);
/// Closes the flow with the problem, on record, and takes away its secrets; a flow that somebody else has
/// moved on meanwhile stays as it is. `reason` is one of the log's closed list.
net::awaitable<base::Status> close_flow(const ConnectWorld& world, net::Worker& worker,
                                        const vault::Actor& actor, base::ConnectLinkId id,
                                        StillThere still_there, vault::Problem problem,
                                        std::string_view reason);

}  // namespace claviger::oauth
