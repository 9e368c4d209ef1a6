#include "vault/log_writer.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr std::size_t kKnownNames = 1 << 14;

std::size_t slot_of(const Fingerprint& fingerprint) {
    std::size_t hash;
    std::memcpy(&hash, fingerprint.data(), sizeof hash);
    return hash % kKnownNames;
}

}  // namespace

LogWriter::LogWriter(const StorageEngine* engine, KeyRing& keys)
    : engine_(engine),
      keys_(keys),
      prf_(keys.derived(crypto::Purpose::row_sums)),
      known_names_(kKnownNames) {}

base::Result<std::unique_ptr<LogWriter>> LogWriter::load(const StorageEngine& engine, KeyRing& keys) {
    auto row = read_head_row(engine);
    if (!row) return std::unexpected(std::move(row).error());
    auto head = open_head(keys, engine.last_commit(), *row);
    if (!head) return std::unexpected(std::move(head).error());
    auto tree = LogTree::load(engine, head->frontier);
    if (!tree) return std::unexpected(std::move(tree).error());
    auto writer = std::make_unique<LogWriter>(&engine, keys);
    writer->commit_seq_ = head->commit_seq;
    writer->last_entry_ = head->last_entry;
    writer->sums_ = head->sums;
    writer->tree_ = std::move(*tree);
    writer->head_row_ = std::move(*row);
    return writer;
}

base::Time LogWriter::begin(base::Time now) {
    now_ = std::max({now, last_entry_, base::Time{}});
    return now_;
}

base::Result<const KeyRing::OwnerKey*> LogWriter::day_key(std::uint64_t day, Batch& batch) {
    if (day_key_ && day == day_) return day_key_.get();
    const auto owner = day_owner(day);
    day_key_ = nullptr;
    if (engine_ != nullptr) {
        auto known = keys_.owner_key(*engine_, {}, owner, kFirstGeneration);
        if (!known && known.error().kind != ErrorKind::not_found)
            return std::unexpected(std::move(known).error());
        if (known) day_key_ = std::move(*known);
    }
    if (!day_key_) day_key_ = keys_.create_owner_key({}, owner, next_commit(), now_, batch);
    day_ = day;
    return day_key_.get();
}

base::Status LogWriter::append(std::span<LogEntry> entries, Batch& batch) {
    if (entries.empty()) return {};
    const auto key = day_key(day_of(now_), batch);
    if (!key) return std::unexpected(key.error());
    last_entry_ = now_;
    while (!entries.empty()) {
        const auto group = entries.first(std::min(entries.size(), kRowEntries));
        entries = entries.subspan(group.size());
        const auto first = tree_.size();
        for (std::size_t i = 0; i < group.size(); ++i) {
            group[i].position = first + i;
            group[i].time = now_;
        }
        Bytes row = seal_entries(keys_, **key, group, next_commit());
        const RowLeaves leaves(row);
        for (std::size_t i = 0; i < group.size(); ++i) tree_.append(leaves.at(i), batch);
        batch.put(Table::log, log_key(first), std::move(row));
    }
    return {};
}

base::Status LogWriter::learn(const NamedFingerprint& name, Batch& batch) {
    if (name.name.empty() || name.name.size() > kMaxNameBytes || name.fingerprint == Fingerprint{}) return {};
    auto& known = known_names_[slot_of(name.fingerprint)];
    if (known == name.fingerprint) return {};
    const auto row = engine_->get(Table::name, id_view(name.fingerprint));
    if (!row) return std::unexpected(row.error());
    if (!*row) {
        const auto key = keys_.owner_key(*engine_, {}, keys_.instance(), kFirstGeneration);
        if (!key) return std::unexpected(key.error());
        batch.put(Table::name, id_view(name.fingerprint),
                  seal_name(keys_, **key, name, {next_commit(), unix_millis(now_)}));
    }
    known = name.fingerprint;
    return {};
}

base::Status LogWriter::account(const Batch& batch) {
    std::vector<const Batch::Write*> summed;
    for (const auto& write : batch.writes())
        if (is_summed(write.table, write.key)) summed.push_back(&write);
    const auto place = [](const Batch::Write* write) { return std::tie(write->table, write->key); };
    std::ranges::sort(summed, [&](const auto* a, const auto* b) {
        return place(a) < place(b) || (place(a) == place(b) && a < b);  // writes to one row in their order
    });

    for (std::size_t i = 0; i < summed.size(); ++i) {
        const auto& write = *summed[i];
        if (i + 1 < summed.size() && place(summed[i + 1]) == place(summed[i]))
            continue;  // a later write wins
        if (write.was) {
            if (write.was->version != 0) sums_.subtract(prf_, write.table, write.key, write.was->value);
        } else if (engine_ != nullptr) {
            const auto old = engine_->get(write.table, write.key);
            if (!old) return std::unexpected(old.error());
            if (*old) sums_.subtract(prf_, write.table, write.key, (*old)->value);
        }
        if (write.value) sums_.add(prf_, write.table, write.key, *write.value);
    }
    return {};
}

base::Status LogWriter::finish(Batch& batch) {
    if (auto accounted = account(batch); !accounted) return accounted;
    ++commit_seq_;
    head_row_ = seal_head(keys_, {commit_seq_, last_entry_, sums_, tree_.frontier()});
    batch.put(Table::state, kHeadKey, head_row_);
    if (commit_seq_ % kFeedTrimEvery == 0 && commit_seq_ > kFeedCommits)
        batch.trim_feed(commit_seq_ - kFeedCommits);
    return {};
}

}  // namespace claviger::vault
