// A storage engine whose disk somebody else has edited: rows read differently from how they were written.
#pragma once

#include "vault/storage_engine.h"

#include <map>

namespace claviger::test {

/// Around an engine that outlives it. Not thread safe while being edited.
class TamperedEngine final : public vault::StorageEngine {
public:
    explicit TamperedEngine(vault::StorageEngine& inner) : inner_(inner) {}

    void replace(vault::Table table, base::ByteView key, vault::Row row) {
        edits_[{table, base::Bytes(key)}] = std::move(row);
    }
    void remove(vault::Table table, base::ByteView key) { edits_[{table, base::Bytes(key)}] = std::nullopt; }
    void pretend_last_commit(std::uint64_t commit_seq) { last_commit_ = commit_seq; }

    base::Result<std::optional<vault::Row>> get(vault::Table table, base::ByteView key) const override {
        const auto edit = edits_.find({table, base::Bytes(key)});
        return edit == edits_.end() ? inner_.get(table, key)
                                    : base::Result<std::optional<vault::Row>>(edit->second);
    }
    base::Status scan(vault::Table table, base::ByteView prefix, base::ByteView from, vault::Order order,
                      const vault::Visitor& visit) const override {
        std::map<base::Bytes, vault::Row> rows;
        const auto scanned = inner_.scan(table, prefix, {}, vault::Order::ascending,
                                         [&](base::ByteView key, base::ByteView value, auto version) {
                                             rows[base::Bytes(key)] = {base::Bytes(value), version};
                                             return true;
                                         });
        if (!scanned) return scanned;
        for (const auto& [place, row] : edits_) {
            if (place.first != table || !place.second.starts_with(prefix)) continue;
            if (row)
                rows[place.second] = *row;
            else
                rows.erase(place.second);
        }
        const auto visit_all = [&](auto begin, auto end) {
            for (auto at = begin; at != end && visit(at->first, at->second.value, at->second.version); ++at) {
            }
        };
        if (order == vault::Order::ascending)
            visit_all(rows.lower_bound(base::Bytes(from)), rows.end());
        else
            visit_all(from.empty() ? rows.rbegin()
                                   : std::make_reverse_iterator(rows.upper_bound(base::Bytes(from))),
                      rows.rend());
        return {};
    }
    base::Status commit(std::uint64_t commit_seq, const vault::Batch& batch) override {
        return inner_.commit(commit_seq, batch);
    }
    std::uint64_t last_commit() const override {
        return last_commit_ == 0 ? inner_.last_commit() : last_commit_;
    }
    base::Status recover() override { return inner_.recover(); }
    base::Status changes_after(std::uint64_t commit_seq, const vault::ChangeVisitor& visit) const override {
        return inner_.changes_after(commit_seq, visit);
    }
    base::Status trim_changes(std::uint64_t commit_seq) override { return inner_.trim_changes(commit_seq); }

private:
    vault::StorageEngine& inner_;
    std::map<std::pair<vault::Table, base::Bytes>, std::optional<vault::Row>> edits_;
    std::uint64_t last_commit_ = 0;
};

}  // namespace claviger::test
