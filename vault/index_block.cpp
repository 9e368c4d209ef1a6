#include "vault/index_block.h"

#include "vault/byte_reader.h"
#include "vault/log_rows.h"

#include <algorithm>
#include <unordered_map>

namespace claviger::vault {
namespace {

using base::Bytes;
using base::ByteView;

constexpr Dimension kDimensions[] = {
    Dimension::workspace,   Dimension::vault,  Dimension::credential, Dimension::session, Dimension::agent,
    Dimension::environment, Dimension::server, Dimension::tool,       Dimension::kind,    Dimension::verdict,
};

ByteView view_unless_zero(const base::RawId& id) {
    return id == base::RawId{} ? ByteView() : ByteView(reinterpret_cast<const char*>(id.data()), id.size());
}

template <class Enum>
ByteView view_of(const Enum& value) {
    static_assert(sizeof(Enum) == 1);
    return {reinterpret_cast<const char*>(&value), 1};
}

base::Time time_of(std::uint64_t millis) {
    return base::Time(std::chrono::milliseconds(static_cast<std::int64_t>(millis)));
}

std::uint64_t millis(base::Time time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }

/// For each value: how many offsets follow, then the first offset and the distances between them.
void append_dimension(Bytes& out, std::span<const LogEntry> entries, Dimension dimension) {
    std::unordered_map<ByteView, std::size_t> place;
    std::vector<std::pair<ByteView, Offsets>> lists;
    std::size_t at = 0;  // of the entry before: neighbours often have the same value
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto value = value_in(entries[i], dimension);
        if (value.empty()) continue;
        if (lists.empty() || lists[at].first != value) {
            const auto [found, fresh] = place.try_emplace(value, lists.size());
            if (fresh) lists.push_back({value, {}});
            at = found->second;
        }
        lists[at].second.push_back(static_cast<std::uint16_t>(i));
    }
    std::ranges::sort(lists, {}, &std::pair<ByteView, Offsets>::first);

    Bytes body;
    append_varint(body, static_cast<std::uint32_t>(lists.size()));
    for (const auto& [value, offsets] : lists) {
        body.append(value);
        append_varint(body, static_cast<std::uint32_t>(offsets.size()));
        std::uint32_t before = 0;
        for (const auto offset : offsets) {
            append_varint(body, offset - before);
            before = offset;
        }
    }
    out.push_back(static_cast<char>(dimension));
    base::append_big_endian(out, static_cast<std::uint32_t>(body.size()));
    out += body;
}

std::optional<Offsets> read_offsets(ByteReader& in) {
    Offsets offsets;
    const auto count = in.varint();
    if (count > kBlockEntries) return std::nullopt;
    offsets.reserve(count);
    std::uint32_t offset = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto distance = in.varint();
        if (!in.good() || distance >= kBlockEntries || (i > 0 && distance == 0)) return std::nullopt;
        offset += distance;
        if (offset >= kBlockEntries) return std::nullopt;
        offsets.push_back(static_cast<std::uint16_t>(offset));
    }
    return offsets;
}

}  // namespace

ByteView value_in(const LogEntry& entry, Dimension dimension) {
    switch (dimension) {
        case Dimension::workspace:
            return view_unless_zero(entry.workspace);
        case Dimension::vault:
            return view_unless_zero(entry.vault);
        case Dimension::credential:
            return view_unless_zero(entry.credential);
        case Dimension::session:
            return view_unless_zero(entry.session);
        case Dimension::agent:
            return view_unless_zero(entry.agent);
        case Dimension::environment:
            return view_unless_zero(entry.environment);
        case Dimension::server:
            return view_unless_zero(entry.server);
        case Dimension::tool:
            return view_unless_zero(entry.tool);
        case Dimension::kind:
            return view_of(entry.kind);
        case Dimension::verdict:
            return view_of(entry.verdict);
    }
    return {};
}

Bytes encode_index_block(std::span<const LogEntry> entries) {
    Bytes out;
    base::append_big_endian(out, millis(entries.front().time));
    base::append_big_endian(out, millis(entries.back().time));
    for (const auto dimension : kDimensions) append_dimension(out, entries, dimension);
    return out;
}

base::Result<IndexBlock> IndexBlock::parse(Bytes bytes) {
    IndexBlock block;
    block.bytes_ = std::move(bytes);
    ByteReader in(block.bytes_);
    block.first_ = time_of(in.number<std::uint64_t>());
    block.last_ = time_of(in.number<std::uint64_t>());
    block.dimensions_at_ = block.bytes_.size() - in.left();
    for (const auto dimension : kDimensions) {
        if (in.number<std::uint8_t>() != static_cast<std::uint8_t>(dimension)) in.bytes(in.left() + 1);
        in.bytes(in.number<std::uint32_t>());
    }
    if (!in.complete())
        return base::failure(base::ErrorKind::corrupt, "log.index_refused",
                             "An index of the access log cannot be read.",
                             "It was written by another version, or the store is damaged.");
    return block;
}

std::optional<Offsets> IndexBlock::find(Dimension dimension, ByteView value) const {
    ByteReader in(ByteView(bytes_).substr(dimensions_at_));
    while (in.left() > 0) {
        const auto found = static_cast<Dimension>(in.number<std::uint8_t>());
        const auto body = in.bytes(in.number<std::uint32_t>());
        if (found != dimension) continue;
        ByteReader lists(body);
        const auto values = lists.varint();
        for (std::uint32_t i = 0; i < values && lists.good(); ++i) {
            const auto candidate = lists.bytes(value.size());
            auto offsets = read_offsets(lists);
            if (!offsets) return std::nullopt;
            if (candidate == value) return offsets;
        }
        return lists.good() ? std::optional(Offsets()) : std::nullopt;
    }
    return std::nullopt;
}

base::RawId block_id(std::uint64_t block) {
    base::RawId id{};
    const auto key = log_key(block);
    std::copy(key.begin(), key.end(), id.begin());
    return id;
}

}  // namespace claviger::vault
