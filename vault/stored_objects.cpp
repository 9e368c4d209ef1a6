#include "vault/stored_objects.h"

#include "vault/sealed_rows.h"

#include <algorithm>
#include <iterator>

namespace claviger::vault {

/// The objects of one range of keys. One thread's at a time.
class StoredObjects::Part {
public:
    Part(const StorageEngine& engine, const KeyRing& keys) : opener_(engine, keys) {}

    /// Does nothing behind the first row that is refused.
    void read(ByteView key, ByteView row) {
        if (refused_ || key.empty()) return;
        std::apply([&](auto&... lists) { (read_into(lists, key, row) || ...); }, lists_);
    }
    template <class T>
    std::vector<StoredObject<T>>& list() {
        return std::get<std::vector<StoredObject<T>>>(lists_);
    }
    const std::optional<base::Error>& refused() const { return refused_; }

private:
    /// Whether the list is that of the row's kind.
    template <class T>
    bool read_into(std::vector<StoredObject<T>>& list, ByteView key, ByteView row) {
        if (static_cast<MetaKind>(key[0]) != kMetaKind<T>) return false;
        auto read = stored_object<T>(key, row);
        if (read)
            list.push_back(*std::move(read));
        else
            refused_ = std::move(read).error();
        return true;
    }

    template <class T>
    base::Result<StoredObject<T>> stored_object(ByteView key, ByteView row) {
        StoredObject<T> stored;
        if constexpr (kOpenedOnUse<T>) {
            const auto header = header_of(row);
            if (key.size() != 1 + stored.id.raw.size() || !header) return std::unexpected(malformed_row(key));
            std::ranges::copy(key.substr(1), stored.id.raw.begin());
            stored.scope = header->vault;
            stored.created_seq = header->created_seq;
            stored.row = std::make_unique<const Bytes>(row);
        } else {
            auto object = open_object<T>(opener_, key, row);
            if (!object) return std::unexpected(std::move(object).error());
            stored.id = object->id;
            stored.scope = object->scope();
            stored.created_seq = object->created_seq;
            stored.object = std::make_shared<const T>(*std::move(object));
        }
        return stored;
    }

    RowOpener opener_;
    Lists lists_;
    std::optional<base::Error> refused_;
};

StoredObjects::StoredObjects(const StorageEngine& engine, KeyRing& keys) : engine_(engine), keys_(keys) {}

StoredObjects::~StoredObjects() = default;

RowReaders StoredObjects::readers() {
    return [this](Table table) -> RowReader {
        if (table != Table::meta) return {};
        auto part = std::make_unique<Part>(engine_, keys_);
        auto& own = *part;
        const std::lock_guard lock(mutex_);
        parts_.push_back(std::move(part));
        return [&own](ByteView key, ByteView row) { own.read(key, row); };
    };
}

base::Status StoredObjects::move_into(Catalog& catalog) {
    for (const auto& part : parts_)
        if (part->refused()) return std::unexpected(*part->refused());
    [&]<class... T>(const ListsOf<T...>*) {
        (move_kind<T>(catalog), ...);
    }(static_cast<const Lists*>(nullptr));
    return {};
}

template <class T>
void StoredObjects::move_kind(Catalog& catalog) {
    std::vector<StoredObject<T>> objects;
    std::size_t count = 0;
    for (const auto& part : parts_) count += part->template list<T>().size();
    objects.reserve(count);
    for (const auto& part : parts_) std::ranges::move(part->template list<T>(), std::back_inserter(objects));
    if constexpr (std::is_same_v<T, Vault>)
        for (const auto& [id, scope, created_seq, vault, row] : objects)
            keys_.use_generation(id.raw, vault->generation());
    catalog.load<T>(std::move(objects), [&engine = engine_, &keys = keys_](const auto& id, ByteView row) {
        RowOpener opener(engine, keys);
        return open_object<T>(opener, meta_key(kMetaKind<T>, id.raw), row);
    });
}

}  // namespace claviger::vault
