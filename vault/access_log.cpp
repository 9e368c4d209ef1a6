#include "vault/access_log.h"

#include "vault/index_block.h"
#include "vault/log_rows.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr std::uint64_t kBlocksPerQuery = 32;
constexpr std::size_t kMaxPage = 1000;
constexpr const char* kHint = "Restore the data folder from a backup, and find out who can write to it.";

struct FirstBytes {
    std::size_t operator()(const base::RawId& id) const {
        std::size_t hash;
        std::memcpy(&hash, id.data(), sizeof hash);
        return hash;
    }
};
using Uses = std::unordered_map<base::RawId, CredentialUse, FirstBytes>;

/// `used` is what was used last.
void note_version(CredentialUse& use, const CredentialUse::Version& used) {
    auto& versions = use.versions;
    if (versions.empty() || versions.front().number != used.number) {
        std::erase_if(versions, [&](const auto& known) { return known.number == used.number; });
        if (versions.size() == CredentialUse::kMostVersions) versions.pop_back();
        versions.insert(versions.begin(), used);
    }
    versions.front().last = used.last;
}

void count_use(Uses& uses, const LogEntry& entry) {
    if (entry.kind != EntryKind::use_intent || entry.credential == base::RawId{}) return;
    auto& use = uses[entry.credential];
    ++use.count;
    use.last = entry.time;
    if (entry.credential_version != 0) note_version(use, {entry.credential_version, entry.time});
}

/// What was known, of whose uses `counted_twice` are among the newer ones as well, and what came then.
CredentialUse joined(CredentialUse known, std::uint64_t counted_twice, const CredentialUse& newer) {
    known.count += newer.count - counted_twice;
    known.last = newer.last;
    for (auto used = newer.versions.rbegin(); used != newer.versions.rend(); ++used)
        note_version(known, *used);
    return known;
}

bool erases_credential(const LogEntry& entry) {
    return entry.kind == EntryKind::write && entry.action == Action::erase &&
           entry.object == ObjectKind::credential;
}

/// One filter that the index can answer.
struct Filter {
    Dimension dimension;
    Bytes value;
};

/// A query with its names turned into fingerprints.
struct Search {
    std::vector<Filter> filters;
    std::optional<base::Time> from, to;
    std::size_t limit = 0;

    bool wants(const LogEntry& entry) const {
        if (from && entry.time < *from) return false;
        if (to && entry.time >= *to) return false;
        return std::ranges::all_of(
            filters, [&](const Filter& filter) { return value_in(entry, filter.dimension) == filter.value; });
    }
};

struct BlockHits {
    std::vector<LogEntry> entries;
    bool older_are_too_old = false;  // for the query's `from`
};

std::unexpected<base::Error> index_refused(std::uint64_t block, const char* why) {
    return base::failure(ErrorKind::corrupt, "log.index_refused",
                         "An index of the access log is gone or was changed, so the log cannot be searched.",
                         kHint, "table log_index, block " + std::to_string(block) + ": " + why);
}

Bytes encode(const CredentialUse& use) {
    Bytes out;
    base::append_big_endian(out, use.count);
    base::append_big_endian(out, unix_millis(use.last));
    for (const auto& version : use.versions) {
        base::append_big_endian(out, version.number);
        base::append_big_endian(out, unix_millis(version.last));
    }
    return out;
}

base::Time time_at(const char* bytes) {
    const auto ms = base::read_big_endian<std::uint64_t>(bytes);
    return base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(ms)));
}

/// Nothing for bytes that encode() did not make.
std::optional<CredentialUse> decode_use(ByteView bytes) {
    constexpr std::size_t each = 16, most = each * (1 + CredentialUse::kMostVersions);
    if (bytes.empty() || bytes.size() % each != 0 || bytes.size() > most) return std::nullopt;
    CredentialUse use{.count = base::read_big_endian<std::uint64_t>(bytes.data()),
                      .last = time_at(bytes.data() + 8)};
    for (auto at = each; at < bytes.size(); at += each)
        use.versions.push_back(
            {base::read_big_endian<std::uint64_t>(bytes.data() + at), time_at(bytes.data() + at + 8)});
    return use;
}

}  // namespace

struct AccessLog::State {
    State(const StorageEngine& e, KeyRing& k, Ledger& l, std::shared_ptr<const KeyRing::OwnerKey> key)
        : engine(e), keys(k), ledger(l), instance_key(std::move(key)) {}

    base::Status load_uses();
    base::Status load_tail();
    Bytes seal(Table table, const base::RawId& object, const base::Time& created, std::uint64_t commit_seq,
               ByteView plaintext) const;
    base::Result<IndexBlock> read_block(std::uint64_t block) const;
    base::Result<Offsets> candidates(const IndexBlock& index, std::uint64_t block,
                                     const Search& search) const;
    base::Result<BlockHits> search_block(std::uint64_t block, std::uint64_t below, const Search& search,
                                         std::size_t limit) const;
    base::Result<std::uint64_t> first_at_or_after(base::Time time, std::uint64_t end) const;
    base::Result<NamedEntry> with_names(const LogEntry& entry) const;

    const StorageEngine& engine;
    KeyRing& keys;
    Ledger& ledger;
    std::shared_ptr<const KeyRing::OwnerKey> instance_key;  // shared with the ring

    mutable std::shared_mutex mutex;  // guards the three below; written by the commit thread alone
    std::uint64_t tail_first = 0;     // position of the first entry that no index block covers
    std::vector<LogEntry> tail;
    Uses uses;
};

base::Result<std::unique_ptr<AccessLog>> AccessLog::open(const StorageEngine& engine, KeyRing& keys,
                                                         Ledger& ledger) {
    auto key = keys.owner_key(engine, {}, keys.instance(), kFirstGeneration);
    if (!key) return std::unexpected(std::move(key).error());
    auto state = std::make_unique<State>(engine, keys, ledger, std::move(*key));
    if (auto loaded = state->load_uses(); !loaded) return std::unexpected(std::move(loaded).error());
    if (auto loaded = state->load_tail(); !loaded) return std::unexpected(std::move(loaded).error());
    return std::unique_ptr<AccessLog>(new AccessLog(std::move(state)));
}

AccessLog::AccessLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
AccessLog::~AccessLog() = default;

base::Status AccessLog::State::load_uses() {
    base::Status loaded;
    const auto scanned =
        engine.scan(Table::usage, {}, {}, Order::ascending, [&](ByteView key, ByteView row, std::uint64_t) {
            base::RawId credential{};
            const bool right_size = key.size() == credential.size();
            if (right_size) std::copy(key.begin(), key.end(), credential.begin());
            const auto plain =
                open_stamped(instance_key->key, instance_place(keys, Table::usage, credential), row);
            auto use = right_size && plain ? decode_use(*plain) : std::nullopt;
            if (!use) {
                loaded = base::failure(ErrorKind::corrupt, "log.usage_refused",
                                       "A stored use count does not open.", kHint,
                                       "table usage, row " + base::to_hex(key));
                return false;
            }
            uses[credential] = std::move(*use);
            return true;
        });
    return scanned ? loaded : scanned;
}

base::Status AccessLog::State::load_tail() {
    const auto size = ledger.head().size;
    tail_first = size - size % kBlockEntries;
    tail.reserve(2 * kBlockEntries);
    EntryReader reader(engine, keys);
    for (auto position = tail_first; position < size; ++position) {
        const auto stored = reader.read(position);
        if (!stored) return std::unexpected(stored.error());
        const auto& entry = stored->entry;
        count_use(uses, entry);
        if (erases_credential(entry)) uses.erase(entry.object_id);
        tail.push_back(entry);
    }
    return {};
}

Fingerprint AccessLog::fingerprint(std::string_view domain, std::string_view name) const {
    Bytes message(1, static_cast<char>(domain.size()));
    message.append(domain).append(name);
    return crypto::blake2b_128_keyed(state_->keys.derived(crypto::Purpose::audit_fingerprint), message);
}

std::array<unsigned char, 16> AccessLog::digest(base::ByteView body) const {
    return crypto::blake2b_128_keyed(state_->keys.body_digest_key(), body);
}

Bytes AccessLog::State::seal(Table table, const base::RawId& object, const base::Time& created,
                             std::uint64_t commit_seq, ByteView plaintext) const {
    auto place = instance_place(keys, table, object);
    place.commit_seq = commit_seq;
    place.created_ms = unix_millis(created);
    return seal_stamped(instance_key->key, place, plaintext);
}

/// Does nothing but for the entry that completes a block; then the block's index and the use counts up to it
/// join the batch.
void AccessLog::about_to_commit(const std::vector<LogEntry>& entries, std::uint64_t commit_seq,
                                Batch& batch) {
    const auto& tail = state_->tail;  // only this thread writes it
    const auto end = entries.back().position + 1;
    auto first = state_->tail_first;
    if (end - first < kBlockEntries) return;

    std::vector<LogEntry> all(tail);
    all.insert(all.end(), entries.begin(), entries.end());
    Uses counted;  // every use since the last block, then in all
    for (std::span<const LogEntry> rest(all); rest.size() >= kBlockEntries;
         rest = rest.subspan(kBlockEntries)) {
        const auto block = rest.first(kBlockEntries);
        const auto number = first / kBlockEntries;
        batch.put(Table::log_index, log_key(number),
                  state_->seal(Table::log_index, block_id(number), block.back().time, commit_seq,
                               encode_index_block(block)));
        for (const auto& entry : block) count_use(counted, entry);
        first += kBlockEntries;
    }
    // `uses` already counts the tail, and the tail is part of what was just counted.
    Uses in_tail;
    for (const auto& entry : tail) count_use(in_tail, entry);
    // Of a credential that is gone nothing stays behind.
    for (const auto& entry : all)
        if (erases_credential(entry)) {
            counted.erase(entry.object_id);
            batch.erase(Table::usage, id_view(entry.object_id));
        }
    for (auto& [credential, use] : counted) {
        const auto known = state_->uses.find(credential);
        if (known != state_->uses.end()) use = joined(known->second, in_tail[credential].count, use);
        batch.put(Table::usage, id_view(credential),
                  state_->seal(Table::usage, credential, entries.back().time, commit_seq, encode(use)));
    }
}

void AccessLog::durable(const std::vector<LogEntry>& entries) {
    const std::unique_lock lock(state_->mutex);
    auto& tail = state_->tail;
    tail.insert(tail.end(), entries.begin(), entries.end());
    for (const auto& entry : entries) {
        count_use(state_->uses, entry);
        if (erases_credential(entry)) state_->uses.erase(entry.object_id);
    }
    const auto indexed = tail.size() - tail.size() % kBlockEntries;
    tail.erase(tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(indexed));
    state_->tail_first += indexed;
}

void AccessLog::abandoned() {}

CredentialUse AccessLog::use_of(const base::RawId& credential) const {
    const std::shared_lock lock(state_->mutex);
    const auto found = state_->uses.find(credential);
    return found == state_->uses.end() ? CredentialUse{} : found->second;
}

base::Result<IndexBlock> AccessLog::State::read_block(std::uint64_t block) const {
    const auto row = engine.get(Table::log_index, log_key(block));
    if (!row) return std::unexpected(row.error());
    if (!*row) return index_refused(block, "missing");
    auto plain = open_stamped(instance_key->key, instance_place(keys, Table::log_index, block_id(block)),
                              (*row)->value);
    if (!plain) return index_refused(block, "does not open at its place");
    return IndexBlock::parse(std::move(*plain));
}

/// Offsets that every filter agrees on.
base::Result<Offsets> AccessLog::State::candidates(const IndexBlock& index, std::uint64_t block,
                                                   const Search& search) const {
    Offsets common;
    if (search.filters.empty()) {
        for (std::uint16_t i = 0; i < kBlockEntries; ++i) common.push_back(i);
        return common;
    }
    for (const auto& filter : search.filters) {
        auto offsets = index.find(filter.dimension, filter.value);
        if (!offsets) return index_refused(block, "malformed");
        if (&filter == &search.filters.front()) {
            common = std::move(*offsets);
        } else {
            Offsets both;
            std::ranges::set_intersection(common, *offsets, std::back_inserter(both));
            common = std::move(both);
        }
        if (common.empty()) break;
    }
    return common;
}

/// Hits of one block below `below`, newest first, at most `limit`.
base::Result<BlockHits> AccessLog::State::search_block(std::uint64_t block, std::uint64_t below,
                                                       const Search& search, std::size_t limit) const {
    const auto index = read_block(block);
    if (!index) return std::unexpected(index.error());
    BlockHits hits;
    hits.older_are_too_old = search.from && index->first() < *search.from;
    if ((search.from && index->last() < *search.from) || (search.to && index->first() >= *search.to))
        return hits;
    const auto offsets = candidates(*index, block, search);
    if (!offsets) return std::unexpected(offsets.error());
    for (auto offset = offsets->rbegin(); offset != offsets->rend() && hits.entries.size() < limit;
         ++offset) {
        const auto position = block * kBlockEntries + *offset;
        if (position >= below) continue;
        auto entry = ledger.read(position);
        if (!entry) return std::unexpected(std::move(entry).error());
        if (search.from && entry->time < *search.from) break;  // and so are all before it
        if (search.wants(*entry)) hits.entries.push_back(*entry);
    }
    return hits;
}

/// Times in the log never go backwards, so the first entry at or after a time is found by halving.
base::Result<std::uint64_t> AccessLog::State::first_at_or_after(base::Time time, std::uint64_t end) const {
    std::uint64_t begin = 0;
    while (begin < end) {
        const auto middle = begin + (end - begin) / 2;
        const auto entry = ledger.read(middle);
        if (!entry) return std::unexpected(entry.error());
        if (entry->time < time)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

base::Result<NamedEntry> AccessLog::State::with_names(const LogEntry& entry) const {
    NamedEntry named{.entry = entry, .server = {}, .tool = {}, .method = {}};
    const std::pair<const Fingerprint*, std::string*> wanted[] = {
        {&entry.server, &named.server}, {&entry.tool, &named.tool}, {&entry.method, &named.method}};
    for (const auto& [fingerprint, name] : wanted) {
        if (*fingerprint == Fingerprint{}) continue;
        auto known = ledger.name_of(*fingerprint);
        if (!known) return std::unexpected(std::move(known).error());
        if (*known) *name = std::move(**known);
    }
    return named;
}

base::Result<LogPage> AccessLog::query(const LogQuery& query) const {
    Search search{.filters = {},
                  .from = query.from,
                  .to = query.to,
                  .limit = std::clamp<std::size_t>(query.limit, 1, kMaxPage)};
    const auto by_id = [&](Dimension dimension, const std::optional<base::RawId>& id) {
        if (id) search.filters.push_back({dimension, Bytes(id_view(*id))});
    };
    // The rarest first: the lists are intersected in this order.
    by_id(Dimension::session, query.session);
    by_id(Dimension::credential, query.credential);
    by_id(Dimension::vault, query.vault);
    by_id(Dimension::agent, query.agent);
    if (query.tool) by_id(Dimension::tool, fingerprint("tool", *query.tool));
    if (query.server) by_id(Dimension::server, fingerprint("server", *query.server));
    by_id(Dimension::environment, query.environment);
    if (query.kind) search.filters.push_back({Dimension::kind, Bytes(1, static_cast<char>(*query.kind))});
    if (query.verdict)
        search.filters.push_back({Dimension::verdict, Bytes(1, static_cast<char>(*query.verdict))});
    if (query.scope == LogQuery::Scope::workspace) by_id(Dimension::workspace, query.workspace);

    // One entry more than the page holds tells whether there is another page.
    std::vector<LogEntry> found;
    std::uint64_t indexed = 0;
    {
        const std::shared_lock lock(state_->mutex);
        indexed = state_->tail_first;
        for (auto entry = state_->tail.rbegin(); entry != state_->tail.rend() && found.size() <= search.limit;
             ++entry)
            if ((!query.below || entry->position < *query.below) && search.wants(*entry))
                found.push_back(*entry);
    }
    auto below = std::min(indexed, query.below.value_or(indexed));
    if (search.to && found.size() <= search.limit && below > 0) {
        const auto end = state_->first_at_or_after(*search.to, below);
        if (!end) return std::unexpected(end.error());
        below = *end;
    }
    bool older_are_too_old = false;
    for (std::uint64_t blocks = 0;
         blocks < kBlocksPerQuery && below > 0 && found.size() <= search.limit && !older_are_too_old;
         ++blocks) {
        const auto block = (below - 1) / kBlockEntries;
        const auto hits = state_->search_block(block, below, search, search.limit + 1 - found.size());
        if (!hits) return std::unexpected(hits.error());
        found.insert(found.end(), hits->entries.begin(), hits->entries.end());
        older_are_too_old = hits->older_are_too_old;
        below = block * kBlockEntries;
    }

    LogPage page;
    if (found.size() > search.limit) {
        found.resize(search.limit);
        page.next_below = found.back().position;
    } else if (below > 0 && !older_are_too_old) {
        page.next_below = below;
    }
    for (const auto& entry : found) {
        auto named = state_->with_names(entry);
        if (!named) return std::unexpected(std::move(named).error());
        page.entries.push_back(std::move(*named));
    }
    return page;
}

}  // namespace claviger::vault
