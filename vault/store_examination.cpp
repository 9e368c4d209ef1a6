#include "vault/store_examination.h"

#include "vault/index_block.h"
#include "vault/ledger_check.h"
#include "vault/log_rows.h"
#include "vault/log_writer.h"
#include "vault/rotation.h"
#include "vault/sealed_rows.h"
#include "vault/store_marks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

namespace claviger::vault {
namespace {

using crypto::Digest;

constexpr std::uint64_t kProgressEvery = 4'096;

class Examination {
public:
    Examination(const StorageEngine& engine, KeyRing& keys, const ExaminationProgress& progress)
        : engine_(engine), keys_(keys), progress_(progress) {
        owners_[keys.instance()] = {};
        owners_[kDerivationOwner] = {};
    }

    base::Result<StoreExamination> run() {
        found_.commit_seq = engine_.last_commit();
        examine_head();
        // Objects come first: they say whose the keys are.
        for (const auto step :
             {&Examination::examine_objects, &Examination::examine_keys, &Examination::examine_secret_rows,
              &Examination::examine_instance_rows, &Examination::examine_log})
            if (auto done = (this->*step)(); !done) return std::unexpected(std::move(done).error());
        return std::move(found_);
    }

private:
    void fault(std::string place, std::string_view code, std::string why) {
        if (++found_.faults <= StoreExamination::kNamedFaults)
            found_.named.push_back({std::move(place), std::string(code), std::move(why)});
    }
    void fault(std::string place, const base::Error& error) {
        fault(std::move(place), error.code, error.detail.empty() ? error.message : error.detail);
    }
    void tell(std::string_view what, std::uint64_t done, std::uint64_t total) {
        if (progress_ && done % kProgressEvery == 0) progress_(what, done, total);
    }
    static std::string row_name(std::string_view table, ByteView key) {
        return std::string(table) + " row " + base::to_hex(key);
    }
    base::Status each_row(Table table, const std::function<void(ByteView key, ByteView row)>& use) {
        return engine_.scan(table, {}, {}, Order::ascending, [&](ByteView key, ByteView row, std::uint64_t) {
            use(key, row);
            return true;
        });
    }

    void examine_head() {
        auto writer = LogWriter::load(engine_, keys_);
        if (!writer) return fault("head", writer.error());
        if (const auto checked = check_store(engine_, keys_, **writer); !checked)
            fault("head", checked.error());
        head_ = crypto::Tree::restore((*writer)->tree().frontier());
    }

    base::Status examine_objects() {
        return each_row(Table::meta, [&](ByteView key, ByteView row) {
            tell("objects", ++found_.objects, 0);
            const auto plain = open_row(engine_, keys_, key, row);
            if (!plain) return fault(row_name("meta", key), plain.error());
            switch (key.empty() ? MetaKind{} : static_cast<MetaKind>(key[0])) {
                case MetaKind::workspace:
                    return examine_object<Workspace>(key, *plain);
                case MetaKind::api_key:
                    return examine_object<ApiKey>(key, *plain);
                case MetaKind::vault:
                    return examine_object<Vault>(key, *plain);
                case MetaKind::credential:
                    return examine_object<Credential>(key, *plain);
                case MetaKind::environment:
                    return examine_object<Environment>(key, *plain);
                case MetaKind::agent:
                case MetaKind::agent_version:
                    return examine_object<Agent>(key, *plain);
                case MetaKind::session:
                    return examine_object<Session>(key, *plain);
                case MetaKind::session_token:
                    return examine_object<SessionToken>(key, *plain);
                case MetaKind::grant:
                    return examine_object<Grant>(key, *plain);
                case MetaKind::rotation:
                    return examine_object<Rotation>(key, *plain);
                case MetaKind::connect_flow:
                    return examine_object<ConnectFlow>(key, *plain);
                case MetaKind::oauth_client:
                    return examine_object<OauthClient>(key, *plain);
                case MetaKind::webhook_endpoint:
                    return examine_object<WebhookEndpoint>(key, *plain);
                case MetaKind::outbox_item:
                    return examine_object<OutboxItem>(key, *plain);
                case MetaKind::operation:
                    return examine_object<Operation>(key, *plain);
                case MetaKind::shredding:
                    return examine_object<Shredding>(key, *plain);
            }
            fault(row_name("meta", key), "row.unknown_kind", "no object is of this kind");
        });
    }

    template <class T>
    void examine_object(ByteView key, ByteView plain) {
        const auto object = decode_object<T>(plain);
        if (!object) return fault(row_name("meta", key), object.error());
        if (key.substr(1, object->id.key().size()) != object->id.key())
            return fault(row_name("meta", key), "row.misplaced", "it holds " + object->id.text());
        if constexpr (std::is_same_v<T, Workspace>) owners_[object->id.raw] = object->id.raw;
        if constexpr (std::is_same_v<T, Vault>) owners_[object->id.raw] = object->workspace.raw;
        if constexpr (std::is_same_v<T, Credential>) {
            if (object->version != 0) examine_value(*object);
        }
        if constexpr (std::is_same_v<T, Rotation>) {
            const auto credential = stored_credential(object->id);
            if (!credential) return fault("rotation of " + object->id.text(), credential.error());
            for (const auto& kept : object->kept) examine_value(as_of(*credential, kept));
        }
    }

    void examine_value(const Credential& credential) {
        ++found_.secrets;
        std::ranges::copy(secret_key(credential), versions_.emplace_back().begin());
        const auto place =
            "credential " + credential.id.text() + " version " + std::to_string(credential.version);
        const auto sealed = read_sealed(engine_, keys_, credential);
        if (!sealed) return fault(place, sealed.error());
        const auto joined = open_joined(*sealed);
        if (!joined) return fault(place, joined.error());
        if (const auto parts = split_parts(*joined); !parts) fault(place, parts.error());
    }

    base::Result<Credential> stored_credential(const base::CredentialId& id) {
        const auto key = meta_key(MetaKind::credential, id.raw);
        const auto row = engine_.get(Table::meta, key);
        if (!row) return std::unexpected(row.error());
        if (!*row) return base::failure(base::ErrorKind::corrupt, "row.count", "its credential is missing");
        auto plain = open_row(engine_, keys_, key, (*row)->value);
        if (!plain) return std::unexpected(std::move(plain).error());
        return decode_object<Credential>(*plain);
    }

    base::Status examine_keys() {
        return each_row(Table::owner_key, [&](ByteView key, ByteView) {
            tell("keys", ++found_.keys, 0);
            base::RawId owner{};
            if (key.size() != owner.size() + 8)
                return fault(row_name("owner_key", key), "key.refused", "its place is none of a key");
            std::memcpy(owner.data(), key.data(), owner.size());
            const auto known = owners_.find(owner);
            if (known == owners_.end() && !is_day_owner(owner))
                return fault(row_name("owner_key", key), "key.refused", "nothing is sealed with it");
            const auto workspace = known == owners_.end() ? base::RawId{} : known->second;
            const auto opened = keys_.owner_key(
                engine_, workspace, owner, base::read_big_endian<std::uint64_t>(key.data() + owner.size()));
            if (!opened) fault(row_name("owner_key", key), opened.error());
        });
    }

    /// Rows of versions that no credential has, in whatever form they were put back. Those that are missing
    /// were missed when their credential was examined.
    base::Status examine_secret_rows() {
        std::ranges::sort(versions_);
        for (const auto table : {Table::value, Table::data_key}) {
            auto read = each_row(table, [&](ByteView key, ByteView) {
                Version version{};
                if (key.size() == version.size()) std::ranges::copy(key, version.begin());
                if (!std::ranges::binary_search(versions_, version))
                    fault(row_name(table == Table::value ? "value" : "data_key", key), "row.left_over",
                          "no credential has a secret of that version");
            });
            if (!read) return read;
        }
        return {};
    }

    /// Rows sealed by the instance's key: use counts, names and the index of the log.
    base::Status examine_instance_rows() {
        const auto key = keys_.owner_key(engine_, {}, keys_.instance(), kFirstGeneration);
        if (!key) {
            fault("the instance's key", key.error());
            return {};
        }
        for (const auto mark : {kPinnedMark, kFencedMark, kOverruledMark})
            if (const auto found = read_mark(engine_, keys_, mark); !found)
                fault("state row " + Bytes(mark), found.error());
        auto read = each_row(Table::usage, [&](ByteView at, ByteView row) {
            base::RawId id{};
            if (at.size() == id.size()) std::memcpy(id.data(), at.data(), id.size());
            if (!open_stamped((*key)->key, instance_place(keys_, Table::usage, id), row))
                fault(row_name("usage", at), "log.usage_refused", "it does not open at its place");
        });
        if (!read) return read;
        read = each_row(Table::name, [&](ByteView at, ByteView row) {
            tell("names", ++found_.names, 0);
            Fingerprint fingerprint{};
            if (at.size() == fingerprint.size()) std::memcpy(fingerprint.data(), at.data(), at.size());
            if (const auto name = open_name(keys_, **key, fingerprint, row); !name)
                fault(row_name("name", at), name.error());
        });
        if (!read) return read;
        return each_row(Table::log_index, [&](ByteView at, ByteView row) {
            const auto number = at.size() == 8 ? base::read_big_endian<std::uint64_t>(at.data()) : 0;
            if (at.size() != 8 || number != found_.index_blocks++)
                return fault(row_name("log_index", at), "log.index_refused", "it is not the next block");
            auto plain =
                open_stamped((*key)->key, instance_place(keys_, Table::log_index, block_id(number)), row);
            if (!plain || !IndexBlock::parse(std::move(*plain)))
                fault(row_name("log_index", at), "log.index_refused", "it does not open at its place");
        });
    }

    base::Status examine_log() {
        crypto::Tree tree;
        std::vector<std::vector<Digest>> levels;
        const auto total = head_ ? head_->size() : 0;
        EntryReader reader(engine_, keys_);
        const auto read = each_row(Table::log, [&](ByteView key, ByteView row) {
            const auto position = found_.entries;
            const RowLeaves leaves(row);
            found_.entries += std::max<std::size_t>(leaves.size(), 1);
            for (auto at = position; at < found_.entries; ++at) tell("log", at, total);
            if (key != log_key(position))
                return fault(row_name("log", key), "ledger.log_forked", "it is not the next entry");
            if (const auto entry = reader.read(position); !entry)
                fault("log entry " + std::to_string(position), entry.error());
            for (std::size_t i = 0; i < leaves.size(); ++i) {
                tree.append(leaves.at(i));
                grow(levels, 0, leaves.at(i));
            }
        });
        if (!read) return read;
        found_.root = tree.root();
        if (head_ && (head_->size() != tree.size() || head_->root() != found_.root))
            fault("log", "ledger.log_forked",
                  "the head says " + std::to_string(head_->size()) + " entries and another root than these " +
                      std::to_string(tree.size()));
        if (const auto blocks = found_.entries / kBlockEntries; found_.index_blocks != blocks)
            fault(
                "table log_index", "row.count",
                std::to_string(found_.index_blocks) + " rows where the log makes " + std::to_string(blocks));
        std::uint64_t tiles = 0;
        if (auto counted = each_row(Table::tile, [&](ByteView, ByteView) { ++tiles; }); !counted)
            return counted;
        if (tiles != found_.tiles)
            fault("table tile", "row.count",
                  std::to_string(tiles) + " rows where the log makes " + std::to_string(found_.tiles));
        return {};
    }

    /// Adds the hash to its level; a tile that becomes full is compared with the one on disk.
    void grow(std::vector<std::vector<Digest>>& levels, unsigned level, const Digest& hash) {
        if (levels.size() <= level) levels.resize(level + 1), counts_.resize(level + 1);
        auto& hashes = levels[level];
        hashes.push_back(hash);
        if (hashes.size() < kTileHashes) return;
        Bytes wanted;
        crypto::Tree subtree;
        for (const auto& each : hashes) {
            wanted.append(reinterpret_cast<const char*>(each.data()), each.size());
            subtree.append(each);
        }
        const auto index = counts_[level]++;
        const auto row = engine_.get(Table::tile, tile_key(level, index));
        if (!row || !*row || (*row)->value != wanted)
            fault("tile " + std::to_string(index) + " of level " + std::to_string(level), "ledger.log_forked",
                  "it is missing, or holds other hashes than the log");
        ++found_.tiles;
        hashes.clear();
        grow(levels, level + 1, subtree.root());
    }

    const StorageEngine& engine_;
    KeyRing& keys_;
    const ExaminationProgress& progress_;
    StoreExamination found_;
    std::optional<crypto::Tree> head_;
    std::map<base::RawId, base::RawId> owners_;  // whose keys there are, and in which workspace
    using Version = std::array<char, 24>;        // as in the key of its rows
    std::vector<Version> versions_;              // of which credentials say that there is a secret
    std::vector<std::uint64_t> counts_;          // full tiles by level
};

}  // namespace

base::Result<StoreExamination> examine_store(const StorageEngine& engine, KeyRing& keys,
                                             const ExaminationProgress& progress) {
    return Examination(engine, keys, progress).run();
}

}  // namespace claviger::vault
