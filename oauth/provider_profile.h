// What Claviger knows of one OAuth provider, as data: docs/provider_profiles.md describes every member.
#pragma once

#include "base/result.h"
#include "oauth/classify.h"
#include "oauth/client_auth.h"
#include "oauth/grant_state.h"
#include "oauth/token_request.h"
#include "oauth/token_response.h"

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

using Words = std::vector<std::string>;
using WordMap = std::map<std::string, std::string, std::less<>>;

/// jwt_bearer takes an assertion that others made (RFC 7523); the last two sign their own.
enum class GrantType {
    authorization_code,
    client_credentials,
    device_code,
    jwt_bearer,
    token_exchange,
    id_jag,
    github_installation,
    google_service_account
};
/// Who names the endpoints: the MCP server (RFC 9728, then its authorization server), the metadata of the
/// issuer, this profile, or the credential itself.
enum class EndpointsFrom { server, issuer, profile, credential };
enum class RegistrationWay { registered, metadata_document, dynamic };
enum class AssertionAudience { issuer, token_endpoint };
enum class KeyHint { kid, x5t_s256 };
enum class PkceUse { s256, off };
enum class OfflineAsk { never, always, when_advertised };
enum class CodeDelivery { callback, webhook };
enum class ResourceUse { send, omit, fixed };
/// keep: revoking them would end the new consent as well, or nobody knows. revoke: each consent is a grant of
/// its own there.
enum class OnReconnect { keep, revoke };
enum class RevocationStyle { none, rfc7009, github, slack, hubspot, google };
enum class VariableKind { segment, host };
/// verified: measured against the provider. documented: its own documents or a specification say so.
/// reported: others have met it. unverified: believed, not checked.
enum class EvidenceStatus { verified, documented, reported, unverified };

/// A part of URLs that differs from one customer of the provider to the next.
struct ProfileVariable {
    std::string description;
    VariableKind kind = VariableKind::segment;
    std::string fallback;  // "default" in the file; empty: must be given
};

/// URLs, possibly with {variables}; empty: there is none, or the metadata names it.
struct ProviderEndpoints {
    std::string authorization, token, device_authorization, revocation, introspection;
    std::string refresh;  // empty: the token endpoint
};

struct ClientRule {
    std::vector<RegistrationWay> registration = {RegistrationWay::registered,
                                                 RegistrationWay::metadata_document,
                                                 RegistrationWay::dynamic};  // in the order of trying
    std::optional<ClientAuthMethod> authentication;  // nothing: as the metadata advertise
    BasicEncoding basic_encoding = BasicEncoding::rfc;
    AssertionAudience assertion_audience = AssertionAudience::issuer;  // of private_key_jwt
    KeyHint key_hint = KeyHint::kid;
};

struct OfflineAccess {
    OfflineAsk ask = OfflineAsk::when_advertised;
    std::string scope = "offline_access";          // empty: none is needed
    WordMap parameters = {{"prompt", "consent"}};  // added to the authorization request when it is asked for
};

struct AuthorizationRule {
    PkceUse pkce = PkceUse::s256;
    std::string scope_parameter = "scope";
    std::string scope_separator = " ";
    Words default_scopes;
    OfflineAccess offline_access;
    WordMap parameters;
    std::string code_parameter = "code";
    CodeDelivery code_delivery = CodeDelivery::callback;
};

struct TokenRequestRule {
    BodyFormat body = BodyFormat::form;
    std::string accept = "application/json";
    WordMap headers;
    WordMap parameters;
};

struct RefreshRequestRule {
    bool send_scope = false;
    WordMap parameters;
};

struct ResourceRule {
    ResourceUse use = ResourceUse::send;
    std::string value;  // for ResourceUse::fixed
};

struct ResponseRule {
    /// Top-level members that may hold the token set, "." for the answer itself; the first that holds an
    /// access token is it.
    Words token_objects = {"."};
    TokenShape shape;  // but for `nested`, which is empty: see token_shapes
    WordMap captured;  // name -> path in the answer, see at_path
    Words account;     // captured names that together tell accounts apart
};

struct LifetimeRule {
    std::optional<std::chrono::seconds> fixed;  // of access tokens whose response states none
    std::chrono::seconds skew{60};
};

struct RefreshTokenRule {
    RefreshTokenReuse reuse = RefreshTokenReuse::unknown;
    std::optional<std::chrono::seconds> grace;  // for RefreshTokenReuse::grace
    bool old_access_token_dies = false;
    std::optional<std::chrono::seconds> idle_lifetime, absolute_lifetime;
    std::optional<std::uint32_t> max_live_grants;
    OnReconnect on_reconnect = OnReconnect::keep;  // what becomes of the tokens of before
};

/// An answer of the API that means what a 401 means.
struct TokenRejection {
    std::uint32_t status = 0;  // 0: any
    std::string path;
    Words values;
};

struct UpstreamRule {
    std::string header = "Authorization";
    std::string scheme = "Bearer";    // empty: the token alone
    bool client_certificate = false;  // tokens are bound to it, so it is shown with them
    std::vector<TokenRejection> rejections;
};

struct ProfileEvidence {
    EvidenceStatus status = EvidenceStatus::unverified;
    std::string source;
    std::string note;
};

/// One provider. The defaults are the rules of MCP for an authorization server that nothing is known of.
struct ProviderProfile {
    std::string name, title, documentation;
    Words notes;
    std::vector<GrantType> grants = {GrantType::authorization_code};
    std::map<std::string, ProfileVariable, std::less<>> variables;
    EndpointsFrom endpoints_from = EndpointsFrom::server;
    std::string issuer;
    bool templated_issuer = false;  // the metadata's issuer holds a placeholder and is not compared
    ProviderEndpoints endpoints;
    ClientRule client;
    AuthorizationRule authorization;
    TokenRequestRule token_request;
    RefreshRequestRule refresh_request;
    ResourceRule resource;
    ResponseRule response;
    RefusalRules errors;
    LifetimeRule lifetime;
    RefreshTokenRule refresh_token;
    UpstreamRule upstream;
    RevocationStyle revocation = RevocationStyle::rfc7009;
    Words server_urls;
    std::map<std::string, ProfileEvidence, std::less<>> evidence;  // by member, "refresh_token.reuse"
};

struct ProfileProblem {
    std::string member;  // "endpoints.token"; empty: the document as a whole
    std::string message;
};

/// Reads a profile file; `name` is the file's name without ".json". Errors: invalid_request
/// "provider.invalid", whose message names the file, the first member at fault and what is allowed there.
base::Result<ProviderProfile> parse_profile(std::string_view text, std::string_view name);
/// All that is wrong with a profile file; empty: parse_profile accepts it.
std::vector<ProfileProblem> problems_in(std::string_view text, std::string_view name);
/// The profile as a complete file, defaults written out. parse_profile of it gives the same profile.
nlohmann::json to_json(const ProviderProfile& profile);

/// The profile with its {variables} replaced, from `values` or their defaults, and none left. Errors:
/// invalid_request "provider.variable_unknown", "provider.variable_missing", "provider.variable_invalid".
base::Result<ProviderProfile> with_variables(ProviderProfile profile, const WordMap& values);

/// The ways to read a token answer, in the order of trying; the next one is for an answer in which this one
/// finds no access token.
std::vector<TokenShape> token_shapes(const ResponseRule& rule);

/// What is at the path: member names joined by dots, a number for a place in a list. Null when there is
/// nothing.
const nlohmann::json* at_path(const nlohmann::json& document, std::string_view path);
/// True when the API's answer says that the token is not accepted, though the status does not.
bool rejects_token(const UpstreamRule& rule, std::uint32_t status, const nlohmann::json& body);

/// How sure the member's value is: by its own entry or that of the closest member around it; unverified when
/// there is none.
ProfileEvidence evidence_for(const ProviderProfile& profile, std::string_view member);

std::string_view word_of(GrantType grant);
std::string_view word_of(EndpointsFrom source);
std::string_view word_of(EvidenceStatus status);

}  // namespace claviger::oauth
