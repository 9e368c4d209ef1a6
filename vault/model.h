// The objects that rest in the store, as values. Secrets are not among their members: they rest in rows of
// their own.
#pragma once

#include "base/boxed.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "base/rules.h"
#include "crypto/constraints.h"
#include "crypto/hash.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::vault {

using Metadata = std::map<std::string, std::string>;
using base::Time;

/// What every object has. `created_seq` orders lists; `scope` is what it belongs to.
struct Workspace {
    base::WorkspaceId id;
    std::uint64_t created_seq = 0;
    std::string name;
    Time created{};
    const base::RawId& scope() const { return kEverywhere; }
    static constexpr base::RawId kEverywhere{};
};

enum class Role { admin, operate, auditor, agent_runner };  // "admin", "operator", "auditor", "agent-runner"
std::string_view name_of(Role role);
std::optional<Role> role_from(std::string_view name);

struct ApiKey {
    base::ApiKeyId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::string name;
    Role role = Role::admin;
    crypto::Digest hash{};  // BLAKE2b-256 of the key's text
    Time created{};
    std::optional<Time> revoked = {};
    const base::RawId& scope() const { return workspace.raw; }
};

struct Vault {
    base::VaultId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::string display_name;
    Metadata metadata;
    // Of the key that seals what the vault holds; absent: the first one.
    std::optional<std::uint64_t> key_generation = {};   // what is sealed now is sealed with this one
    std::optional<std::uint64_t> last_generation = {};  // the highest that ever was: none is used twice
    std::optional<Time> key_rotated = {};               // when the last rotation of the key was completed
    Time created{}, updated{};
    std::optional<Time> archived;
    const base::RawId& scope() const { return workspace.raw; }
    std::uint64_t generation() const { return key_generation.value_or(1); }
};

enum class AuthType { static_bearer, mcp_oauth, environment_variable };
std::string_view name_of(AuthType type);
std::optional<AuthType> auth_type_from(std::string_view name);

enum class TokenEndpointAuth {
    none,
    client_secret_basic,
    client_secret_post,
    private_key_jwt,      // the client secret is the private key, in PEM
    secret_as_user_name,  // Stripe: the secret is the user name of Basic
    // RFC 8705: the client secret is the certificate with its chain and its private key, in PEM.
    tls_client_auth,
    self_signed_tls_client_auth
};
std::string_view name_of(TokenEndpointAuth auth);
std::optional<TokenEndpointAuth> token_endpoint_auth_from(std::string_view name);

/// What the tokens of a grant are exchanged for (RFC 8693, RFC 7523).
struct Exchange {
    std::optional<base::CredentialId> credential;  // of the same vault, whose token is the subject token;
                                                   // nothing: it was given, and is a part of the secret
    std::string token_type;                        // its URN (RFC 8693 3); empty for a given assertion
    std::string audience, requested_type;          // of a token exchange; may be empty
    std::string issuer;  // of a given token that an identity provider exchanges for an assertion; else empty
    /// Of a token exchange: another credential of the same vault, whose token is the actor token. Nothing:
    /// nobody acts for the subject.
    std::optional<base::CredentialId> actor = {};
    std::string actor_type = {};  // the actor token's URN; empty without an actor
};

/// The public half of an OAuth grant's refresh block.
struct Refresh {
    std::string token_endpoint, client_id;
    std::optional<std::string> scope, resource;
    TokenEndpointAuth auth = TokenEndpointAuth::none;

    // What only the connect flow knows; nothing in blocks that were stored by hand.
    /// How the next token set is got when there is no refresh token, as oauth::word_of names it:
    /// "client_credentials", "github_installation", "google_service_account", "token_exchange", "id_jag",
    /// "jwt_bearer"; "none": not at all, and the
    /// rest is kept to revoke and to connect anew.
    std::optional<std::string> grant = {};
    std::optional<Metadata> variables = {};       // of the provider's profile
    std::optional<std::string> client_from = {};  // "registered", "metadata_document", "dynamic"
    std::optional<std::string> subject = {};      // of google_service_account: for whom it acts
    std::optional<std::string> key_id = {};       // of the private key
    std::optional<Exchange> exchange = {};        // of token_exchange, id_jag and jwt_bearer
    /// "client_certificate": calls show the certificate that the token is bound to (RFC 8705 3).
    std::optional<std::string> bound_to = {};
};

/// Where the injected secret stands in the outbound request.
struct Injection {
    std::string header = "Authorization";
    std::string scheme = "Bearer";  // empty: the bare value
};

struct Credential {
    base::CredentialId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::VaultId vault;
    std::optional<std::string> display_name;
    Metadata metadata;
    AuthType type = AuthType::static_bearer;
    // static_bearer and mcp_oauth
    std::string mcp_server_url;  // as given
    std::string normal_url;      // policy::normalise_server_url of it: what is matched
    Injection injection;
    std::vector<std::string> allowed_tools;  // empty: every tool
    std::optional<Time> expires;
    base::Boxed<Refresh> refresh;
    // environment_variable
    std::string secret_name;
    bool limited_hosts = false;
    std::vector<std::string> allowed_hosts;
    bool inject_header = true, inject_body = true;

    // The current secret: what its rows' AAD is computed from. version 0: purged, nothing stored.
    std::uint64_t version = 0;
    std::uint64_t value_commit_seq = 0;
    std::uint64_t value_generation = 0;  // of the vault's key that sealed it first; see data_key_place()
    Time value_created{};
    base::RawId value_writer{};

    Time created{}, updated{};
    std::optional<Time> archived;
    const base::RawId& scope() const { return vault.raw; }
};

/// How an OAuth credential's grant stands. What it says is oauth's own (oauth/stored_grant.h); the vault
/// keeps it sealed under the vault's key, apart from the credential, so that nothing else ever changes it.
struct Grant {
    base::CredentialId id;  // the credential whose grant it is
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::VaultId vault;
    std::string facts;
    Time created{}, updated{};
    const base::RawId& scope() const { return vault.raw; }
};

/// What a value is that a credential keeps beside the one in use.
enum class ValueState {  // on disk: append only
    staged,              // the next one: stored, and not yet used
    previous             // the one before, for a roll-back
};

struct KeptValue {
    std::uint64_t version = 0;
    ValueState state = ValueState::staged;
    // What the AAD of its rows is computed from, as in Credential.
    std::uint64_t commit_seq = 0, generation = 0;
    Time created{};
    base::RawId writer{};
    std::optional<Time> verified;    // when its server took it, before it came into use
    std::optional<Time> rotate_by;   // its deadline
    std::optional<Time> left;        // of the previous one: since when it is not in use any more
    std::optional<Time> kept_until;  // likewise: when it goes by itself
};

/// A version of which nothing is stored any more.
struct PastValue {
    std::uint64_t version = 0;
    Time created{}, ended{};
    base::RawId writer{};
};

/// How a credential's value is rotated. Exists from the first rotation or deadline on.
struct Rotation {
    base::CredentialId id;  // the credential's own
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::VaultId vault;
    std::optional<Time> rotate_by, verified;  // of the value in use, as in KeptValue
    std::uint64_t reminders = 0;              // that were sent for this deadline
    std::vector<KeptValue> kept;              // at most one of each state
    std::vector<PastValue> past;              // oldest first, the newest kMostPast
    std::uint64_t last_version = 0;           // the highest that ever was
    Time created{}, updated{};
    const base::RawId& scope() const { return vault.raw; }

    static constexpr std::size_t kMostPast = 20;
    const KeptValue* find(ValueState state) const;
};

/// What the maker of a connect link asked for.
struct ConnectWish {
    std::string grant;  // as oauth::word_of names it
    std::string server_url, normal_url;
    std::string provider;                          // a profile's name; empty: the one that knows the server
    Metadata variables;                            // of the profile
    std::optional<base::CredentialId> credential;  // to be connected anew
    std::optional<std::string> display_name;
    Metadata metadata;
    std::vector<std::string> scopes;  // empty: what the server asks for
    bool other_account = false;       // on a reconnect another account will do
    /// The authorization server that it has to be; there is one whenever the client has something to prove
    /// itself with that the MCP server must not lead elsewhere.
    std::optional<std::string> issuer = {};
    // The client that came with the wish; empty: none did.
    std::string client_id, client_auth, key_id, subject;
    std::optional<Exchange> exchange = {};
};

/// With whom, as whom and for what a grant is being negotiated.
struct ConnectTerms {
    std::string issuer, token_endpoint, revocation_endpoint, jwks_uri;
    bool names_issuer = false;                    // RFC 9207: the answer must say who answers
    std::optional<std::string> answered_by = {};  // of an issuer for many tenants: the one that did
    std::string client_id, client_from;
    TokenEndpointAuth client_auth = TokenEndpointAuth::none;
    std::optional<base::OauthClientId> client;  // the row it came from
    std::string redirect_uri, resource;
    std::vector<std::string> scopes;
    std::optional<std::string> bound_to = {};  // as in Refresh
};

/// A device code that somebody has to confirm elsewhere (RFC 8628).
struct DeviceWait {
    std::string user_code, verification_uri, verification_uri_complete;
    std::uint64_t interval_s = 5;
    Time next_poll{};
    std::uint64_t failures = 0;  // polls in a row that reached nobody
};

/// Why something did not work, for people.
struct Problem {
    std::string code, message, hint;
};

enum class ConnectState {
    waiting,     // for the person
    started,     // the person is at the provider
    exchanging,  // the code is on its way to the token endpoint, once and never again
    connected,
    failed
};

/// A link by which a person connects an account, and how far they got. Sealed under the vault's key; what is
/// secret in it is sealed once more, so that it is nowhere in memory either.
struct ConnectFlow {
    base::ConnectLinkId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::VaultId vault;
    crypto::Digest link{};  // SHA-256 of the link's secret half
    ConnectState state = ConnectState::waiting;
    ConnectWish wish;
    std::optional<ConnectTerms> terms;
    crypto::Digest state_digest{}, browser{};  // of what the provider and the browser bring back
    std::uint64_t starts = 0;                  // those that came to nothing as well
    std::optional<Time> starting_until;        // while the newest start is under way: when it is given up
    std::optional<Time> step_until;            // how long the step at the provider may take
    std::optional<DeviceWait> device;
    std::optional<Problem> problem;
    std::optional<base::CredentialId> credential;  // that is connected now
    std::string secrets;                           // sealed text, see oauth/connect_flow.h
    Time created{}, updated{}, expires{};
    const base::RawId& scope() const { return vault.raw; }
};

/// A client that Claviger is at an authorization server: told to it by an operator, or registered by itself.
struct OauthClient {
    base::OauthClientId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::string issuer;  // whose client it is; no other server ever gets to see it
    std::string client_id;
    TokenEndpointAuth auth = TokenEndpointAuth::none;
    bool dynamic = false;          // RFC 7591
    std::string redirect_uri;      // of dynamic ones: what it was registered with
    std::string registration_uri;  // of dynamic ones: RFC 7592; may be empty
    std::string secrets;           // sealed text; empty when there are none
    std::optional<Time> secret_expires;
    Time created{}, updated{};
    const base::RawId& scope() const { return workspace.raw; }
};

/// Where a workspace's events are sent, signed.
struct WebhookEndpoint {
    base::WebhookEndpointId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::string name, description, url;
    std::vector<std::string> enabled_events;
    bool enabled = true;
    std::string disabled_reason;  // why Claviger disabled it; empty when somebody else did
    std::string secret;           // sealed text, see notify/signing.h
    std::string previous_secret;  // likewise; signs too until previous_until
    std::optional<Time> previous_until;
    std::optional<Time> last_delivered, last_failed;
    std::string last_failure;  // since the last delivery; empty when that was accepted
    Time created{}, updated{};
    const base::RawId& scope() const { return workspace.raw; }
};

enum class OutboxKind { webhook, revocation };  // on disk: append only

/// Something that is to be done elsewhere because of a commit, written by that commit.
struct OutboxItem {
    base::OutboxItemId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    OutboxKind kind = OutboxKind::webhook;
    base::RawId about{};  // the webhook endpoint; the credential whose tokens are revoked
    std::string label;    // the event's id
    std::string body;     // what is sent, or what it takes to send it; nothing secret
    std::string secrets;  // sealed text; empty when there are none
    std::uint64_t attempts = 0;
    Time next_attempt{};
    std::string last_failure;
    Time created{}, updated{};
    const base::RawId& scope() const { return about; }
};

/// The part of a pool of upstream connections that is this credential's: no two versions share a connection.
std::string connection_partition(const Credential& credential);

enum class OperationKind { root_key_rotation, vault_key_rotation };  // on disk: append only

enum class OperationState {  // on disk: append only
    running,
    paused,
    waiting,  // of root key rotations: the new key is in use, the one before is kept for a roll-back
    succeeded,
    rolled_back,
    failed,
};

/// How far an operation has got.
enum class OperationStep {  // on disk: append only
    pending,                // root: every slot holds the new key, nothing is sealed under it
    retiring,               // root: it is in use
    token_keys,             // root: what is gone from the store is being destroyed in PKCS#11 tokens
    data_keys,              // vault: secrets' keys are being sealed under the other key
    objects,                // vault: the objects of the vault are
    last_look,              // vault: nothing may be left under the key that goes
    done,
};

/// Work on keys that takes more than one commit. Each of its commits changes this object, too, so that it
/// goes on after a crash where it was.
struct Operation {
    base::OperationId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;  // whose administrator began it
    OperationKind kind = OperationKind::root_key_rotation;
    OperationState state = OperationState::running;
    OperationStep step = OperationStep::pending;
    bool rolling_back = false;          // `to` is what was there before
    base::RawId about{};                // the vault
    std::uint64_t from = 0, to = 0;     // epochs of the root key, generations of the vault's key
    std::uint64_t done = 0, total = 0;  // keys and objects that are sealed anew
    std::string cursor;  // vault: the credential, in hexadecimal, behind which the step goes on
    std::optional<std::uint64_t> retire_after_s = {};  // root: how long the key before is kept
    std::optional<Time> retire_at = {};                // root: when it goes by itself
    std::optional<Time> finished = {};
    std::optional<Problem> problem = {};  // why it does not get on, or ended
    Time created{}, updated{};
    const base::RawId& scope() const { return workspace.raw; }
    bool under_way() const { return state <= OperationState::waiting; }
};
std::string_view name_of(OperationKind kind);    // "root_key_rotation"
std::string_view name_of(OperationState state);  // "running"
std::string_view name_of(OperationStep step);    // "pending"

/// That something was erased for good: kept, so that it can be asked later how far its traces are gone. The
/// commit that makes it erases the object.
struct Shredding {
    base::ShreddingId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::RawId about{};  // the credential; of a whole vault the vault
    base::VaultId vault;
    std::uint64_t made = 0;           // the commit that made what was erased
    std::uint64_t generation = 0;     // the newest of the vault's key then
    std::uint64_t epoch = 0;          // the newest of the root key then
    std::optional<Time> purged = {};  // when no file of the store held its rows any more
    Time created{}, updated{};
    const base::RawId& scope() const { return workspace.raw; }
    bool of_whole_vault() const { return about == vault.raw; }
};

/// Where the credential's secret may go, as bound into its seal.
crypto::Constraints constraints_of(const Credential& credential);

enum class EnvironmentType { cloud, self_hosted };

struct Environment {
    base::EnvironmentId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::string name;
    std::optional<std::string> description;
    Metadata metadata;
    EnvironmentType type = EnvironmentType::cloud;
    base::NetworkRules network;
    std::vector<base::VaultId> vault_bindings;
    std::vector<base::ToolRule> tool_rules;
    Time created{}, updated{};
    std::optional<Time> archived;
    const base::RawId& scope() const { return workspace.raw; }
};

/// One version of an agent. The catalog holds the newest; sessions hold the one they were created with.
struct Agent {
    base::AgentId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    std::uint64_t version = 1;
    std::string name;
    std::string model;  // JSON text as given: stored and shown, never used
    std::optional<std::string> description, system;
    Metadata metadata;
    std::vector<base::McpServer> mcp_servers;
    std::vector<base::Toolset> toolsets;
    Time created{}, updated{};
    std::optional<Time> archived;
    const base::RawId& scope() const { return workspace.raw; }
};

struct Session {
    base::SessionId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    Agent agent;  // the snapshot it was created with, overrides applied
    base::EnvironmentId environment;
    std::vector<base::VaultId> vaults;  // in order of priority
    std::optional<std::string> title;
    Metadata metadata;
    std::optional<base::SessionId> parent;
    std::optional<std::string> source;
    Time created{}, updated{};
    std::optional<Time> archived;  // terminated
    const base::RawId& scope() const { return workspace.raw; }
};

struct SessionToken {
    base::SessionTokenId id;
    std::uint64_t created_seq = 0;
    base::WorkspaceId workspace;
    base::SessionId session;
    crypto::Digest hash{};  // BLAKE2b-256 of the token's text
    Time created{};
    std::optional<Time> expires, revoked;
    const base::RawId& scope() const { return session.raw; }
};

/// The plaintext of a metadata row, schema 3: docs/storage_format.md. Decoding refuses what encoding does not
/// write (corrupt "row.malformed").
template <class T>
base::Bytes encode_object(const T& object);
template <class T>
base::Result<T> decode_object(base::ByteView bytes);

}  // namespace claviger::vault
