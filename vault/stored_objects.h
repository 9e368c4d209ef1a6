// The objects of a store as it is opened: read while their rows are summed, and believed once the sums are
// right. Kinds that are opened on use stay sealed.
#pragma once

#include "vault/catalog.h"
#include "vault/key_ring.h"
#include "vault/row_sums.h"

#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

namespace claviger::vault {

class StoredObjects {
public:
    /// Both outlive it, and the catalog that it moves into.
    StoredObjects(const StorageEngine& engine, KeyRing& keys);
    ~StoredObjects();

    /// For the one pass over the rows; outlived by this.
    RowReaders readers();

    /// Puts all of them into a catalog that holds none yet, and tells the ring which keys of vaults seal.
    /// Only after the sums were found right. corrupt "envelope.refused" or "row.malformed" with the row in
    /// detail; the catalog is then worth nothing.
    base::Status move_into(Catalog& catalog);

private:
    template <class... T>
    using ListsOf = std::tuple<std::vector<StoredObject<T>>...>;
    using Lists =
        ListsOf<Workspace, ApiKey, Vault, Credential, Grant, Rotation, ConnectFlow, OauthClient,
                WebhookEndpoint, OutboxItem, Operation, Shredding, Environment, Agent, Session, SessionToken>;
    class Part;

    template <class T>
    void move_kind(Catalog& catalog);

    const StorageEngine& engine_;
    KeyRing& keys_;
    std::mutex mutex_;  // over the list, not over its parts
    std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace claviger::vault
