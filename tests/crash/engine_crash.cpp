// Commits numbered batches and says which ones were acknowledged, until somebody kills it; or checks what is
// left.
//   engine_crash run DIRECTORY COUNT recover|stop    COUNT 0: until killed. Prints "SEQ ATTEMPT" for every
//   acknowledged
//                                                    commit, "failed SEQ ATTEMPT CODE" for every other.
//   engine_crash check DIRECTORY                     reads "SEQ ATTEMPT" lines; exit code 1 and a sentence if
//   one is missing.
#include "vault/storage_engine.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>

namespace claviger::vault {
namespace {

constexpr std::uint64_t kLogRows = 5;
constexpr std::uint64_t kMetaRows = 17;
constexpr int kAttempts = 20;
constexpr std::uint64_t kFeedCommits = 16, kFeedTrimEvery = 8;

/// With writev, so that faults injected into write() hit only the engine.
void say(const std::string& line) {
    iovec part{const_cast<char*>(line.data()), line.size()};
    if (::writev(STDOUT_FILENO, &part, 1) != static_cast<ssize_t>(line.size())) std::_Exit(3);
}

[[noreturn]] void complain(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(1);
}

std::string text(std::uint64_t seq, int attempt) {
    return std::to_string(seq) + " " + std::to_string(attempt);
}

Bytes log_key(std::uint64_t seq, std::uint64_t row) {
    Bytes key;
    base::append_big_endian(key, seq);
    base::append_big_endian(key, row);
    return key;
}

/// What batch `seq` or one before it has the feed forget; every kFeedTrimEvery-th has something to forget.
std::uint64_t feed_trimmed_to(std::uint64_t seq) {
    const auto trimming = seq - seq % kFeedTrimEvery;
    return trimming > kFeedCommits ? trimming - kFeedCommits : 0;
}

/// Rows in all column families; every 16th batch is large enough to fill memory tables quickly.
Batch numbered(std::uint64_t seq, int attempt) {
    const auto label = text(seq, attempt);
    Batch batch;
    for (std::uint64_t row = 0; row < kLogRows; ++row) batch.put(Table::log, log_key(seq, row), label);
    batch.put(Table::state, "head", label);
    batch.put(Table::meta, std::to_string(seq % kMetaRows), label);
    batch.put(Table::value, "value", label + Bytes(seq % 16 == 0 ? 1'500'000 : 1'000, ' '));
    batch.put(Table::tile, log_key(seq, 0), label);
    batch.trim_feed(feed_trimmed_to(seq));
    return batch;
}

std::unique_ptr<StorageEngine> open(const char* directory) {
    auto opened = open_rocksdb(directory);
    if (!opened) complain("opening: " + std::string(opened.error().code) + ": " + opened.error().detail);
    return std::move(*opened);
}

void run(const char* directory, std::uint64_t count, bool recover) {
    const auto engine = open(directory);
    for (std::uint64_t done = 0; count == 0 || done < count; ++done) {
        const auto seq = engine->last_commit() + 1;
        bool committed = false;
        for (int attempt = 1; attempt <= kAttempts && !committed; ++attempt) {
            const auto status = engine->commit(seq, numbered(seq, attempt));
            committed = status.has_value();
            if (committed) {
                say(text(seq, attempt) + "\n");
                continue;
            }
            say("failed " + text(seq, attempt) + " " + std::string(status.error().code) + "\n");
            if (!recover) std::_Exit(0);  // as if killed: nothing is closed
            if (const auto recovered = engine->recover(); !recovered)
                say("not recovered: " + recovered.error().detail + "\n");
        }
        if (!committed)
            complain("commit " + std::to_string(seq) + " failed " + std::to_string(kAttempts) + " times");
    }
}

std::string row(const StorageEngine& engine, Table table, ByteView key) {
    const auto found = engine.get(table, key);
    if (!found) complain("reading: " + found.error().detail);
    return *found ? (*found)->value : "(absent)";
}

/// Every batch up to the last commit is there, whole, from one attempt, and from the acknowledged one where
/// there is one.
void check(const char* directory) {
    std::map<std::uint64_t, int> acknowledged;
    for (std::uint64_t seq = 0, attempt = 0; std::cin >> seq >> attempt;)
        acknowledged[seq] = static_cast<int>(attempt);
    const auto engine = open(directory);
    const auto last = engine->last_commit();
    if (!acknowledged.empty() && acknowledged.rbegin()->first > last)
        complain("commit " + std::to_string(acknowledged.rbegin()->first) +
                 " was acknowledged, the store ends at " + std::to_string(last));
    std::string label = "(absent)";
    for (std::uint64_t seq = 1; seq <= last; ++seq) {
        label = row(*engine, Table::log, log_key(seq, 0));
        const auto known = acknowledged.find(seq);
        if (known != acknowledged.end() && label != text(seq, known->second))
            complain("commit " + text(seq, known->second) + " was acknowledged, the store holds " + label);
        for (std::uint64_t number = 1; number < kLogRows; ++number)
            if (row(*engine, Table::log, log_key(seq, number)) != label)
                complain("batch " + label + " is not whole");
        if (row(*engine, Table::tile, log_key(seq, 0)) != label)
            complain("batch " + label + " lacks its tile");
        if (seq + kMetaRows > last && row(*engine, Table::meta, std::to_string(seq % kMetaRows)) != label)
            complain("batch " + label + " lacks its meta row");
    }
    if (row(*engine, Table::state, "head") != label) complain("the head is not that of batch " + label);
    if (!row(*engine, Table::value, "value").starts_with(label))
        complain("the value is not that of batch " + label);
    if (row(*engine, Table::log, log_key(last + 1, 0)) != "(absent)")
        complain("rows of a batch beyond the last commit");
    const auto trimmed = feed_trimmed_to(last);
    auto followed = trimmed;
    const auto visited = engine->changes_after(trimmed, [&](std::uint64_t seq, Table, ByteView) {
        if (seq > followed) ++followed;
        return seq == followed;
    });
    if (!visited || followed != last) complain("the feed has a gap at commit " + std::to_string(followed));
    if (trimmed > 0 &&
        engine->changes_after(trimmed - 1, [](std::uint64_t, Table, ByteView) { return true; }))
        complain("the feed was not trimmed to commit " + std::to_string(trimmed));
    std::printf("%llu\n", static_cast<unsigned long long>(last));
}

}  // namespace
}  // namespace claviger::vault

int main(int argc, char** argv) {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "run" && argc == 5)
        claviger::vault::run(argv[2], std::strtoull(argv[3], nullptr, 10),
                             std::string_view(argv[4]) == "recover");
    else if (mode == "check" && argc == 3)
        claviger::vault::check(argv[2]);
    else {
        std::fputs("usage: engine_crash run DIRECTORY COUNT recover|stop | engine_crash check DIRECTORY\n",
                   stderr);
        return 2;
    }
    return 0;
}
