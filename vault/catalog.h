// Every object's metadata in memory, as of the newest commit.
#pragma once

#include "base/result.h"
#include "vault/model.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace claviger::vault {

template <class T>
using Ref = std::shared_ptr<const T>;  // two owners: the catalog, and whoever still reads an older version

/// Kinds of which there may be a million. A start takes in their rows, and opens each when somebody first
/// asks for its object (decision 0020).
template <class T>
inline constexpr bool kOpenedOnUse = std::is_same_v<T, Credential> || std::is_same_v<T, Grant>;

/// An object as the start found it, and what of it has to be known before it is opened.
template <class T>
struct StoredObject {
    decltype(T::id) id;
    base::RawId scope{};
    std::uint64_t created_seq = 0;
    Ref<T> object = {};                           // null: not opened
    std::unique_ptr<const base::Bytes> row = {};  // then: as it was read and summed
};
/// Opens such a row. Any thread, several at once.
template <class T>
using ObjectOpener = std::function<base::Result<T>(const decltype(T::id)& id, base::ByteView row)>;

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
/// disk has the change. Reads never wait for a disk, but for the key of a vault that nobody used since the
/// start. A row that does not open then is as good as none, and told in Claviger's own log: it was whole at
/// the start, so its vault's key has gone or the disk cannot be read.
class Catalog {
public:
    using Age = std::pair<base::RawId, std::uint64_t>;  // an object's scope and created_seq

    template <class T>
    Ref<T> find(const decltype(T::id)& id) const {
        if constexpr (kOpenedOnUse<T>) {
            if (auto opened = opened_already<T>(id)) return std::move(*opened);
            return open<T>(id);
        } else {
            return opened_already<T>(id).value_or(nullptr);
        }
    }

    /// Up to `limit` + 1 objects: one more than asked means that there is a next page. Not one snapshot: the
    /// lock is given up every kStretch objects, so that a search through many does not hold up commits.
    template <class T>
    std::vector<Ref<T>> page(const PageQuery<T>& query) const {
        std::vector<Ref<T>> found;
        visit_in_order(query, std::min(query.limit, kStretch - 1) + 1, [&](const Ref<T>& object) {
            if (!query.wanted || query.wanted(*object)) found.push_back(object);
            return found.size() <= query.limit;
        });
        return found;
    }

    /// Every object of that scope, oldest first; not one snapshot either. `use` takes a const T&.
    template <class T, class Use>
    void each(const base::RawId& scope, const Use& use) const {
        const PageQuery<T> query{.scope = scope, .order = PageQuery<T>::Order::oldest_first};
        visit_in_order(query, kStretch, [&](const Ref<T>& object) {
            use(*object);
            return true;
        });
    }

    /// The next `most` objects of whatever scope behind `place`, which moves on; it is empty again behind the
    /// last one. For looking at all of them bit by bit.
    template <class T, class Use>
        requires(!kOpenedOnUse<T>)
    void walk(std::optional<Age>& place, std::size_t most, const Use& use) const {
        std::vector<Ref<T>> found;
        {
            const std::shared_lock lock(mutex_);
            const auto& [by_id, by_age, opener] = table<T>();
            auto at = place ? by_age.upper_bound(*place) : by_age.begin();
            for (; at != by_age.end() && found.size() < most; ++at) {
                place = at->first;
                found.push_back(by_id.at(at->second).object);
            }
            if (at == by_age.end()) place.reset();
        }
        for (const auto& object : found) use(*object);
    }

    /// The ids of that scope's objects, opened or not.
    template <class T>
    std::vector<decltype(T::id)> ids_of(const base::RawId& scope) const {
        const std::shared_lock lock(mutex_);
        std::vector<decltype(T::id)> ids;
        const auto& by_age = table<T>().by_age;
        for (auto at = by_age.lower_bound({scope, 0}); at != by_age.end() && at->first.first == scope; ++at)
            ids.push_back(at->second);
        return ids;
    }

    /// Every object of that kind that is wanted, in no order. One snapshot: for kinds of which there are few.
    template <class T>
        requires(!kOpenedOnUse<T>)
    std::vector<Ref<T>> all(const std::function<bool(const T&)>& wanted) const {
        const std::shared_lock lock(mutex_);
        std::vector<Ref<T>> found;
        for (const auto& [id, held] : table<T>().by_id)
            if (wanted(*held.object)) found.push_back(held.object);
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

    /// Takes in all objects of a kind, before anybody reads and while there is none of it. `opener` is for
    /// those that are not opened.
    template <class T>
    void load(std::vector<StoredObject<T>> objects, ObjectOpener<T> opener);
    template <class T>
    void put(T object);
    template <class T>
    void erase(const T& object);

private:
    template <class T>
    struct Held {
        Ref<T> object;  // null: nobody asked for it yet, and `row` is what it is in
        std::unique_ptr<const base::Bytes> row = {};
    };
    template <class T>
    struct Table {
        std::unordered_map<decltype(T::id), Held<T>, base::IdHash> by_id;
        std::map<Age, decltype(T::id)> by_age;
        ObjectOpener<T> opener;  // set before anybody reads
    };
    struct DigestHash {
        std::size_t operator()(const crypto::Digest& digest) const;
    };
    static constexpr std::size_t kStretch = 1'024;

    /// Null: there is none. Nothing: it is there and not opened.
    template <class T>
    std::optional<Ref<T>> opened_already(const decltype(T::id)& id) const {
        const std::shared_lock lock(mutex_);
        const auto& rows = table<T>().by_id;
        const auto found = rows.find(id);
        if (found == rows.end()) return Ref<T>();
        if (found->second.object) return found->second.object;
        return std::nullopt;
    }
    /// Null when there is none, or its row does not open. Without the lock while it opens.
    template <class T>
        requires kOpenedOnUse<T>
    Ref<T> open(const decltype(T::id)& id) const;

    template <class T>
    struct Listed {
        decltype(T::id) id;
        std::uint64_t created_seq;
        Ref<T> object;  // null: not opened yet
    };
    /// The next objects behind `after`, at most so many.
    template <class T>
    std::vector<Listed<T>> next_stretch(const PageQuery<T>& query, const std::optional<std::uint64_t>& after,
                                        std::size_t most) const {
        std::vector<Listed<T>> stretch;
        const std::shared_lock lock(mutex_);
        const auto& [by_id, by_age, opener] = table<T>();
        const auto visit = [&](const auto& entry) {
            const auto& [age, id] = entry;
            if (age.first != query.scope || stretch.size() == most) return false;
            stretch.push_back({id, age.second, by_id.at(id).object});
            return true;
        };
        if (query.order == PageQuery<T>::Order::oldest_first) {
            auto at = after ? by_age.upper_bound(Age{query.scope, *after})
                            : by_age.lower_bound(Age{query.scope, 0});
            while (at != by_age.end() && visit(*at)) ++at;
        } else {
            auto at = after ? by_age.lower_bound(Age{query.scope, *after})
                            : by_age.upper_bound(Age{query.scope, ~std::uint64_t{0}});
            while (at != by_age.begin() && visit(*--at)) {
            }
        }
        return stretch;
    }

    /// What the query's order brings behind its `after`, opened, until `visit` gives false. `first`: how many
    /// are listed at once to begin with; later kStretch.
    template <class T, class Visit>
    void visit_in_order(const PageQuery<T>& query, std::size_t first, const Visit& visit) const {
        auto after = query.after;
        for (auto most = first;; most = kStretch) {
            const auto stretch = next_stretch(query, after, most);
            for (const auto& each : stretch) {
                after = each.created_seq;
                const auto object = each.object ? each.object : find<T>(each.id);
                if (object && !visit(object)) return;
            }
            if (stretch.size() < most) return;
        }
    }

    template <class T>
    Table<T>& table() const {
        return std::get<Table<T>>(tables_);
    }

    mutable std::shared_mutex mutex_;
    // Opening an object alters what holds it, and nothing that anybody can see.
    mutable std::tuple<Table<Workspace>, Table<ApiKey>, Table<Vault>, Table<Credential>, Table<Grant>,
                       Table<Rotation>, Table<ConnectFlow>, Table<OauthClient>, Table<WebhookEndpoint>,
                       Table<OutboxItem>, Table<Operation>, Table<Shredding>, Table<Environment>,
                       Table<Agent>, Table<Session>, Table<SessionToken>>
        tables_;
    std::unordered_map<crypto::Digest, base::ApiKeyId, DigestHash> api_keys_by_hash_;
    std::unordered_map<crypto::Digest, base::SessionTokenId, DigestHash> session_tokens_by_hash_;
    std::atomic<std::uint64_t> revision_{1};
};

}  // namespace claviger::vault
