// The answers that connect an account, on disk before anybody reads them: a code is good once, and so is what
// came for it (oauth.md 9.3 row 4, 10).
#pragma once

#include "net/worker.h"
#include "oauth/exchange.h"
#include "oauth/journal.h"
#include "vault/catalog.h"
#include "vault/model.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

namespace boost::asio {
class thread_pool;
}

namespace claviger::oauth {

/// An answer lies here under the id of its link, from before it is read until what it brought is stored or
/// given back. Thread safe. Nothing blocks a worker: the disk has a thread of its own.
class ConnectJournal {
public:
    /// Takes over what an earlier process has left. Blocks for the disk. Unavailable "journal.folder".
    static base::Result<std::unique_ptr<ConnectJournal>> open(Journal journal);
    ~ConnectJournal();  // after the workers have stopped
    ConnectJournal(const ConnectJournal&) = delete;
    ConnectJournal& operator=(const ConnectJournal&) = delete;

    /// Room for the answer, before its code leaves. Errors: those of Journal::take_room.
    net::awaitable<base::Status> take_room(net::Worker& worker, base::ConnectLinkId id);
    /// On disk when this succeeds. Errors: those of Journal::write.
    net::awaitable<base::Status> keep(net::Worker& worker, const vault::ConnectFlow& flow,
                                      const ExchangeAnswer& answer);
    /// Nothing when there is none. Errors: those of Journal::read.
    net::awaitable<base::Result<std::optional<ExchangeAnswer>>> read(net::Worker& worker,
                                                                     base::ConnectLinkId id);
    /// The answer has found its end. A file that cannot be removed is found again by the next start.
    net::awaitable<void> drop(net::Worker& worker, base::ConnectLinkId id);

    /// Nothing can be done with it; the file stays.
    void give_up(const base::ConnectLinkId& id);
    /// The answer has to wait: whoever looks after links takes it up again.
    void leave(const base::ConnectLinkId& id);
    std::vector<base::ConnectLinkId> left() const;
    bool has_left(const base::ConnectLinkId& id) const;
    /// Takes away, as Journal::discard_orphans does, what was left for links that are gone and could not be
    /// opened when it was taken up. Blocks for the disk.
    void sweep(const vault::Catalog& catalog, base::Time now);
    /// As Journal::uses.
    base::Result<bool> uses(const base::VaultId& vault, std::uint64_t generation) const {
        return journal_.uses(vault, generation);
    }

private:
    explicit ConnectJournal(Journal journal);

    const Journal journal_;
    mutable std::mutex mutex_;  // guards the next one
    std::set<base::ConnectLinkId> left_;
    std::unique_ptr<boost::asio::thread_pool> disk_;  // last: joined before what its work uses goes away
};

}  // namespace claviger::oauth
