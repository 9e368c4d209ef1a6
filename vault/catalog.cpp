#include "vault/catalog.h"

#include "vault/pieces.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <type_traits>

namespace claviger::vault {

namespace {

/// Calls go by the credential: what else belongs to a grant, and who is told of it, does not change what a
/// session may do.
template <class T>
constexpr bool kUnseenByCalls =
    std::is_same_v<T, Grant> || std::is_same_v<T, Rotation> || std::is_same_v<T, ConnectFlow> ||
    std::is_same_v<T, OauthClient> || std::is_same_v<T, WebhookEndpoint> || std::is_same_v<T, OutboxItem> ||
    std::is_same_v<T, Operation> || std::is_same_v<T, Shredding>;

}  // namespace

std::size_t Catalog::DigestHash::operator()(const crypto::Digest& digest) const {
    std::size_t hash;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
}

Ref<ApiKey> Catalog::api_key_by_hash(const crypto::Digest& hash) const {
    const std::shared_lock lock(mutex_);
    const auto found = api_keys_by_hash_.find(hash);
    return found == api_keys_by_hash_.end() ? nullptr : table<ApiKey>().by_id.at(found->second);
}

Ref<SessionToken> Catalog::session_token_by_hash(const crypto::Digest& hash) const {
    const std::shared_lock lock(mutex_);
    const auto found = session_tokens_by_hash_.find(hash);
    return found == session_tokens_by_hash_.end() ? nullptr : table<SessionToken>().by_id.at(found->second);
}

template <class T>
void Catalog::load(std::vector<Ref<T>> objects) {
    const std::unique_lock lock(mutex_);
    auto& [by_id, by_age] = table<T>();
    const auto index_by_age = [&] {
        // An ordered map takes in what comes in its order at once, and what does not by a search each.
        using Aged = std::pair<std::pair<base::RawId, std::uint64_t>, decltype(T::id)>;
        std::vector<Aged> aged;
        aged.reserve(objects.size());
        for (const auto& object : objects)
            aged.push_back({{object->scope(), object->created_seq}, object->id});
        std::ranges::sort(aged, {}, &Aged::first);
        for (const auto& [age, id] : aged) by_age.emplace_hint(by_age.end(), age, id);
    };
    const auto index_by_id = [&] {
        by_id.reserve(objects.size());
        for (const auto& object : objects) {
            if constexpr (std::is_same_v<T, ApiKey>) api_keys_by_hash_[object->hash] = object->id;
            if constexpr (std::is_same_v<T, SessionToken>) session_tokens_by_hash_[object->hash] = object->id;
            by_id.emplace(object->id, object);
        }
    };
    in_pieces(2, [&](std::size_t piece) { piece == 0 ? index_by_age() : index_by_id(); });
}

template <class T>
void Catalog::put(T object) {
    // A new session or token cannot change what an existing session may do; everything else can.
    constexpr bool harmless_when_new =
        std::is_same_v<T, Session> || std::is_same_v<T, SessionToken> || std::is_same_v<T, ApiKey>;
    const auto id = object.id;
    auto ref = std::make_shared<const T>(std::move(object));
    {
        const std::unique_lock lock(mutex_);
        if constexpr (std::is_same_v<T, ApiKey>) api_keys_by_hash_[ref->hash] = id;
        if constexpr (std::is_same_v<T, SessionToken>) session_tokens_by_hash_[ref->hash] = id;
        auto& [by_id, by_age] = table<T>();
        by_age[{ref->scope(), ref->created_seq}] = id;
        auto& place = by_id[id];
        const bool is_new = place == nullptr;
        place = std::move(ref);
        if constexpr (kUnseenByCalls<T>) return;
        if (is_new && harmless_when_new) return;
    }
    revision_.fetch_add(1, std::memory_order_release);
}

template <class T>
void Catalog::erase(const decltype(T::id)& id) {
    {
        const std::unique_lock lock(mutex_);
        auto& [by_id, by_age] = table<T>();
        const auto found = by_id.find(id);
        if (found == by_id.end()) return;
        if constexpr (std::is_same_v<T, ApiKey>) api_keys_by_hash_.erase(found->second->hash);
        if constexpr (std::is_same_v<T, SessionToken>) session_tokens_by_hash_.erase(found->second->hash);
        by_age.erase({found->second->scope(), found->second->created_seq});
        by_id.erase(found);
        if constexpr (kUnseenByCalls<T>) return;
    }
    revision_.fetch_add(1, std::memory_order_release);
}

template void Catalog::load(std::vector<Ref<Workspace>>);
template void Catalog::load(std::vector<Ref<ApiKey>>);
template void Catalog::load(std::vector<Ref<Vault>>);
template void Catalog::load(std::vector<Ref<Credential>>);
template void Catalog::load(std::vector<Ref<Grant>>);
template void Catalog::load(std::vector<Ref<Rotation>>);
template void Catalog::load(std::vector<Ref<ConnectFlow>>);
template void Catalog::load(std::vector<Ref<OauthClient>>);
template void Catalog::load(std::vector<Ref<WebhookEndpoint>>);
template void Catalog::load(std::vector<Ref<OutboxItem>>);
template void Catalog::load(std::vector<Ref<Operation>>);
template void Catalog::load(std::vector<Ref<Shredding>>);
template void Catalog::load(std::vector<Ref<Environment>>);
template void Catalog::load(std::vector<Ref<Agent>>);
template void Catalog::load(std::vector<Ref<Session>>);
template void Catalog::load(std::vector<Ref<SessionToken>>);
template void Catalog::put(Workspace);
template void Catalog::put(ApiKey);
template void Catalog::put(Vault);
template void Catalog::put(Credential);
template void Catalog::put(Grant);
template void Catalog::put(Rotation);
template void Catalog::put(ConnectFlow);
template void Catalog::put(OauthClient);
template void Catalog::put(WebhookEndpoint);
template void Catalog::put(OutboxItem);
template void Catalog::put(Operation);
template void Catalog::put(Shredding);
template void Catalog::put(Environment);
template void Catalog::put(Agent);
template void Catalog::put(Session);
template void Catalog::put(SessionToken);
template void Catalog::erase<ApiKey>(const base::ApiKeyId&);
template void Catalog::erase<Vault>(const base::VaultId&);
template void Catalog::erase<Credential>(const base::CredentialId&);
template void Catalog::erase<Grant>(const base::CredentialId&);
template void Catalog::erase<Rotation>(const base::CredentialId&);
template void Catalog::erase<ConnectFlow>(const base::ConnectLinkId&);
template void Catalog::erase<OauthClient>(const base::OauthClientId&);
template void Catalog::erase<WebhookEndpoint>(const base::WebhookEndpointId&);
template void Catalog::erase<OutboxItem>(const base::OutboxItemId&);
template void Catalog::erase<Environment>(const base::EnvironmentId&);
template void Catalog::erase<Session>(const base::SessionId&);
template void Catalog::erase<SessionToken>(const base::SessionTokenId&);

}  // namespace claviger::vault
