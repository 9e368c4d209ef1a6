#include "oauth/revocation.h"

#include "base/log.h"
#include "crypto/random.h"
#include "crypto/sealed_text.h"
#include "oauth/grant_event.h"
#include "oauth/grant_notice.h"
#include "vault/sealed_rows.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::oauth {
namespace {

using nlohmann::json;

std::string binding(const base::OutboxItemId& item) { return "revocation" + std::string(item.key()); }

std::unexpected<base::Error> refused() {
    return base::failure(base::ErrorKind::corrupt, "revocation.refused",
                         "What is needed to revoke tokens does not open.",
                         "Revoke them at the provider's own page.");
}

base::Status enqueue(vault::Change& change, const vault::Credential& credential, const StoredGrant& grant,
                     const vault::SecretParts& parts, bool ends_grant) {
    vault::OutboxItem item;
    item.id = crypto::random_id<base::OutboxItemId>();
    item.workspace = credential.workspace;
    item.kind = vault::OutboxKind::revocation;
    item.about = credential.id.raw;
    item.body = json{{"credential", base::to_hex(vault::encode_object(credential))},
                     {"grant", encode(grant)},
                     {"ends_grant", ends_grant}}
                    .dump();
    const auto joined = vault::join_parts(parts);
    item.secrets = joined.expose([&](std::span<const std::byte> bytes) {
        return crypto::seal_text(change.keys().derived(crypto::Purpose::outbox_secrets), binding(item.id),
                                 base::as_view(bytes));
    });
    item.next_attempt = change.now();
    // An attempt in flight may bring newer tokens, which are the ones to revoke.
    if (grant.facts.attempt)
        item.next_attempt = std::clamp<base::Time>(grant.facts.attempt->lease_until, change.now(),
                                                   change.now() + kDeleteWaits);
    return change.store(std::move(item));
}

/// True when something was put into the outbox.
base::Result<bool> enqueue_all(vault::Change& change, const vault::Credential& credential,
                               const StoredGrant& grant) {
    if (!credential.refresh) return false;
    auto parts = change.open_secret(credential);
    if (!parts) {
        base::log_error("revocation.not_possible", parts.error());
        return false;
    }
    parts->subject_token.reset();  // not ours to revoke
    auto queued = enqueue(change, credential, grant, *parts, true);
    if (!queued) return std::unexpected(std::move(queued).error());
    return true;
}

}  // namespace

base::Status revoke_strays(vault::Change& change, const vault::Credential& credential,
                           const StoredGrant& grant, vault::SecretParts strays) {
    if (!credential.refresh || !strays.token) return {};
    if (!strays.client_secret && credential.version != 0)
        if (const auto own = change.open_secret(credential); own && own->client_secret)
            strays.client_secret = crypto::Secret::copy_of(*own->client_secret);
    return enqueue(change, credential, grant, strays, false);
}

base::Status let_go(vault::Change& change, const vault::Credential& credential, LetGo how) {
    if (credential.type != vault::AuthType::mcp_oauth || credential.version == 0) return {};
    auto found = grant_of(change.catalog(), credential);
    auto grant = found ? std::move(*found) : handed_over(credential, nullptr, change.now());
    const auto queued = enqueue_all(change, credential, grant);
    if (!queued) return std::unexpected(queued.error());
    const auto transition = apply(grant.facts, Deleted{}, change.now());
    if (auto told = post_notice(change, credential, transition); !told) return told;
    if (how == LetGo::erased || !transition.taken()) return {};
    grant.facts = transition.facts;
    if (!*queued) grant.facts = apply(grant.facts, RevocationEnded{RevocationEnd::done}, change.now()).facts;
    return store_grant(change, credential, grant);
}

base::Result<RevocationJob> read_job(const vault::KeyRing& keys, const vault::OutboxItem& item) {
    const auto body = json::parse(item.body, nullptr, false);
    if (!body.is_object() || !body.contains("credential") || !body["credential"].is_string() ||
        !body.contains("grant") || !body["grant"].is_string())
        return refused();
    const auto encoded = base::from_hex(body["credential"].get_ref<const std::string&>());
    if (!encoded) return refused();
    auto credential = vault::decode_object<vault::Credential>(*encoded);
    auto grant = decode_stored_grant(body["grant"].get_ref<const std::string&>());
    auto plain =
        crypto::open_text(keys.derived(crypto::Purpose::outbox_secrets), binding(item.id), item.secrets);
    if (!credential || !grant || !plain) return refused();
    const auto joined = crypto::Secret::copy_of(*plain);
    crypto::wipe(std::span<char>(*plain));
    auto parts = vault::split_parts(joined);
    if (!parts) return refused();
    return RevocationJob{std::move(*credential), std::move(*grant), body.value("ends_grant", false),
                         std::move(*parts)};
}

}  // namespace claviger::oauth
