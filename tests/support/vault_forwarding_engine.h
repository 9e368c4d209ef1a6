// A storage engine that hands everything on to another: what engines for tests change, they override.
#pragma once

#include "vault/storage_engine.h"

namespace claviger::test {

/// Around an engine that outlives it. Thread safety: that of the engine inside.
class ForwardingEngine : public vault::StorageEngine {
public:
    explicit ForwardingEngine(vault::StorageEngine& inner) : inner_(inner) {}

    base::Result<std::optional<vault::Row>> get(vault::Table table, base::ByteView key) const override {
        return inner_.get(table, key);
    }
    base::Status scan(vault::Table table, base::ByteView prefix, base::ByteView from, vault::Order order,
                      const vault::Visitor& visit) const override {
        return inner_.scan(table, prefix, from, order, visit);
    }
    base::Status commit(std::uint64_t commit_seq, const vault::Batch& batch) override {
        return inner_.commit(commit_seq, batch);
    }
    std::uint64_t last_commit() const override { return inner_.last_commit(); }
    base::Status recover() override { return inner_.recover(); }
    base::Status changes_after(std::uint64_t commit_seq, const vault::ChangeVisitor& visit) const override {
        return inner_.changes_after(commit_seq, visit);
    }
    base::Status checkpoint(const std::filesystem::path& directory) override {
        return inner_.checkpoint(directory);
    }
    base::Status purge_erased(const std::vector<KeyPrefix>& prefixes) override {
        return inner_.purge_erased(prefixes);
    }

protected:
    vault::StorageEngine& inner_;
};

}  // namespace claviger::test
