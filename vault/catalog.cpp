#include "vault/catalog.h"

#include "base/log.h"
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
    return found == api_keys_by_hash_.end() ? nullptr : table<ApiKey>().by_id.at(found->second).object;
}

Ref<SessionToken> Catalog::session_token_by_hash(const crypto::Digest& hash) const {
    const std::shared_lock lock(mutex_);
    const auto found = session_tokens_by_hash_.find(hash);
    return found == session_tokens_by_hash_.end() ? nullptr
                                                  : table<SessionToken>().by_id.at(found->second).object;
}

template <class T>
void Catalog::load(std::vector<StoredObject<T>> objects, ObjectOpener<T> opener) {
    const std::unique_lock lock(mutex_);
    auto& [by_id, by_age, opens] = table<T>();
    opens = std::move(opener);
    using Aged = std::pair<Age, decltype(T::id)>;
    std::vector<Aged> aged;
    aged.reserve(objects.size());
    for (const auto& each : objects) aged.push_back({{each.scope, each.created_seq}, each.id});
    const auto index_by_age = [&] {
        // An ordered map takes in what comes in its order at once, and what does not by a search each.
        std::ranges::sort(aged, {}, &Aged::first);
        for (const auto& [age, id] : aged) by_age.emplace_hint(by_age.end(), age, id);
    };
    const auto index_by_id = [&] {
        by_id.reserve(objects.size());
        for (auto& [id, scope, created_seq, object, row] : objects) {
            if constexpr (std::is_same_v<T, ApiKey>) api_keys_by_hash_[object->hash] = id;
            if constexpr (std::is_same_v<T, SessionToken>) session_tokens_by_hash_[object->hash] = id;
            by_id.emplace(id, Held<T>{std::move(object), std::move(row)});
        }
    };
    in_pieces(2, [&](std::size_t piece) { piece == 0 ? index_by_age() : index_by_id(); });
}

template <class T>
    requires kOpenedOnUse<T>
Ref<T> Catalog::open(const decltype(T::id)& id) const {
    auto& [by_id, by_age, opener] = table<T>();
    base::Bytes row;
    {
        const std::shared_lock lock(mutex_);
        const auto found = by_id.find(id);
        if (found == by_id.end()) return nullptr;
        if (found->second.object) return found->second.object;
        row = *found->second.row;
    }
    std::shared_ptr<const T> object;
    base::Error problem;
    if (auto opened = opener(id, row))
        object = std::make_shared<const T>(*std::move(opened));
    else
        problem = std::move(opened).error();
    {
        const std::unique_lock lock(mutex_);
        const auto found = by_id.find(id);
        if (found == by_id.end()) return nullptr;
        auto& held = found->second;
        if (held.object) return held.object;  // somebody else opened or replaced it meanwhile
        if (object) {
            held.row.reset();
            return held.object = std::move(object);
        }
    }
    base::log_error("object.unreadable", problem);
    return nullptr;
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
        auto& [by_id, by_age, opener] = table<T>();
        by_age[{ref->scope(), ref->created_seq}] = id;
        const auto [place, is_new] = by_id.insert_or_assign(id, Held<T>{std::move(ref)});
        if constexpr (kUnseenByCalls<T>) return;
        if (is_new && harmless_when_new) return;
    }
    revision_.fetch_add(1, std::memory_order_release);
}

template <class T>
void Catalog::erase(const T& object) {
    {
        const std::unique_lock lock(mutex_);
        auto& [by_id, by_age, opener] = table<T>();
        if (by_id.erase(object.id) == 0) return;
        if constexpr (std::is_same_v<T, ApiKey>) api_keys_by_hash_.erase(object.hash);
        if constexpr (std::is_same_v<T, SessionToken>) session_tokens_by_hash_.erase(object.hash);
        by_age.erase({object.scope(), object.created_seq});
        if constexpr (kUnseenByCalls<T>) return;
    }
    revision_.fetch_add(1, std::memory_order_release);
}

template Ref<Credential> Catalog::open<Credential>(const base::CredentialId&) const;
template Ref<Grant> Catalog::open<Grant>(const base::CredentialId&) const;
template void Catalog::load(std::vector<StoredObject<Workspace>>, ObjectOpener<Workspace>);
template void Catalog::load(std::vector<StoredObject<ApiKey>>, ObjectOpener<ApiKey>);
template void Catalog::load(std::vector<StoredObject<Vault>>, ObjectOpener<Vault>);
template void Catalog::load(std::vector<StoredObject<Credential>>, ObjectOpener<Credential>);
template void Catalog::load(std::vector<StoredObject<Grant>>, ObjectOpener<Grant>);
template void Catalog::load(std::vector<StoredObject<Rotation>>, ObjectOpener<Rotation>);
template void Catalog::load(std::vector<StoredObject<ConnectFlow>>, ObjectOpener<ConnectFlow>);
template void Catalog::load(std::vector<StoredObject<OauthClient>>, ObjectOpener<OauthClient>);
template void Catalog::load(std::vector<StoredObject<WebhookEndpoint>>, ObjectOpener<WebhookEndpoint>);
template void Catalog::load(std::vector<StoredObject<OutboxItem>>, ObjectOpener<OutboxItem>);
template void Catalog::load(std::vector<StoredObject<Operation>>, ObjectOpener<Operation>);
template void Catalog::load(std::vector<StoredObject<Shredding>>, ObjectOpener<Shredding>);
template void Catalog::load(std::vector<StoredObject<Environment>>, ObjectOpener<Environment>);
template void Catalog::load(std::vector<StoredObject<Agent>>, ObjectOpener<Agent>);
template void Catalog::load(std::vector<StoredObject<Session>>, ObjectOpener<Session>);
template void Catalog::load(std::vector<StoredObject<SessionToken>>, ObjectOpener<SessionToken>);
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
template void Catalog::erase(const ApiKey&);
template void Catalog::erase(const Vault&);
template void Catalog::erase(const Credential&);
template void Catalog::erase(const Grant&);
template void Catalog::erase(const Rotation&);
template void Catalog::erase(const ConnectFlow&);
template void Catalog::erase(const OauthClient&);
template void Catalog::erase(const WebhookEndpoint&);
template void Catalog::erase(const OutboxItem&);
template void Catalog::erase(const Environment&);
template void Catalog::erase(const Session&);
template void Catalog::erase(const SessionToken&);

}  // namespace claviger::vault
