#include "vault/model.h"

#include "vault/byte_reader.h"

#include <algorithm>
#include <tuple>

namespace claviger::vault {
namespace {

using base::Bytes;
using base::ErrorKind;

template <std::size_t N, class Enum>
std::optional<Enum> from_name(const std::pair<Enum, std::string_view> (&names)[N], std::string_view name) {
    for (const auto& [value, text] : names)
        if (text == name) return value;
    return std::nullopt;
}
template <std::size_t N, class Enum>
std::string_view to_name(const std::pair<Enum, std::string_view> (&names)[N], Enum wanted) {
    for (const auto& [value, text] : names)
        if (value == wanted) return text;
    return "";
}

constexpr std::pair<Role, std::string_view> kRoles[] = {{Role::admin, "admin"},
                                                        {Role::operate, "operator"},
                                                        {Role::auditor, "auditor"},
                                                        {Role::agent_runner, "agent-runner"}};
constexpr std::pair<AuthType, std::string_view> kAuthTypes[] = {
    {AuthType::static_bearer, "static_bearer"},
    {AuthType::mcp_oauth, "mcp_oauth"},
    {AuthType::environment_variable, "environment_variable"}};
constexpr std::pair<TokenEndpointAuth, std::string_view> kEndpointAuths[] = {
    {TokenEndpointAuth::none, "none"},
    {TokenEndpointAuth::client_secret_basic, "client_secret_basic"},
    {TokenEndpointAuth::client_secret_post, "client_secret_post"},
    {TokenEndpointAuth::private_key_jwt, "private_key_jwt"},
    {TokenEndpointAuth::secret_as_user_name, "secret_as_user_name"},
    {TokenEndpointAuth::tls_client_auth, "tls_client_auth"},
    {TokenEndpointAuth::self_signed_tls_client_auth, "self_signed_tls_client_auth"}};

constexpr std::pair<OperationKind, std::string_view> kOperationKinds[] = {
    {OperationKind::root_key_rotation, "root_key_rotation"},
    {OperationKind::vault_key_rotation, "vault_key_rotation"}};
constexpr std::pair<OperationState, std::string_view> kOperationStates[] = {
    {OperationState::running, "running"},         {OperationState::paused, "paused"},
    {OperationState::waiting, "waiting"},         {OperationState::succeeded, "succeeded"},
    {OperationState::rolled_back, "rolled_back"}, {OperationState::failed, "failed"}};
constexpr std::pair<OperationStep, std::string_view> kOperationSteps[] = {
    {OperationStep::pending, "pending"},
    {OperationStep::retiring, "retiring"},
    {OperationStep::token_keys, "token_keys"},
    {OperationStep::data_keys, "data_keys"},
    {OperationStep::objects, "objects"},
    {OperationStep::last_look, "last_look"},
    {OperationStep::done, "done"}};

// One field list per object serves both directions, so that writing and reading cannot drift apart. Its order
// is that of the bytes: docs/storage_format.md.

template <class F>
void fields(base::ToolConfig& object, F&& field);
template <class F>
void fields(base::Toolset& object, F&& field);
template <class F>
void fields(base::McpServer& object, F&& field);
template <class F>
void fields(base::NetworkRules& object, F&& field);
template <class F>
void fields(base::ArgumentCondition& object, F&& field);
template <class F>
void fields(base::ToolRule& object, F&& field);
template <class F>
void fields(Exchange& object, F&& field);
template <class F>
void fields(Refresh& object, F&& field);
template <class F>
void fields(Injection& object, F&& field);
template <class F>
void fields(Workspace& object, F&& field);
template <class F>
void fields(ApiKey& object, F&& field);
template <class F>
void fields(Vault& object, F&& field);
template <class F>
void fields(Credential& object, F&& field);
template <class F>
void fields(Grant& object, F&& field);
template <class F>
void fields(KeptValue& object, F&& field);
template <class F>
void fields(PastValue& object, F&& field);
template <class F>
void fields(Rotation& object, F&& field);
template <class F>
void fields(ConnectWish& object, F&& field);
template <class F>
void fields(ConnectTerms& object, F&& field);
template <class F>
void fields(DeviceWait& object, F&& field);
template <class F>
void fields(Problem& object, F&& field);
template <class F>
void fields(ConnectFlow& object, F&& field);
template <class F>
void fields(OauthClient& object, F&& field);
template <class F>
void fields(WebhookEndpoint& object, F&& field);
template <class F>
void fields(OutboxItem& object, F&& field);
template <class F>
void fields(Environment& object, F&& field);
template <class F>
void fields(Agent& object, F&& field);
template <class F>
void fields(Session& object, F&& field);
template <class F>
void fields(SessionToken& object, F&& field);
template <class F>
void fields(Operation& object, F&& field);
template <class F>
void fields(Shredding& object, F&& field);

/// Appends values to an object's bytes.
class Writer {
public:
    explicit Writer(Bytes& out) : out_(out) {}

    void operator()(std::uint64_t value) { base::append_big_endian(out_, value); }
    void operator()(bool value) { out_.push_back(value ? 1 : 0); }
    void operator()(Time value) { (*this)(static_cast<std::uint64_t>(value.time_since_epoch().count())); }
    void operator()(const std::string& value) {
        count(value.size());
        out_.append(value);
    }
    template <std::size_t N>
    void operator()(const std::array<unsigned char, N>& value) {
        append_array(out_, value);
    }
    template <base::IdPrefix Prefix>
    void operator()(const base::Id<Prefix>& value) {
        append_array(out_, value.raw);
    }
    template <class Enum>
        requires std::is_enum_v<Enum>
    void operator()(Enum value) {
        out_.push_back(static_cast<char>(value));
    }
    void operator()(const Metadata& value) {
        count(value.size());
        for (const auto& [key, text] : value) (*this)(key), (*this)(text);
    }
    template <class T>
    void operator()(const std::optional<T>& value) {
        (*this)(value.has_value());
        if (value) (*this)(*value);
    }
    template <class T>
    void operator()(const base::Boxed<T>& value) {
        (*this)(value.has_value());
        if (value) (*this)(*value);
    }
    template <class T>
    void operator()(const std::vector<T>& value) {
        count(value.size());
        for (const auto& item : value) (*this)(item);
    }
    template <class T>
        requires requires(T& object) { fields(object, 0); }
    void operator()(const T& object) {
        fields(const_cast<T&>(object), *this);  // the writer only reads
    }

private:
    void count(std::size_t value) { append_varint(out_, static_cast<std::uint32_t>(value)); }
    Bytes& out_;
};

/// Takes them off again; what no Writer writes makes it fail, at the latest in complete().
class Reader {
public:
    explicit Reader(base::ByteView bytes) : in_(bytes) {}
    bool complete() const { return in_.complete(); }

    void operator()(std::uint64_t& value) { value = in_.number<std::uint64_t>(); }
    void operator()(bool& value) { value = number_up_to(1) == 1; }
    void operator()(Time& value) {
        value = Time(std::chrono::milliseconds(static_cast<std::int64_t>(in_.number<std::uint64_t>())));
    }
    void operator()(std::string& value) { value = in_.bytes(in_.varint()); }
    template <std::size_t N>
    void operator()(std::array<unsigned char, N>& value) {
        value = in_.array<N>();
    }
    template <base::IdPrefix Prefix>
    void operator()(base::Id<Prefix>& value) {
        value.raw = in_.array<std::tuple_size_v<base::RawId>>();
    }
    template <class Enum>
        requires std::is_enum_v<Enum>
    void operator()(Enum& value) {
        value = static_cast<Enum>(number_up_to(kMostOfAnyEnum));
    }
    void operator()(Metadata& value) {
        for (auto left = count(); left > 0 && in_.good(); --left) {
            std::string key, text;
            (*this)(key), (*this)(text);
            if (!value.empty() && key <= value.rbegin()->first) in_.refuse();
            value.emplace_hint(value.end(), std::move(key), std::move(text));
        }
    }
    template <class T>
    void operator()(std::optional<T>& value) {
        if (number_up_to(1) == 1) (*this)(value.emplace());
    }
    template <class T>
    void operator()(base::Boxed<T>& value) {
        if (number_up_to(1) == 1) (*this)(value.emplace());
    }
    template <class T>
    void operator()(std::vector<T>& value) {
        const auto items = count();
        value.reserve(items);
        for (auto left = items; left > 0 && in_.good(); --left) (*this)(value.emplace_back());
    }
    template <class T>
        requires requires(T& object) { fields(object, 0); }
    void operator()(T& object) {
        fields(object, *this);
    }

private:
    static constexpr std::uint8_t kMostOfAnyEnum = 16;

    std::uint8_t number_up_to(std::uint8_t most) {
        const auto value = in_.number<std::uint8_t>();
        if (value > most) in_.refuse();
        return in_.good() ? value : std::uint8_t{0};
    }
    /// Of items, each of which takes a byte or more.
    std::uint32_t count() {
        const auto value = in_.varint();
        if (value > in_.left()) in_.refuse();
        return in_.good() ? value : 0;
    }
    ByteReader in_;
};

template <class F>
void fields(base::ToolConfig& o, F&& f) {
    f(o.name);
    f(o.enabled);
    f(o.policy);
}
template <class F>
void fields(base::Toolset& o, F&& f) {
    f(o.server);
    f(o.enabled_by_default);
    f(o.default_policy);
    f(o.configs);
}
template <class F>
void fields(base::McpServer& o, F&& f) {
    f(o.name);
    f(o.url);
    f(o.normal_url);
}
template <class F>
void fields(base::NetworkRules& o, F&& f) {
    f(o.limited);
    f(o.allow_mcp_servers);
    f(o.allow_package_managers);
    f(o.allowed_hosts);
}
template <class F>
void fields(base::ArgumentCondition& o, F&& f) {
    f(o.pointer);
    f(o.test);
    f(o.value);
}
template <class F>
void fields(base::ToolRule& o, F&& f) {
    f(o.name);
    f(o.effect);
    f(o.server);
    f(o.tool);
    f(o.agents);
    f(o.when);
}
template <class F>
void fields(Refresh& o, F&& f) {
    f(o.token_endpoint);
    f(o.client_id);
    f(o.scope);
    f(o.resource);
    f(o.auth);
    f(o.grant);
    f(o.variables);
    f(o.client_from);
    f(o.subject);
    f(o.key_id);
    f(o.exchange);
    f(o.bound_to);
}
template <class F>
void fields(Exchange& o, F&& f) {
    f(o.credential);
    f(o.token_type);
    f(o.audience);
    f(o.requested_type);
    f(o.issuer);
    f(o.actor);
    f(o.actor_type);
}
template <class F>
void fields(Injection& o, F&& f) {
    f(o.header);
    f(o.scheme);
}
template <class F>
void fields(Workspace& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.name);
    f(o.created);
}
template <class F>
void fields(ApiKey& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.name);
    f(o.role);
    f(o.hash);
    f(o.created);
    f(o.revoked);
}
template <class F>
void fields(Vault& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.display_name);
    f(o.metadata);
    f(o.key_generation);
    f(o.last_generation);
    f(o.key_rotated);
    f(o.created);
    f(o.updated);
    f(o.archived);
}
template <class F>
void fields(Operation& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.kind);
    f(o.state);
    f(o.step);
    f(o.rolling_back);
    f(o.about);
    f(o.from);
    f(o.to);
    f(o.done);
    f(o.total);
    f(o.cursor);
    f(o.retire_after_s);
    f(o.retire_at);
    f(o.finished);
    f(o.problem);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(Shredding& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.about);
    f(o.vault);
    f(o.made);
    f(o.generation);
    f(o.epoch);
    f(o.purged);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(Credential& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.vault);
    f(o.display_name);
    f(o.metadata);
    f(o.type);
    f(o.mcp_server_url);
    f(o.normal_url);
    f(o.injection);
    f(o.allowed_tools);
    f(o.expires);
    f(o.refresh);
    f(o.secret_name);
    f(o.limited_hosts);
    f(o.allowed_hosts);
    f(o.inject_header);
    f(o.inject_body);
    f(o.version);
    f(o.value_commit_seq);
    f(o.value_generation);
    f(o.value_created);
    f(o.value_writer);
    f(o.created);
    f(o.updated);
    f(o.archived);
}
template <class F>
void fields(Grant& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.vault);
    f(o.facts);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(KeptValue& o, F&& f) {
    f(o.version);
    f(o.state);
    f(o.commit_seq);
    f(o.generation);
    f(o.created);
    f(o.writer);
    f(o.verified);
    f(o.rotate_by);
    f(o.left);
    f(o.kept_until);
}
template <class F>
void fields(PastValue& o, F&& f) {
    f(o.version);
    f(o.created);
    f(o.ended);
    f(o.writer);
}
template <class F>
void fields(Rotation& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.vault);
    f(o.rotate_by);
    f(o.verified);
    f(o.reminders);
    f(o.kept);
    f(o.past);
    f(o.last_version);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(ConnectWish& o, F&& f) {
    f(o.grant);
    f(o.server_url);
    f(o.normal_url);
    f(o.provider);
    f(o.variables);
    f(o.credential);
    f(o.display_name);
    f(o.metadata);
    f(o.scopes);
    f(o.other_account);
    f(o.issuer);
    f(o.client_id);
    f(o.client_auth);
    f(o.key_id);
    f(o.subject);
    f(o.exchange);
}
template <class F>
void fields(ConnectTerms& o, F&& f) {
    f(o.issuer);
    f(o.token_endpoint);
    f(o.revocation_endpoint);
    f(o.jwks_uri);
    f(o.names_issuer);
    f(o.answered_by);
    f(o.client_id);
    f(o.client_from);
    f(o.client_auth);
    f(o.client);
    f(o.redirect_uri);
    f(o.resource);
    f(o.scopes);
    f(o.bound_to);
}
template <class F>
void fields(DeviceWait& o, F&& f) {
    f(o.user_code);
    f(o.verification_uri);
    f(o.verification_uri_complete);
    f(o.interval_s);
    f(o.next_poll);
    f(o.failures);
}
template <class F>
void fields(Problem& o, F&& f) {
    f(o.code);
    f(o.message);
    f(o.hint);
}
template <class F>
void fields(ConnectFlow& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.vault);
    f(o.link);
    f(o.state);
    f(o.wish);
    f(o.terms);
    f(o.state_digest);
    f(o.browser);
    f(o.starts);
    f(o.starting_until);
    f(o.step_until);
    f(o.device);
    f(o.problem);
    f(o.credential);
    f(o.secrets);
    f(o.created);
    f(o.updated);
    f(o.expires);
}
template <class F>
void fields(OauthClient& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.issuer);
    f(o.client_id);
    f(o.auth);
    f(o.dynamic);
    f(o.redirect_uri);
    f(o.registration_uri);
    f(o.secrets);
    f(o.secret_expires);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(WebhookEndpoint& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.name);
    f(o.description);
    f(o.url);
    f(o.enabled_events);
    f(o.enabled);
    f(o.disabled_reason);
    f(o.secret);
    f(o.previous_secret);
    f(o.previous_until);
    f(o.last_delivered);
    f(o.last_failed);
    f(o.last_failure);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(OutboxItem& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.kind);
    f(o.about);
    f(o.label);
    f(o.body);
    f(o.secrets);
    f(o.attempts);
    f(o.next_attempt);
    f(o.last_failure);
    f(o.created);
    f(o.updated);
}
template <class F>
void fields(Environment& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.name);
    f(o.description);
    f(o.metadata);
    f(o.type);
    f(o.network);
    f(o.vault_bindings);
    f(o.tool_rules);
    f(o.created);
    f(o.updated);
    f(o.archived);
}
template <class F>
void fields(Agent& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.version);
    f(o.name);
    f(o.model);
    f(o.description);
    f(o.system);
    f(o.metadata);
    f(o.mcp_servers);
    f(o.toolsets);
    f(o.created);
    f(o.updated);
    f(o.archived);
}
template <class F>
void fields(Session& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.agent);
    f(o.environment);
    f(o.vaults);
    f(o.title);
    f(o.metadata);
    f(o.parent);
    f(o.source);
    f(o.created);
    f(o.updated);
    f(o.archived);
}
template <class F>
void fields(SessionToken& o, F&& f) {
    f(o.id);
    f(o.created_seq);
    f(o.workspace);
    f(o.session);
    f(o.hash);
    f(o.created);
    f(o.expires);
    f(o.revoked);
}

}  // namespace

std::string_view name_of(OperationKind kind) { return to_name(kOperationKinds, kind); }
std::string_view name_of(OperationState state) { return to_name(kOperationStates, state); }
std::string_view name_of(OperationStep step) { return to_name(kOperationSteps, step); }
std::string_view name_of(Role role) { return to_name(kRoles, role); }
std::optional<Role> role_from(std::string_view name) { return from_name(kRoles, name); }
std::string_view name_of(AuthType type) { return to_name(kAuthTypes, type); }
std::optional<AuthType> auth_type_from(std::string_view name) { return from_name(kAuthTypes, name); }
std::string_view name_of(TokenEndpointAuth auth) { return to_name(kEndpointAuths, auth); }
std::optional<TokenEndpointAuth> token_endpoint_auth_from(std::string_view name) {
    return from_name(kEndpointAuths, name);
}

const KeptValue* Rotation::find(ValueState state) const {
    const auto found = std::ranges::find(kept, state, &KeptValue::state);
    return found == kept.end() ? nullptr : &*found;
}

std::string connection_partition(const Credential& credential) {
    return credential.id.text() + "." + std::to_string(credential.version);
}

crypto::Constraints constraints_of(const Credential& credential) {
    crypto::Constraints constraints;
    if (credential.type == AuthType::environment_variable) {
        constraints.hosts =
            credential.limited_hosts ? credential.allowed_hosts : std::vector<std::string>{"*"};
        constraints.injection = std::string("variable:") + credential.secret_name +
                                (credential.inject_header ? ":header" : "") +
                                (credential.inject_body ? ":body" : "");
        return constraints;
    }
    constraints.path_prefixes = {credential.normal_url};  // scheme, host, port and path in one exact value
    constraints.injection = "header:" + credential.injection.header + ":" + credential.injection.scheme;
    constraints.tools = credential.allowed_tools;
    if (credential.refresh) {
        constraints.audience = credential.refresh->token_endpoint;
        if (credential.refresh->scope) constraints.scopes = {*credential.refresh->scope};
    }
    return constraints;
}

template <class T>
base::Bytes encode_object(const T& object) {
    Bytes bytes;
    Writer write(bytes);
    write(object);
    return bytes;
}

template <class T>
base::Result<T> decode_object(base::ByteView bytes) {
    base::Result<T> object;
    Reader read(bytes);
    read(*object);
    if (!read.complete())
        return base::failure(ErrorKind::corrupt, "row.malformed", "A stored object cannot be read.");
    return object;
}

template base::Bytes encode_object(const Workspace&);
template base::Result<Workspace> decode_object(base::ByteView);
template base::Bytes encode_object(const ApiKey&);
template base::Result<ApiKey> decode_object(base::ByteView);
template base::Bytes encode_object(const Vault&);
template base::Result<Vault> decode_object(base::ByteView);
template base::Bytes encode_object(const Credential&);
template base::Result<Credential> decode_object(base::ByteView);
template base::Bytes encode_object(const Grant&);
template base::Result<Grant> decode_object(base::ByteView);
template base::Bytes encode_object(const Rotation&);
template base::Result<Rotation> decode_object(base::ByteView);
template base::Bytes encode_object(const ConnectFlow&);
template base::Result<ConnectFlow> decode_object(base::ByteView);
template base::Bytes encode_object(const OauthClient&);
template base::Result<OauthClient> decode_object(base::ByteView);
template base::Bytes encode_object(const WebhookEndpoint&);
template base::Result<WebhookEndpoint> decode_object(base::ByteView);
template base::Bytes encode_object(const OutboxItem&);
template base::Result<OutboxItem> decode_object(base::ByteView);
template base::Bytes encode_object(const Environment&);
template base::Result<Environment> decode_object(base::ByteView);
template base::Bytes encode_object(const Agent&);
template base::Result<Agent> decode_object(base::ByteView);
template base::Bytes encode_object(const Session&);
template base::Result<Session> decode_object(base::ByteView);
template base::Bytes encode_object(const Operation&);
template base::Result<Operation> decode_object(base::ByteView);
template base::Bytes encode_object(const Shredding&);
template base::Result<Shredding> decode_object(base::ByteView);
template base::Bytes encode_object(const SessionToken&);
template base::Result<SessionToken> decode_object(base::ByteView);

}  // namespace claviger::vault
