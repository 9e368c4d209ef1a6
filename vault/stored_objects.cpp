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
    std::vector<Ref<T>>& list() {
        return std::get<std::vector<Ref<T>>>(lists_);
    }
    const std::optional<base::Error>& refused() const { return refused_; }

private:
    /// Whether the list is that of the row's kind.
    template <class T>
    bool read_into(std::vector<Ref<T>>& list, ByteView key, ByteView row) {
        if (static_cast<MetaKind>(key[0]) != kMetaKind<T>) return false;
        const auto plaintext = opener_.open(key, row);
        if (!plaintext) {
            refused_ = plaintext.error();
            return true;
        }
        auto object = decode_object<T>(*plaintext);
        if (object && object->id.key() == key.substr(1))
            list.push_back(std::make_shared<const T>(*std::move(object)));
        else
            refused_ = malformed_row(key);
        return true;
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
    std::vector<Ref<T>> objects;
    std::size_t count = 0;
    for (const auto& part : parts_) count += part->template list<T>().size();
    objects.reserve(count);
    for (const auto& part : parts_) std::ranges::move(part->template list<T>(), std::back_inserter(objects));
    if constexpr (std::is_same_v<T, Vault>)
        for (const auto& vault : objects) keys_.use_generation(vault->id.raw, vault->generation());
    catalog.load(std::move(objects));
}

}  // namespace claviger::vault
