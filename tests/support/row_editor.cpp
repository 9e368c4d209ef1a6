// Edits single rows of a stopped server's store as somebody does who can write to the disk: past the engine,
// so that neither the number of the last commit nor anything else follows.
//   claviger_row_editor STORE rows TABLE                  prints "KEY ROW" lines
//   claviger_row_editor STORE put TABLE KEY ROW [KEY ROW]…
//   claviger_row_editor STORE erase TABLE KEY…
// TABLE is the table's number, KEY and ROW are hex; a ROW begins with the 8 bytes of the commit that wrote
// it, so that one that is put elsewhere, or put back, is the very same
// (docs/decisions/0005-rocksdb-layout.md).
#include "base/bytes.h"
#include "vault/storage_engine.h"

#include <rocksdb/db.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace claviger::vault {
namespace {

[[noreturn]] void complain(const std::string& what) {
    std::cerr << "claviger_row_editor: " << what << '\n';
    std::exit(1);
}

void expect(const rocksdb::Status& status) {
    if (!status.ok()) complain(status.ToString());
}

std::string family_of(Table table) {
    if (table == Table::value || table == Table::log) return table == Table::value ? "value" : "log";
    return table == Table::tile || table == Table::log_index ? "tile" : "default";
}

std::string from_hex(std::string_view text) {
    auto bytes = base::from_hex(text);
    if (!bytes) complain("not hex: " + std::string(text));
    return *std::move(bytes);
}

class Editor {
public:
    Editor(const std::string& directory, Table table) : prefix_(1, static_cast<char>(table)) {
        rocksdb::DBOptions options;
        options.track_and_verify_wals_in_manifest = true;  // as the engine, which opens the store afterwards
        std::vector<std::string> names;
        expect(rocksdb::DB::ListColumnFamilies(options, directory, &names));
        std::vector<rocksdb::ColumnFamilyDescriptor> families;
        for (const auto& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
        rocksdb::DB* opened = nullptr;
        expect(rocksdb::DB::Open(options, directory, families, &handles_, &opened));
        db_.reset(opened);
        for (auto* handle : handles_)
            if (handle->GetName() == family_of(table)) family_ = handle;
        if (family_ == nullptr) complain("the store has no family " + family_of(table));
    }
    ~Editor() {
        for (auto* handle : handles_) expect(db_->DestroyColumnFamilyHandle(handle));
        expect(db_->Close());
    }
    Editor(const Editor&) = delete;
    Editor& operator=(const Editor&) = delete;

    void print() const {
        const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, family_));
        for (at->Seek(prefix_); at->Valid() && at->key().starts_with(prefix_); at->Next())
            std::cout << base::to_hex(at->key().ToStringView().substr(1)) << ' '
                      << base::to_hex(at->value().ToStringView()) << '\n';
        expect(at->status());
    }
    void put(std::string_view key, std::string_view row) {
        expect(db_->Put(synced_, family_, prefix_ + from_hex(key), from_hex(row)));
    }
    void erase(std::string_view key) { expect(db_->Delete(synced_, family_, prefix_ + from_hex(key))); }

private:
    std::string prefix_;  // of the table's keys in the family
    std::unique_ptr<rocksdb::DB> db_;
    std::vector<rocksdb::ColumnFamilyHandle*> handles_;
    rocksdb::ColumnFamilyHandle* family_ = nullptr;
    const rocksdb::WriteOptions synced_ = [] {
        rocksdb::WriteOptions options;
        options.sync = true;
        return options;
    }();
};

void run(const std::vector<std::string>& args) {
    if (args.size() < 3) complain("a store, what to do and a table are needed");
    const auto table = std::stoul(args[2]);
    if (table >= kTables) complain("there is no table " + args[2]);
    Editor editor(args[0], static_cast<Table>(table));
    if (args[1] == "rows" && args.size() == 3) {
        editor.print();
    } else if (args[1] == "put" && args.size() > 3 && args.size() % 2 == 1) {
        for (std::size_t i = 3; i < args.size(); i += 2) editor.put(args[i], args[i + 1]);
    } else if (args[1] == "erase" && args.size() > 3) {
        for (std::size_t i = 3; i < args.size(); ++i) editor.erase(args[i]);
    } else {
        complain("not understood");
    }
}

}  // namespace
}  // namespace claviger::vault

int main(int argc, char** argv) { claviger::vault::run({argv + 1, argv + argc}); }
