#include "admin/api/exchange_fields.h"

#include "oauth/mint.h"
#include "oauth/subject_token.h"
#include "oauth/web_url.h"

#include <array>

namespace claviger::admin::api {
namespace {

using oauth::GrantType;

constexpr std::size_t kLongestSubject = 16 * 1024;
constexpr std::array<std::string_view, 5> kTypes{"access_token", "refresh_token", "id_token", "jwt", "saml2"};

/// What is meant when nobody says: identity providers exchange what stands for a person's login.
std::string_view usual_type(GrantType grant, const vault::Exchange& exchange) {
    if (grant == GrantType::token_exchange) return "access_token";
    return exchange.credential ? "refresh_token" : "id_token";
}

void read_subject(Fields& in, oauth::ConnectSecrets& secrets, vault::Exchange& exchange) {
    secrets.subject_token = in.secret_if_any("subject_token", kLongestSubject, SecretForm::any_text);
    const auto id = in.text_if_any("subject_credential_id", {1, 64});
    if (id) {
        exchange.credential = base::CredentialId::parse(*id);
        if (!exchange.credential) in.refuse("subject_credential_id", "must be the id of a credential");
    }
    if (id.has_value() == secrets.subject_token.has_value())
        in.refuse("subject_token", "or subject_credential_id must be given, and not both");
}

void read_type(Fields& in, GrantType grant, vault::Exchange& exchange) {
    auto word = usual_type(grant, exchange);
    if (in.has_value("subject_token_type"))
        word = kTypes[in.word("subject_token_type", {kTypes.begin(), kTypes.end()})];
    if (exchange.credential && word != "access_token" && word != "refresh_token")
        in.refuse("subject_token_type", "of a credential is access_token or refresh_token");
    exchange.token_type = *oauth::token_type_urn(word);
}

/// Who acts for the subject (RFC 8693 2.1). Never a token that was given: an actor is known here.
void read_actor(Fields& in, GrantType grant, vault::Exchange& exchange) {
    const auto id = in.text_if_any("actor_credential_id", {1, 64});
    if (!id) {
        if (in.has_value("actor_token_type")) in.refuse("actor_token_type", "needs actor_credential_id");
        return;
    }
    if (grant != GrantType::token_exchange)
        in.refuse("actor_credential_id", "belongs to the grant token_exchange");
    exchange.actor = base::CredentialId::parse(*id);
    if (!exchange.actor) in.refuse("actor_credential_id", "must be the id of a credential");
    if (exchange.actor && exchange.actor == exchange.credential)
        in.refuse("actor_credential_id", "must be another credential than subject_credential_id");
    constexpr std::array<std::string_view, 2> types{"access_token", "refresh_token"};
    auto word = types[0];
    if (in.has_value("actor_token_type"))
        word = types[in.word("actor_token_type", {types.begin(), types.end()})];
    exchange.actor_type = *oauth::token_type_urn(word);
}

/// Whether that credential's token may be exchanged.
base::Status check_lender(const Call& call, const vault::Vault& vault, const base::CredentialId& id) {
    const auto lender = find<vault::Credential>(call.catalog(), call.workspace(), id.text());
    if (!lender) return std::unexpected(lender.error());
    const auto refused = [&](const std::string& why) {
        return base::failure(
            base::ErrorKind::invalid_request, "exchange.subject", "Credential " + id.text() + " " + why + ".",
            "Connect an account at the authorization server that exchanges its token, in the "
            "same vault.");
    };
    if ((*lender)->vault != vault.id) return refused("is in another vault");
    if ((*lender)->archived || !(*lender)->refresh)
        return refused("is archived, or has no refresh block that says where its token comes from");
    if ((*lender)->refresh->exchange) return refused("has an exchanged token itself");
    return {};
}

}  // namespace

std::optional<vault::Exchange> read_exchange(Fields& in, GrantType grant, oauth::ConnectSecrets& secrets) {
    if (!oauth::exchanges(grant)) {
        if (in.has_value("exchange"))
            in.refuse("exchange", "belongs to the grants token_exchange, id_jag and jwt_bearer");
        return std::nullopt;
    }
    if (!in.has_value("exchange")) {
        in.refuse("exchange", "is required for this grant: what the tokens are exchanged for");
        return std::nullopt;
    }
    auto given = in.object("exchange");
    vault::Exchange exchange;
    read_subject(given, secrets, exchange);
    read_actor(given, grant, exchange);
    if (grant == GrantType::jwt_bearer) {
        if (exchange.credential)
            given.refuse("subject_credential_id",
                         "cannot be an assertion; give the assertion as subject_token");
        return exchange;
    }
    read_type(given, grant, exchange);
    if (grant == GrantType::token_exchange) {
        exchange.audience = given.text_if_any("audience", {1, 1'024}).value_or("");
        exchange.requested_type = given.text_if_any("requested_token_type", {1, 255}).value_or("");
        return exchange;
    }
    exchange.issuer = given.text_if_any("identity_provider", {1, 2'047}).value_or("");
    if (exchange.issuer.empty() == !exchange.credential.has_value())
        given.refuse("identity_provider",
                     "must be given exactly when the subject token is: the issuer that exchanges it");
    return exchange;
}

base::Status check_exchange(const Call& call, const vault::Vault& vault, const vault::Exchange& exchange) {
    if (!exchange.credential && !exchange.actor) return {};
    if (call.key.role != vault::Role::admin)
        return base::failure(
            base::ErrorKind::denied, "exchange.admin_only",
            "Only an admin may let a stored token be exchanged for another.",
            "It widens where the power of that token goes. Give a subject_token of your own, or "
            "ask an admin.");
    for (const auto& id : {exchange.credential, exchange.actor}) {
        if (!id) continue;
        if (auto lends = check_lender(call, vault, *id); !lends) return lends;
    }
    return {};
}

}  // namespace claviger::admin::api
