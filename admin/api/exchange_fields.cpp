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
    if (!exchange.credential) return {};
    if (call.key.role != vault::Role::admin)
        return base::failure(
            base::ErrorKind::denied, "exchange.admin_only",
            "Only an admin may let a stored token be exchanged for another.",
            "It widens where the power of that token goes. Give a subject_token of your own, or "
            "ask an admin.");
    const auto subject =
        find<vault::Credential>(call.catalog(), call.workspace(), exchange.credential->text());
    if (!subject) return std::unexpected(subject.error());
    const auto refused = [&](const std::string& why) {
        return base::failure(
            base::ErrorKind::invalid_request, "exchange.subject",
            "Credential " + exchange.credential->text() + " " + why + ".",
            "Connect an account at the authorization server that exchanges its token, in the "
            "same vault.");
    };
    if ((*subject)->vault != vault.id) return refused("is in another vault");
    if ((*subject)->archived || !(*subject)->refresh)
        return refused("is archived, or has no refresh block that says where its token comes from");
    if ((*subject)->refresh->exchange) return refused("has an exchanged token itself");
    return {};
}

}  // namespace claviger::admin::api
