// The inside of the refresh engine, shared by its three source files: what is known, what runs, what is
// planned.
#pragma once

#include "oauth/introspection.h"
#include "oauth/refresh_commit.h"
#include "oauth/refresher.h"
#include "oauth/subject_token.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

namespace boost::asio {
class thread_pool;
}

namespace claviger::oauth {

using base::CredentialId;
using SteadyTime = std::chrono::steady_clock::time_point;
using Report = std::shared_ptr<const RefreshReport>;  // shared by all who waited for one attempt
using Wake = std::function<void(Report)>;

struct Waiter {
    Wake wake;
    SteadyTime until;
};

/// Which tokens of a grant: those that whoever wants others has seen. Where newer ones are there already,
/// none are asked for.
struct SeenTokens {
    std::uint64_t epoch = 0, gen = 0;
    auto operator<=>(const SeenTokens&) const = default;
};
inline SeenTokens seen_in(const GrantFacts& facts) { return {facts.epoch, facts.gen}; }

/// The one attempt of a credential that runs, or waits for its turn at the issuer.
struct Flight {
    CredentialId id;
    std::string issuer;
    const Refresher::Lane* lane = nullptr;
    SeenTokens replaced = {};
    bool refused = false;  // by the server that they were shown to
    bool running = false;
    std::vector<Waiter> waiters = {};
};

/// What the hot path asks: as of one version of the credential.
struct Standing {
    std::uint64_t version = 0;
    SeenTokens tokens = {};
    GrantState state = GrantState::initial;
    std::optional<base::Time> last_use = {};   // of the token: a little before it expires
    std::optional<base::Time> renew_at = {};   // in the background
    std::optional<base::Time> wanted = {};     // when a call last wanted it before the log knew of a use
    bool idle = false;                         // nothing is planned, or later, because nobody uses it
    const UpstreamRule* rejections = nullptr;  // of the profile; null when it has none
};

/// An answer on its way through the journal.
struct KeptAnswer {
    JournalEntry entry = {};
    bool has_room = false;  // taken on the disk, and not filled yet
    bool came = false;      // there is one
    bool on_disk = false;   // and it is safe
};

/// What the tokens of an attempt are exchanged for, if its grant exchanges any.
using Exchanged = std::expected<std::optional<ExchangedTokens>, SubjectRefusal>;

/// One request of an attempt.
struct Tried {
    RefreshOutcome outcome = {};
    std::vector<LentToken> refused = {};  // other credentials' tokens, one of which may be what was refused
};

/// Where a server answers questions, from its metadata.
struct KnownEndpoint {
    std::string url;  // empty: nowhere
    base::Time until{};
};

/// What came of getting other credentials tokens that are not refused.
enum class Renewal {
    done,     // there is another one now
    not_now,  // there may be one later
    never     // by no request, or this one is fresh
};

/// The last moment at which the token may be sent: calls take a moment to get there.
std::optional<base::Time> last_use_of(const GrantFacts& facts);
/// Whether an attempt could begin now.
bool can_renew(const GrantFacts& facts, base::Time now);
base::Error upstream_unauthorized();
/// Nothing comes last.
std::optional<base::Time> earlier(std::optional<base::Time> a, std::optional<base::Time> b);

/// What is to be found out about a grant's tokens.
enum class Question {
    lifetime,  // how long the access token lives
    fate       // whether the grant lives: of one that can be renewed both tokens must have ended
};

/// What came of it.
struct Asked {
    std::uint64_t epoch = 0, gen = 0;      // of the set that was asked about
    std::optional<TokenState> state = {};  // of the access token, or of the token that still lives; nothing:
                                           // nobody was asked, or nobody gave an answer that can be used
};

struct Refresher::State {
    State(vault::Records& records_, Journal journal_, const ProviderCatalog& providers_,
          std::vector<Lane> lanes_, RefreshSettings settings_, GrantHooks hooks_);
    ~State();

    // Knowledge
    enum class Wanted { no, yes };  // by a call, now
    Standing look(const vault::Credential& credential, Wanted wanted = Wanted::no);
    void plan(const CredentialId& id, std::optional<base::Time> at);
    base::Time now() const { return records.clock().now(); }

    // Flights
    enum class Refused { no, yes };  // what was seen, by the server that it was shown to
    void board(const CredentialId& id, const net::Worker* worker, SeenTokens seen, Refused refused,
               std::optional<Waiter> waiter);
    void launch(std::shared_ptr<Flight> flight);  // with `mutex` held
    net::awaitable<void> fly(std::shared_ptr<Flight> flight);
    net::awaitable<Report> attempt(const Flight& flight);
    net::awaitable<RefreshOutcome> send(const Flight& flight, const Begun& begun,
                                        const vault::SecretParts& parts, KeptAnswer& kept);
    net::awaitable<Tried> try_once(const Flight& flight, const Begun& begun, const vault::SecretParts& parts,
                                   KeptAnswer& kept);
    net::awaitable<Renewal> renew_lent(const Flight& flight, const Begun& begun, const LentToken& refused);
    net::awaitable<Renewal> renew_all(const Flight& flight, const Begun& begun,
                                      const std::vector<LentToken>& refused);
    net::awaitable<Exchanged> exchanged_for(const Flight& flight, const vault::Credential& credential,
                                            const vault::SecretParts& parts, const StoredGrant& grant);
    net::awaitable<base::Status> usable_soon(net::Worker& worker, const CredentialId& id);
    net::awaitable<base::Status> take_room(net::Worker& worker, KeptAnswer& kept);
    net::awaitable<void> keep(net::Worker& worker, KeptAnswer& kept);
    net::awaitable<void> drop(net::Worker& worker, KeptAnswer& kept);
    void judge_journal(const base::Status& room);
    net::awaitable<base::Status> commit_answer(net::Worker& worker, const Landing& landing, Landed& landed,
                                               KeptAnswer& kept);
    net::awaitable<bool> recovered(net::Worker& worker, const CredentialId& id);
    void land(const std::shared_ptr<Flight>& flight, Report report);
    net::awaitable<Report> join(net::Worker& worker, const CredentialId& id, SeenTokens seen, Refused refused,
                                std::chrono::milliseconds patience);

    // Questions (RFC 7662)
    const Lane* lane_of(const net::Worker& worker) const;
    bool may_ask(const CredentialId& id);  // and takes the turn
    net::awaitable<std::string> introspection_endpoint(const Outbound& out,
                                                       const vault::Credential& credential,
                                                       const StoredGrant& grant);
    net::awaitable<std::optional<vault::SecretParts>> open_to_ask(net::Worker& worker,
                                                                  const vault::Credential& seen);
    net::awaitable<Asked> ask(const Lane& lane, const CredentialId& id, Question question);
    net::awaitable<void> learn_lifetime(const Lane& lane, const CredentialId& id);
    net::awaitable<base::Error> refused_for_good(net::Worker& worker, const CredentialId& id,
                                                 std::uint64_t version);
    net::awaitable<base::Status> demand_claims(net::Worker& worker, const CredentialId& id,
                                               std::uint64_t version, const std::string& claims);

    // Background
    void tick();
    void due(const CredentialId& id);
    void take(const CredentialId& id, GrantEvent event);
    void reject_client(const vault::Credential& credential, const StoredGrant& grant,
                       const std::string& code);
    void recover_again();
    void look_at_clock();
    void look_at_all();
    void look_at_journal();
    net::awaitable<void> pause(net::Worker& worker, std::chrono::milliseconds for_how_long);

    // Other threads
    net::awaitable<base::Status> change(net::Worker& worker,
                                        std::function<base::Status(vault::Change&)> apply);
    base::Status change_now(std::function<base::Status(vault::Change&)> apply);
    /// False when the answer is still in the journal and nowhere else.
    bool recover(const AttemptId& attempt);
    /// Takes away what the vaults that were deleted left in the journal.
    void sweep_journal();
    void count(const Transition& transition);

    vault::Records& records;
    const Journal journal;
    const ProviderCatalog& providers;
    const std::vector<Lane> lanes;
    const RefreshSettings settings;
    const GrantHooks hooks;
    RefreshCounters counters;

    mutable std::shared_mutex standings_mutex;
    std::unordered_map<CredentialId, Standing, base::IdHash> standings;

    mutable std::mutex mutex;  // guards the rest
    std::condition_variable landed;
    std::unordered_map<CredentialId, std::shared_ptr<Flight>, base::IdHash> flights;
    std::unordered_map<std::string, std::size_t> running;                         // by issuer
    std::unordered_map<std::string, std::deque<std::shared_ptr<Flight>>> queued;  // by issuer
    std::set<std::pair<base::Time, CredentialId>> plans;
    std::unordered_map<CredentialId, base::Time, base::IdHash> planned;
    std::vector<std::pair<SteadyTime, std::function<void()>>> pauses;
    std::size_t questions = 0;  // under way, about tokens that just came
    std::unordered_map<CredentialId, base::Time, base::IdHash> asked;        // when its server was asked last
    std::unordered_map<std::string, KnownEndpoint> introspection_endpoints;  // by issuer and token endpoint
    std::set<AttemptId> unrecovered;             // in the journal, and the store did not take them yet
    SteadyTime recover_at{};                     // when to try again
    std::chrono::seconds recover_wait{5};        // and how long to wait after that
    std::optional<base::Error> journal_trouble;  // while it takes no answer
    SteadyTime look_at_journal_at{};             // while there is trouble
    std::atomic<bool> stopping = false;
    /// Of the tick before, by both clocks; on the first lane's worker alone.
    std::optional<std::pair<base::Time, SteadyTime>> ticked = {};

    // Last: joined before what their work uses goes away. Nothing may stand before an answer.
    std::unique_ptr<boost::asio::thread_pool> disk;    // the journal
    std::unique_ptr<boost::asio::thread_pool> chores;  // what takes a walk through the catalog
};

}  // namespace claviger::oauth
