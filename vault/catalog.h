// Every object's metadata in memory, as of the newest commit. Reads never wait for a disk.
#pragma once

#include "vault/model.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace claviger::vault {

template <class T>
using Ref = std::shared_ptr<const T>;  // two owners: the catalog, and whoever still reads an older version

/// How a page of a list is cut. Lists are ordered by creation.
template <class T>
struct PageQuery {
    base::RawId scope{};  // a workspace; of credentials a vault, of session tokens a session
    enum class Order { newest_first, oldest_first } order = Order::newest_first;
    std::optional<std::uint64_t> after = {};  // created_seq of the last object of the page before
    std::size_t limit = 20;
    std::function<bool(const T&)> wanted = {};  // empty: all
};

/// Thread safety: every member, any thread. Only the ledger's commit thread calls put and erase, after the
/// disk has the change.
class Catalog {
public:
    template <class T>
    Ref<T> find(const decltype(T::id)& id) const {
        const std::shared_lock lock(mutex_);
        const auto& rows = table<T>().by_id;
        const auto found = rows.find(id);
        return found == rows.end() ? nullptr : found->second;
    }

    /// Up to `limit` + 1 objects: one more than asked means that there is a next page. Not one snapshot: the
    /// lock is given up every kStretch objects, so that a search through many does not hold up commits.
    template <class T>
    std::vector<Ref<T>> page(const PageQuery<T>& query) const {
        std::vector<Ref<T>> found;
        auto after = query.after;
        while (page_stretch(query, after, found)) {
        }
        return found;
    }

    /// Every object of that kind that is wanted, in no order. One snapshot: for kinds of which there are few.
    template <class T>
    std::vector<Ref<T>> all(const std::function<bool(const T&)>& wanted) const {
        const std::shared_lock lock(mutex_);
        std::vector<Ref<T>> found;
        for (const auto& [id, object] : table<T>().by_id)
            if (wanted(*object)) found.push_back(object);
        return found;
    }

    template <class T>
    std::size_t count() const {
        const std::shared_lock lock(mutex_);
        return table<T>().by_id.size();
    }

    Ref<ApiKey> api_key_by_hash(const crypto::Digest& hash) const;
    Ref<SessionToken> session_token_by_hash(const crypto::Digest& hash) const;

    /// Grows with every change that may alter what an existing session may do. One relaxed load on the hot
    /// path.
    std::uint64_t revision() const { return revision_.load(std::memory_order_acquire); }

    /// Takes in all objects of a kind, before anybody reads and while there is none of it.
    template <class T>
    void load(std::vector<Ref<T>> objects);
    template <class T>
    void put(T object);
    template <class T>
    void erase(const decltype(T::id)& id);

private:
    template <class T>
    struct Table {
        std::unordered_map<decltype(T::id), Ref<T>, base::IdHash> by_id;
        std::map<std::pair<base::RawId, std::uint64_t>, decltype(T::id)> by_age;
    };
    struct DigestHash {
        std::size_t operator()(const crypto::Digest& digest) const;
    };
    static constexpr std::size_t kStretch = 1'024;

    /// Goes on behind `after` and moves it; false when the page is full or the list ends.
    template <class T>
    bool page_stretch(const PageQuery<T>& query, std::optional<std::uint64_t>& after,
                      std::vector<Ref<T>>& found) const {
        const std::shared_lock lock(mutex_);
        const auto& [by_id, by_age] = table<T>();
        std::size_t left = kStretch;
        const auto visit = [&](const auto& entry) {
            if (entry.first.first != query.scope) return false;
            after = entry.first.second;
            const auto& object = by_id.at(entry.second);
            if (!query.wanted || query.wanted(*object)) found.push_back(object);
            return found.size() <= query.limit && --left > 0;
        };
        using Key = std::pair<base::RawId, std::uint64_t>;
        if (query.order == PageQuery<T>::Order::oldest_first) {
            auto at = after ? by_age.upper_bound(Key{query.scope, *after})
                            : by_age.lower_bound(Key{query.scope, 0});
            while (at != by_age.end() && visit(*at)) ++at;
        } else {
            auto at = after ? by_age.lower_bound(Key{query.scope, *after})
                            : by_age.upper_bound(Key{query.scope, ~std::uint64_t{0}});
            while (at != by_age.begin() && visit(*--at)) {
            }
        }
        return left == 0 && found.size() <= query.limit;
    }

    template <class T>
    Table<T>& table() {
        return std::get<Table<T>>(tables_);
    }
    template <class T>
    const Table<T>& table() const {
        return std::get<Table<T>>(tables_);
    }

    mutable std::shared_mutex mutex_;
    std::tuple<Table<Workspace>, Table<ApiKey>, Table<Vault>, Table<Credential>, Table<Grant>,
               Table<Rotation>, Table<ConnectFlow>, Table<OauthClient>, Table<WebhookEndpoint>,
               Table<OutboxItem>, Table<Operation>, Table<Shredding>, Table<Environment>, Table<Agent>,
               Table<Session>, Table<SessionToken>>
        tables_;
    std::unordered_map<crypto::Digest, base::ApiKeyId, DigestHash> api_keys_by_hash_;
    std::unordered_map<crypto::Digest, base::SessionTokenId, DigestHash> session_tokens_by_hash_;
    std::atomic<std::uint64_t> revision_{1};
};

}  // namespace claviger::vault
