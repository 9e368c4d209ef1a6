// The file format of provider profiles, described once: the words of its choices and the members of its
// objects. Only the reader and the writer of the format include this.
#pragma once

#include "oauth/profile_forms.h"
#include "oauth/provider_profile.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace claviger::oauth {

inline constexpr std::int64_t kProfileFormat = 1;
inline constexpr std::int64_t kLongestSeconds = 10LL * 366 * 24 * 3600;  // ten years

template <class E>
struct Choice {
    std::string_view word;
    E value;
};
template <class E>
struct Choices;  // ::all holds the words of the enumeration

template <>
struct Choices<GrantType> {
    static constexpr Choice<GrantType> all[] = {
        {"authorization_code", GrantType::authorization_code},
        {"client_credentials", GrantType::client_credentials},
        {"device_code", GrantType::device_code},
        {"jwt_bearer", GrantType::jwt_bearer},
        {"token_exchange", GrantType::token_exchange},
        {"id_jag", GrantType::id_jag},
        {"github_installation", GrantType::github_installation},
        {"google_service_account", GrantType::google_service_account},
    };
};
template <>
struct Choices<EndpointsFrom> {
    static constexpr Choice<EndpointsFrom> all[] = {{"server", EndpointsFrom::server},
                                                    {"issuer", EndpointsFrom::issuer},
                                                    {"profile", EndpointsFrom::profile},
                                                    {"credential", EndpointsFrom::credential}};
};
template <>
struct Choices<RegistrationWay> {
    static constexpr Choice<RegistrationWay> all[] = {
        {"registered", RegistrationWay::registered},
        {"metadata_document", RegistrationWay::metadata_document},
        {"dynamic", RegistrationWay::dynamic}};
};
template <>
struct Choices<BasicEncoding> {
    static constexpr Choice<BasicEncoding> all[] = {{"rfc", BasicEncoding::rfc}, {"raw", BasicEncoding::raw}};
};
template <>
struct Choices<std::optional<ClientAuthMethod>> {
    using enum ClientAuthMethod;
    static constexpr Choice<std::optional<ClientAuthMethod>> all[] = {
        {"as_advertised", std::nullopt},
        {"none", none},
        {"client_secret_basic", client_secret_basic},
        {"client_secret_post", client_secret_post},
        {"private_key_jwt", private_key_jwt},
        {"tls_client_auth", tls_client_auth},
        {"self_signed_tls_client_auth", self_signed_tls_client_auth},
        {"secret_as_user_name", secret_as_user_name},
    };
};
template <>
struct Choices<AssertionAudience> {
    static constexpr Choice<AssertionAudience> all[] = {
        {"issuer", AssertionAudience::issuer}, {"token_endpoint", AssertionAudience::token_endpoint}};
};
template <>
struct Choices<PkceUse> {
    static constexpr Choice<PkceUse> all[] = {{"S256", PkceUse::s256}, {"off", PkceUse::off}};
};
template <>
struct Choices<TokenShape::Unit> {
    static constexpr Choice<TokenShape::Unit> all[] = {{"seconds", TokenShape::Unit::seconds},
                                                       {"milliseconds", TokenShape::Unit::milliseconds}};
};
/// Those that an answer can be taken for by what it says.
template <>
struct Choices<AnswerClass> {
    static constexpr Choice<AnswerClass> all[] = {{"transient", AnswerClass::transient},
                                                  {"grant_dead", AnswerClass::grant_dead},
                                                  {"client_dead", AnswerClass::client_dead},
                                                  {"scope", AnswerClass::scope},
                                                  {"target", AnswerClass::target},
                                                  {"bug", AnswerClass::bug},
                                                  {"unknown_outcome", AnswerClass::unknown_outcome}};
};
template <>
struct Choices<RefusalMarker::Test> {
    static constexpr Choice<RefusalMarker::Test> all[] = {{"equals", RefusalMarker::Test::equals},
                                                          {"contains", RefusalMarker::Test::contains}};
};
template <>
struct Choices<KeyHint> {
    static constexpr Choice<KeyHint> all[] = {{"kid", KeyHint::kid}, {"x5t#S256", KeyHint::x5t_s256}};
};
template <>
struct Choices<OfflineAsk> {
    static constexpr Choice<OfflineAsk> all[] = {{"never", OfflineAsk::never},
                                                 {"always", OfflineAsk::always},
                                                 {"when_advertised", OfflineAsk::when_advertised}};
};
template <>
struct Choices<CodeDelivery> {
    static constexpr Choice<CodeDelivery> all[] = {{"callback", CodeDelivery::callback},
                                                   {"webhook", CodeDelivery::webhook}};
};
template <>
struct Choices<BodyFormat> {
    static constexpr Choice<BodyFormat> all[] = {{"form", BodyFormat::form}, {"json", BodyFormat::json}};
};
template <>
struct Choices<ResourceUse> {
    static constexpr Choice<ResourceUse> all[] = {
        {"send", ResourceUse::send}, {"omit", ResourceUse::omit}, {"fixed", ResourceUse::fixed}};
};
template <>
struct Choices<RefreshTokenReuse> {
    static constexpr Choice<RefreshTokenReuse> all[] = {{"reusable", RefreshTokenReuse::reusable},
                                                        {"grace", RefreshTokenReuse::grace},
                                                        {"strict", RefreshTokenReuse::strict},
                                                        {"unknown", RefreshTokenReuse::unknown}};
};
template <>
struct Choices<OnReconnect> {
    static constexpr Choice<OnReconnect> all[] = {{"keep", OnReconnect::keep},
                                                  {"revoke", OnReconnect::revoke}};
};
template <>
struct Choices<RevocationStyle> {
    static constexpr Choice<RevocationStyle> all[] = {
        {"none", RevocationStyle::none},       {"rfc7009", RevocationStyle::rfc7009},
        {"github", RevocationStyle::github},   {"slack", RevocationStyle::slack},
        {"hubspot", RevocationStyle::hubspot}, {"google", RevocationStyle::google}};
};
template <>
struct Choices<VariableKind> {
    static constexpr Choice<VariableKind> all[] = {{"segment", VariableKind::segment},
                                                   {"host", VariableKind::host}};
};
template <>
struct Choices<EvidenceStatus> {
    static constexpr Choice<EvidenceStatus> all[] = {{"verified", EvidenceStatus::verified},
                                                     {"documented", EvidenceStatus::documented},
                                                     {"reported", EvidenceStatus::reported},
                                                     {"unverified", EvidenceStatus::unverified}};
};

template <class E>
std::string_view chosen_word(E value) {
    for (const auto& choice : Choices<E>::all)
        if (choice.value == value) return choice.word;
    return "";
}

enum class Need { optional, required };

// What a profile file may hold: members(visitor, value), once per struct, for reading and for writing.

template <class V>
void members(V& v, ProfileVariable& x) {
    v.text("description", x.description, TextForm::sentence, Need::required);
    v.choice("kind", x.kind);
    v.text("default", x.fallback, TextForm::value);
}

template <class V>
void members(V& v, ProviderEndpoints& x) {
    v.text("authorization", x.authorization, TextForm::url);
    v.text("token", x.token, TextForm::url);
    v.text("refresh", x.refresh, TextForm::url);
    v.text("device_authorization", x.device_authorization, TextForm::url);
    v.text("revocation", x.revocation, TextForm::url);
    v.text("introspection", x.introspection, TextForm::url);
}

template <class V>
void members(V& v, ClientRule& x) {
    v.choices("registration", x.registration);
    v.choice("authentication", x.authentication);
    v.choice("basic_encoding", x.basic_encoding);
    v.choice("assertion_audience", x.assertion_audience);
    v.choice("key_hint", x.key_hint);
}

template <class V>
void members(V& v, OfflineAccess& x) {
    v.choice("ask", x.ask);
    v.text("scope", x.scope, TextForm::scope_or_none);
    v.pairs("parameters", x.parameters, TextForm::parameter, TextForm::value);
}

template <class V>
void members(V& v, AuthorizationRule& x) {
    v.choice("pkce", x.pkce);
    v.text("scope_parameter", x.scope_parameter, TextForm::name_of_parameter);
    v.text("scope_separator", x.scope_separator, TextForm::separator);
    v.texts("default_scopes", x.default_scopes, TextForm::scope);
    v.object("offline_access", x.offline_access);
    v.pairs("parameters", x.parameters, TextForm::parameter, TextForm::value);
    v.text("code_parameter", x.code_parameter, TextForm::name_of_parameter);
    v.choice("code_delivery", x.code_delivery);
}

template <class V>
void members(V& v, TokenRequestRule& x) {
    v.choice("body", x.body);
    v.text("accept", x.accept, TextForm::value);
    v.pairs("headers", x.headers, TextForm::extra_header, TextForm::value);
    v.pairs("parameters", x.parameters, TextForm::parameter, TextForm::value);
}

template <class V>
void members(V& v, RefreshRequestRule& x) {
    v.flag("send_scope", x.send_scope);
    v.pairs("parameters", x.parameters, TextForm::parameter, TextForm::value);
}

template <class V>
void members(V& v, ResourceRule& x) {
    v.choice("use", x.use, Need::required);
    v.text("value", x.value, TextForm::url);
}

template <class V>
void members(V& v, ResponseRule& x) {
    v.texts("token_objects", x.token_objects, TextForm::member_or_root);
    v.text("access_token", x.shape.access_token, TextForm::member);
    v.text("refresh_token", x.shape.refresh_token, TextForm::member);
    v.text("token_type", x.shape.token_type, TextForm::member);
    v.text("scope", x.shape.scope, TextForm::member);
    v.text("expires_in", x.shape.expires_in, TextForm::member);
    v.text("expires_at", x.shape.expires_at, TextForm::member);
    v.text("refresh_token_expires_in", x.shape.refresh_expires_in, TextForm::member);
    v.choice("unit", x.shape.unit);
    v.text("scope_separator", x.shape.scope_separators, TextForm::separator);
    v.texts("bearer_types", x.shape.bearer_aliases, TextForm::name_of_parameter);
    v.pairs("captured", x.captured, TextForm::identifier, TextForm::path);
    v.texts("account", x.account, TextForm::identifier);
}

template <class V>
void members(V& v, RefusalMarker& x) {
    v.text("member", x.member, TextForm::member, Need::required);
    v.text("value", x.value, TextForm::value, Need::required);
    v.choice("test", x.test);
    v.number("status", x.status, 200, 599);
    v.choice("means", x.kind, Need::required);
    v.text("code", x.code, TextForm::identifier);
}

template <class V>
void members(V& v, RefusalRules& x) {
    v.objects("markers", x.markers);
    v.flag("aadsts_codes", x.aadsts_codes);
}

template <class V>
void members(V& v, LifetimeRule& x) {
    v.time("fixed_seconds", x.fixed, 1, kLongestSeconds);
    v.time("skew_seconds", x.skew, 0, 120);
}

template <class V>
void members(V& v, RefreshTokenRule& x) {
    v.choice("reuse", x.reuse);
    v.time("grace_seconds", x.grace, 1, 86'400);
    v.flag("old_access_token_dies", x.old_access_token_dies);
    v.time("idle_lifetime_seconds", x.idle_lifetime, 60, kLongestSeconds);
    v.time("absolute_lifetime_seconds", x.absolute_lifetime, 60, kLongestSeconds);
    v.number("max_live_grants", x.max_live_grants, 1, 1'000'000);
    v.choice("on_reconnect", x.on_reconnect);
}

template <class V>
void members(V& v, TokenRejection& x) {
    v.number("status", x.status, 200, 599);
    v.text("path", x.path, TextForm::path, Need::required);
    v.texts("values", x.values, TextForm::value, Need::required);
}

template <class V>
void members(V& v, UpstreamRule& x) {
    v.text("header", x.header, TextForm::header);
    v.text("scheme", x.scheme, TextForm::scheme);
    v.flag("client_certificate", x.client_certificate);
    v.objects("rejections", x.rejections);
}

template <class V>
void members(V& v, ProfileEvidence& x) {
    v.choice("status", x.status, Need::required);
    v.text("source", x.source, TextForm::sentence);
    v.text("note", x.note, TextForm::sentence);
}

template <class V>
void members(V& v, ProviderProfile& x) {
    v.format();
    v.text("name", x.name, TextForm::name, Need::required);
    v.text("title", x.title, TextForm::sentence, Need::required);
    v.text("documentation", x.documentation, TextForm::plain_url);
    v.texts("notes", x.notes, TextForm::sentence);
    v.choices("grants", x.grants);
    v.object_map("variables", x.variables, TextForm::identifier);
    v.choice("endpoints_from", x.endpoints_from);
    v.text("issuer", x.issuer, TextForm::issuer);
    v.flag("templated_issuer", x.templated_issuer);
    v.object("endpoints", x.endpoints);
    v.object("client", x.client);
    v.object("authorization", x.authorization);
    v.object("token_request", x.token_request);
    v.object("refresh_request", x.refresh_request);
    v.object("resource", x.resource);
    v.object("response", x.response);
    v.object("errors", x.errors);
    v.object("lifetime", x.lifetime);
    v.object("refresh_token", x.refresh_token);
    v.object("upstream", x.upstream);
    v.choice("revocation", x.revocation);
    v.texts("server_urls", x.server_urls, TextForm::server_url);
    v.object_map("evidence", x.evidence, TextForm::path);
}

}  // namespace claviger::oauth
