#include "oauth/connect_journal.h"

#include "base/log.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <functional>
#include <utility>

namespace claviger::oauth {
namespace {

using net::awaitable;

constexpr std::size_t kLongestType = 256;

JournalEntry entry_of(const vault::ConnectFlow& flow, const ExchangeAnswer& answer) {
    JournalEntry entry{.attempt = flow.id.raw,
                       .credential = {},
                       .workspace = flow.workspace,
                       .vault = flow.vault,
                       .sent_at = answer.sent_at,
                       .status = answer.status,
                       .content_type = std::string(answer.header("Content-Type").substr(0, kLongestType)),
                       .body = crypto::Secret::copy_of(answer.body)};
    if (flow.wish.credential) entry.credential = *flow.wish.credential;
    return entry;
}

ExchangeAnswer answer_of(const JournalEntry& entry) {
    ExchangeAnswer answer;
    answer.delivery = Delivery::complete;
    answer.status = entry.status;
    answer.headers.add("Content-Type", entry.content_type);
    entry.body.expose([&](std::span<const std::byte> bytes) {
        answer.body.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    answer.sent_at = answer.came_at = entry.sent_at;
    return answer;
}

}  // namespace

ConnectJournal::ConnectJournal(Journal journal)
    : journal_(std::move(journal)), disk_(std::make_unique<boost::asio::thread_pool>(1)) {}

ConnectJournal::~ConnectJournal() { disk_->join(); }

base::Result<std::unique_ptr<ConnectJournal>> ConnectJournal::open(Journal journal) {
    std::unique_ptr<ConnectJournal> opened(new ConnectJournal(std::move(journal)));
    const auto attempts = opened->journal_.attempts();
    if (!attempts) return std::unexpected(attempts.error());
    for (const auto& attempt : *attempts) opened->left_.insert(base::ConnectLinkId{attempt});
    return opened;
}

awaitable<base::Status> ConnectJournal::take_room(net::Worker& worker, base::ConnectLinkId id) {
    co_return co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
        boost::asio::post(*disk_, [&, done = std::move(done)] { done(journal_.take_room(id.raw)); });
    });
}

awaitable<base::Status> ConnectJournal::keep(net::Worker& worker, const vault::ConnectFlow& flow,
                                             const ExchangeAnswer& answer) {
    const auto entry = entry_of(flow, answer);
    co_return co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
        boost::asio::post(*disk_, [&, done = std::move(done)] { done(journal_.write(entry)); });
    });
}

awaitable<base::Result<std::optional<ExchangeAnswer>>> ConnectJournal::read(net::Worker& worker,
                                                                            base::ConnectLinkId id) {
    using Read = std::shared_ptr<base::Result<std::optional<JournalEntry>>>;  // of the disk's thread and ours
    const auto entry = co_await net::await_callback<Read>(worker, [&](std::function<void(Read)> done) {
        boost::asio::post(*disk_, [this, id, done = std::move(done)] {
            done(std::make_shared<base::Result<std::optional<JournalEntry>>>(journal_.read(id.raw)));
        });
    });
    if (!*entry) co_return std::unexpected(entry->error());
    if (!**entry) co_return std::nullopt;
    co_return std::optional(answer_of(***entry));
}

awaitable<void> ConnectJournal::drop(net::Worker& worker, base::ConnectLinkId id) {
    const auto gone =
        co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
            boost::asio::post(*disk_, [this, id, done = std::move(done)] { done(journal_.discard(id.raw)); });
        });
    if (!gone) base::log_error("connect.journal_kept", gone.error());
    give_up(id);
}

void ConnectJournal::give_up(const base::ConnectLinkId& id) {
    const std::lock_guard lock(mutex_);
    left_.erase(id);
}

void ConnectJournal::leave(const base::ConnectLinkId& id) {
    const std::lock_guard lock(mutex_);
    left_.insert(id);
}

void ConnectJournal::sweep(const vault::Catalog& catalog, base::Time now) {
    std::vector<base::ConnectLinkId> gone;
    const auto orphans = journal_.discard_orphans(
        [&](const JournalOwner& owner) {
            const base::ConnectLinkId id{owner.attempt};
            if (catalog.find<vault::ConnectFlow>(id) != nullptr) return true;
            gone.push_back(id);
            return false;
        },
        now);
    if (!orphans) return base::log_error("connect.journal_not_swept", orphans.error());
    for (const auto& id : gone) give_up(id);
    if (*orphans != 0) base::log(base::LogLevel::info, "connect.journal_swept", {{"answers", *orphans}});
}

std::vector<base::ConnectLinkId> ConnectJournal::left() const {
    const std::lock_guard lock(mutex_);
    return {left_.begin(), left_.end()};
}

bool ConnectJournal::has_left(const base::ConnectLinkId& id) const {
    const std::lock_guard lock(mutex_);
    return left_.contains(id);
}

}  // namespace claviger::oauth
