#include "vault/pieces.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace claviger::vault {
namespace {

constexpr int kSlices = 16;  // of what one prefix holds
constexpr int kKindsOfMeta = 16;

/// Where the slices of the keys with that prefix begin.
void add_slices(std::vector<Bytes>& begins, const Bytes& prefix) {
    begins.push_back(prefix);
    for (int slice = 1; slice < kSlices; ++slice)
        begins.push_back(prefix + static_cast<char>(slice * (256 / kSlices)));
}

}  // namespace

void in_pieces(std::size_t pieces, const std::function<void(std::size_t piece)>& work) {
    std::atomic<std::size_t> next = 0;
    const auto take = [&] {
        for (auto piece = next.fetch_add(1); piece < pieces; piece = next.fetch_add(1)) work(piece);
    };
    const auto threads = std::min({pieces, kMostThreads, std::size_t{std::thread::hardware_concurrency()}});
    std::vector<std::jthread> helpers;
    while (helpers.size() + 1 < threads) helpers.emplace_back(take);
    take();
}

std::vector<RowRange> ranges_of(Table table) {
    std::vector<Bytes> begins;
    if (table == Table::meta) {
        begins.emplace_back();
        for (int kind = 1; kind <= kKindsOfMeta; ++kind)
            add_slices(begins, Bytes(1, static_cast<char>(kind)));
        begins.emplace_back(1, static_cast<char>(kKindsOfMeta + 1));
    } else {
        add_slices(begins, {});
    }
    std::vector<RowRange> ranges;
    for (std::size_t i = 0; i < begins.size(); ++i)
        ranges.push_back({begins[i], i + 1 < begins.size() ? begins[i + 1] : Bytes()});
    return ranges;
}

base::Status scan(const StorageEngine& engine, Table table, const RowRange& range, const Visitor& visit) {
    return engine.scan(table, {}, range.from, Order::ascending,
                       [&](ByteView key, ByteView row, std::uint64_t version) {
                           return (range.to.empty() || key < range.to) && visit(key, row, version);
                       });
}

}  // namespace claviger::vault
