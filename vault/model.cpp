#include "vault/model.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::vault {
namespace {

using base::ErrorKind;
using nlohmann::json;

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

// One field list per object serves both directions, so that writing and reading cannot drift apart.
// A Writer fills a JSON object; a Reader takes the members out and counts them, so that unknown ones are
// noticed.

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

json to_json(std::uint64_t value) { return value; }
json to_json(bool value) { return value; }
json to_json(const std::string& value) { return value; }
json to_json(Time value) { return static_cast<std::int64_t>(value.time_since_epoch().count()); }
json to_json(const base::RawId& value) {
    return base::to_hex({reinterpret_cast<const char*>(value.data()), value.size()});
}
json to_json(const crypto::Digest& value) { return base::to_hex(crypto::view(value)); }
template <base::IdPrefix Prefix>
json to_json(const base::Id<Prefix>& value) {
    return to_json(value.raw);
}
template <class Enum>
    requires std::is_enum_v<Enum>
json to_json(Enum value) {
    return static_cast<std::int64_t>(value);
}
json to_json(const Metadata& value) { return value; }
template <class T>
json to_json(const std::optional<T>& value);
template <class T>
json to_json(const std::vector<T>& value);
template <class T>
    requires requires(T& object) { fields(object, 0); }
json to_json(const T& object);

class Malformed {};  // thrown and caught in this file only: a reader's way out of nested fields

void from_json(const json& in, std::int64_t& out) {
    if (!in.is_number_integer()) throw Malformed{};
    out = in.get<std::int64_t>();
}
void from_json(const json& in, std::uint64_t& out) {
    if (!in.is_number_unsigned()) throw Malformed{};
    out = in.get<std::uint64_t>();
}
void from_json(const json& in, bool& out) {
    if (!in.is_boolean()) throw Malformed{};
    out = in.get<bool>();
}
void from_json(const json& in, std::string& out) {
    if (!in.is_string()) throw Malformed{};
    out = in.get<std::string>();
}
void from_json(const json& in, Time& out) {
    std::int64_t millis = 0;
    from_json(in, millis);
    out = Time(std::chrono::milliseconds(millis));
}
template <std::size_t N>
void from_json(const json& in, std::array<unsigned char, N>& out) {
    if (!in.is_string()) throw Malformed{};
    const auto bytes = base::from_hex(in.get_ref<const std::string&>());
    if (!bytes || bytes->size() != N) throw Malformed{};
    std::memcpy(out.data(), bytes->data(), N);
}
template <base::IdPrefix Prefix>
void from_json(const json& in, base::Id<Prefix>& out) {
    from_json(in, out.raw);
}
template <class Enum>
    requires std::is_enum_v<Enum>
void from_json(const json& in, Enum& out) {
    std::int64_t number = 0;
    from_json(in, number);
    if (number < 0 || number > 16) throw Malformed{};
    out = static_cast<Enum>(number);
}
void from_json(const json& in, Metadata& out) {
    if (!in.is_object()) throw Malformed{};
    for (const auto& [key, value] : in.items()) from_json(value, out[key]);
}
template <class T>
void from_json(const json& in, std::optional<T>& out);
template <class T>
void from_json(const json& in, std::vector<T>& out);
template <class T>
    requires requires(T& object) { fields(object, 0); }
void from_json(const json& in, T& object);

struct Writer {
    json out = json::object();
    template <class T>
    void operator()(const char* name, const T& value) {
        json member = to_json(value);
        if (!member.is_null()) out[name] = std::move(member);
    }
};
struct Reader {
    const json& in;
    std::size_t taken = 0;
    template <class T>
    void operator()(const char* name, T& value) {
        const auto found = in.find(name);
        if (found == in.end()) {
            if constexpr (requires { value.has_value(); }) return;
            throw Malformed{};
        }
        ++taken;
        from_json(*found, value);
    }
};

template <class F>
void fields(base::ToolConfig& o, F&& f) {
    f("name", o.name);
    f("enabled", o.enabled);
    f("policy", o.policy);
}
template <class F>
void fields(base::Toolset& o, F&& f) {
    f("server", o.server);
    f("enabled_by_default", o.enabled_by_default);
    f("default_policy", o.default_policy);
    f("configs", o.configs);
}
template <class F>
void fields(base::McpServer& o, F&& f) {
    f("name", o.name);
    f("url", o.url);
    f("normal_url", o.normal_url);
}
template <class F>
void fields(base::NetworkRules& o, F&& f) {
    f("limited", o.limited);
    f("allow_mcp_servers", o.allow_mcp_servers);
    f("allow_package_managers", o.allow_package_managers);
    f("allowed_hosts", o.allowed_hosts);
}
template <class F>
void fields(base::ArgumentCondition& o, F&& f) {
    f("pointer", o.pointer);
    f("test", o.test);
    f("value", o.value);
}
template <class F>
void fields(base::ToolRule& o, F&& f) {
    f("name", o.name);
    f("effect", o.effect);
    f("server", o.server);
    f("tool", o.tool);
    f("agents", o.agents);
    f("when", o.when);
}
template <class F>
void fields(Refresh& o, F&& f) {
    f("token_endpoint", o.token_endpoint);
    f("client_id", o.client_id);
    f("scope", o.scope);
    f("resource", o.resource);
    f("auth", o.auth);
    f("grant", o.grant);
    f("variables", o.variables);
    f("client_from", o.client_from);
    f("subject", o.subject);
    f("key_id", o.key_id);
    f("exchange", o.exchange);
    f("bound_to", o.bound_to);
}
template <class F>
void fields(Exchange& o, F&& f) {
    f("credential", o.credential);
    f("token_type", o.token_type);
    f("audience", o.audience);
    f("requested_type", o.requested_type);
    f("issuer", o.issuer);
}
template <class F>
void fields(Injection& o, F&& f) {
    f("header", o.header);
    f("scheme", o.scheme);
}
template <class F>
void fields(Workspace& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("name", o.name);
    f("created", o.created);
}
template <class F>
void fields(ApiKey& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("name", o.name);
    f("role", o.role);
    f("hash", o.hash);
    f("created", o.created);
    f("revoked", o.revoked);
}
template <class F>
void fields(Vault& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("display_name", o.display_name);
    f("metadata", o.metadata);
    f("key_generation", o.key_generation);
    f("last_generation", o.last_generation);
    f("key_rotated", o.key_rotated);
    f("created", o.created);
    f("updated", o.updated);
    f("archived", o.archived);
}
template <class F>
void fields(Operation& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("kind", o.kind);
    f("state", o.state);
    f("step", o.step);
    f("rolling_back", o.rolling_back);
    f("about", o.about);
    f("from", o.from);
    f("to", o.to);
    f("done", o.done);
    f("total", o.total);
    f("cursor", o.cursor);
    f("retire_after_s", o.retire_after_s);
    f("retire_at", o.retire_at);
    f("finished", o.finished);
    f("problem", o.problem);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(Credential& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("vault", o.vault);
    f("display_name", o.display_name);
    f("metadata", o.metadata);
    f("type", o.type);
    f("mcp_server_url", o.mcp_server_url);
    f("normal_url", o.normal_url);
    f("injection", o.injection);
    f("allowed_tools", o.allowed_tools);
    f("expires", o.expires);
    f("refresh", o.refresh);
    f("secret_name", o.secret_name);
    f("limited_hosts", o.limited_hosts);
    f("allowed_hosts", o.allowed_hosts);
    f("inject_header", o.inject_header);
    f("inject_body", o.inject_body);
    f("version", o.version);
    f("value_commit_seq", o.value_commit_seq);
    f("value_generation", o.value_generation);
    f("value_created", o.value_created);
    f("value_writer", o.value_writer);
    f("created", o.created);
    f("updated", o.updated);
    f("archived", o.archived);
}
template <class F>
void fields(Grant& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("vault", o.vault);
    f("facts", o.facts);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(KeptValue& o, F&& f) {
    f("version", o.version);
    f("state", o.state);
    f("commit_seq", o.commit_seq);
    f("generation", o.generation);
    f("created", o.created);
    f("writer", o.writer);
    f("verified", o.verified);
    f("rotate_by", o.rotate_by);
    f("left", o.left);
    f("kept_until", o.kept_until);
}
template <class F>
void fields(PastValue& o, F&& f) {
    f("version", o.version);
    f("created", o.created);
    f("ended", o.ended);
    f("writer", o.writer);
}
template <class F>
void fields(Rotation& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("vault", o.vault);
    f("rotate_by", o.rotate_by);
    f("verified", o.verified);
    f("reminders", o.reminders);
    f("kept", o.kept);
    f("past", o.past);
    f("last_version", o.last_version);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(ConnectWish& o, F&& f) {
    f("grant", o.grant);
    f("server_url", o.server_url);
    f("normal_url", o.normal_url);
    f("provider", o.provider);
    f("variables", o.variables);
    f("credential", o.credential);
    f("display_name", o.display_name);
    f("metadata", o.metadata);
    f("scopes", o.scopes);
    f("other_account", o.other_account);
    f("issuer", o.issuer);
    f("client_id", o.client_id);
    f("client_auth", o.client_auth);
    f("key_id", o.key_id);
    f("subject", o.subject);
    f("exchange", o.exchange);
}
template <class F>
void fields(ConnectTerms& o, F&& f) {
    f("issuer", o.issuer);
    f("token_endpoint", o.token_endpoint);
    f("revocation_endpoint", o.revocation_endpoint);
    f("jwks_uri", o.jwks_uri);
    f("names_issuer", o.names_issuer);
    f("answered_by", o.answered_by);
    f("client_id", o.client_id);
    f("client_from", o.client_from);
    f("client_auth", o.client_auth);
    f("client", o.client);
    f("redirect_uri", o.redirect_uri);
    f("resource", o.resource);
    f("scopes", o.scopes);
    f("bound_to", o.bound_to);
}
template <class F>
void fields(DeviceWait& o, F&& f) {
    f("user_code", o.user_code);
    f("verification_uri", o.verification_uri);
    f("verification_uri_complete", o.verification_uri_complete);
    f("interval_s", o.interval_s);
    f("next_poll", o.next_poll);
    f("failures", o.failures);
}
template <class F>
void fields(Problem& o, F&& f) {
    f("code", o.code);
    f("message", o.message);
    f("hint", o.hint);
}
template <class F>
void fields(ConnectFlow& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("vault", o.vault);
    f("link", o.link);
    f("state", o.state);
    f("wish", o.wish);
    f("terms", o.terms);
    f("state_digest", o.state_digest);
    f("browser", o.browser);
    f("starts", o.starts);
    f("starting_until", o.starting_until);
    f("step_until", o.step_until);
    f("device", o.device);
    f("problem", o.problem);
    f("credential", o.credential);
    f("secrets", o.secrets);
    f("created", o.created);
    f("updated", o.updated);
    f("expires", o.expires);
}
template <class F>
void fields(OauthClient& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("issuer", o.issuer);
    f("client_id", o.client_id);
    f("auth", o.auth);
    f("dynamic", o.dynamic);
    f("redirect_uri", o.redirect_uri);
    f("registration_uri", o.registration_uri);
    f("secrets", o.secrets);
    f("secret_expires", o.secret_expires);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(WebhookEndpoint& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("name", o.name);
    f("description", o.description);
    f("url", o.url);
    f("enabled_events", o.enabled_events);
    f("enabled", o.enabled);
    f("disabled_reason", o.disabled_reason);
    f("secret", o.secret);
    f("previous_secret", o.previous_secret);
    f("previous_until", o.previous_until);
    f("last_delivered", o.last_delivered);
    f("last_failed", o.last_failed);
    f("last_failure", o.last_failure);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(OutboxItem& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("kind", o.kind);
    f("about", o.about);
    f("label", o.label);
    f("body", o.body);
    f("secrets", o.secrets);
    f("attempts", o.attempts);
    f("next_attempt", o.next_attempt);
    f("last_failure", o.last_failure);
    f("created", o.created);
    f("updated", o.updated);
}
template <class F>
void fields(Environment& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("name", o.name);
    f("description", o.description);
    f("metadata", o.metadata);
    f("type", o.type);
    f("network", o.network);
    f("vault_bindings", o.vault_bindings);
    f("tool_rules", o.tool_rules);
    f("created", o.created);
    f("updated", o.updated);
    f("archived", o.archived);
}
template <class F>
void fields(Agent& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("version", o.version);
    f("name", o.name);
    f("model", o.model);
    f("description", o.description);
    f("system", o.system);
    f("metadata", o.metadata);
    f("mcp_servers", o.mcp_servers);
    f("toolsets", o.toolsets);
    f("created", o.created);
    f("updated", o.updated);
    f("archived", o.archived);
}
template <class F>
void fields(Session& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("agent", o.agent);
    f("environment", o.environment);
    f("vaults", o.vaults);
    f("title", o.title);
    f("metadata", o.metadata);
    f("parent", o.parent);
    f("source", o.source);
    f("created", o.created);
    f("updated", o.updated);
    f("archived", o.archived);
}
template <class F>
void fields(SessionToken& o, F&& f) {
    f("id", o.id);
    f("created_seq", o.created_seq);
    f("workspace", o.workspace);
    f("session", o.session);
    f("hash", o.hash);
    f("created", o.created);
    f("expires", o.expires);
    f("revoked", o.revoked);
}

template <class T>
json to_json(const std::optional<T>& value) {
    return value ? to_json(*value) : json(nullptr);
}
template <class T>
json to_json(const std::vector<T>& value) {
    json out = json::array();
    for (const auto& item : value) out.push_back(to_json(item));
    return out;
}
template <class T>
    requires requires(T& object) { fields(object, 0); }
json to_json(const T& object) {
    Writer writer;
    fields(const_cast<T&>(object), writer);  // the writer only reads
    return std::move(writer.out);
}
template <class T>
void from_json(const json& in, std::optional<T>& out) {
    from_json(in, out.emplace());
}
template <class T>
void from_json(const json& in, std::vector<T>& out) {
    if (!in.is_array()) throw Malformed{};
    for (const auto& item : in) from_json(item, out.emplace_back());
}
template <class T>
    requires requires(T& object) { fields(object, 0); }
void from_json(const json& in, T& object) {
    if (!in.is_object()) throw Malformed{};
    Reader reader{in};
    fields(object, reader);
    if (reader.taken != in.size()) throw Malformed{};
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
    return to_json(object).dump();
}

template <class T>
base::Result<T> decode_object(base::ByteView text) {
    const auto malformed = [] {
        return base::failure(ErrorKind::corrupt, "row.malformed", "A stored object cannot be read.");
    };
    const json in = json::parse(text, nullptr, false);
    if (in.is_discarded()) return malformed();
    T object;
    try {
        from_json(in, object);
    } catch (const Malformed&) {
        return malformed();
    }
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
template base::Bytes encode_object(const SessionToken&);
template base::Result<SessionToken> decode_object(base::ByteView);

}  // namespace claviger::vault
