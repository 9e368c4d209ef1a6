// A storage engine whose disk somebody else has edited: rows read differently from how they were written.
#pragma once

#include "tests/support/vault_forwarding_engine.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace claviger::test {

/// Around an engine that outlives it. Not thread safe while being edited.
class TamperedEngine final : public ForwardingEngine {
public:
    using ForwardingEngine::ForwardingEngine;

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
        const bool ascending = order == vault::Order::ascending;
        const auto before = [&](base::ByteView a, base::ByteView b) { return ascending ? a < b : a > b; };
        std::vector<std::pair<base::ByteView, const std::optional<vault::Row>*>> edits;
        for (const auto& [place, row] : edits_)
            if (place.first == table && place.second.starts_with(prefix) &&
                (from.empty() || !before(place.second, from)))
                edits.emplace_back(place.second, &row);
        if (!ascending) std::ranges::reverse(edits);
        auto edit = edits.begin();
        bool more = true;
        const auto visit_edit = [&] {
            const auto& [key, row] = *edit++;
            if (*row) more = visit(key, (*row)->value, (*row)->version);
        };
        const auto scanned = inner_.scan(
            table, prefix, from, order, [&](base::ByteView key, base::ByteView value, std::uint64_t version) {
                while (more && edit != edits.end() && before(edit->first, key)) visit_edit();
                if (more && edit != edits.end() && edit->first == key)
                    visit_edit();
                else if (more)
                    more = visit(key, value, version);
                return more;
            });
        while (scanned && more && edit != edits.end()) visit_edit();
        return scanned;
    }
    std::uint64_t last_commit() const override {
        return last_commit_ == 0 ? inner_.last_commit() : last_commit_;
    }

private:
    std::map<std::pair<vault::Table, base::Bytes>, std::optional<vault::Row>> edits_;
    std::uint64_t last_commit_ = 0;
};

}  // namespace claviger::test
