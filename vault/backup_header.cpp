#include "vault/backup_header.h"

#include "crypto/key_tree.h"
#include "vault/byte_reader.h"
#include "vault/log_rows.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace claviger::vault {
namespace {

constexpr ByteView kMagic = "CLVB\x01";
constexpr std::size_t kTail = 2 * sizeof(crypto::Digest);  // digest and MAC

std::unexpected<base::Error> refused(std::string why) {
    return base::failure(base::ErrorKind::corrupt, "backup.header_refused",
                         "The header of the backup is damaged, or not one that this store wrote.",
                         "Use another backup, and find out who can write to this one.", std::move(why));
}

/// A name that stays in the folder: what RocksDB calls its files.
bool is_file_name(std::string_view name) {
    return !name.empty() && name.size() <= kMaxBackupFileName && name.front() != '.' &&
           std::ranges::all_of(name, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '.' || c == '-' || c == '_';
           });
}

}  // namespace

std::uint64_t BackupHeader::bytes() const {
    return std::accumulate(files.begin(), files.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const BackupFile& file) { return sum + file.bytes; });
}

crypto::Key backup_key(const KeyRing::OwnerKey& instance_key) {
    return crypto::derive(instance_key.key, crypto::Purpose::backup_header);
}

base::Bytes encode(const BackupHeader& header, const crypto::Key& backup_key) {
    Bytes out(kMagic);
    append_array(out, header.instance);
    for (const auto number : {unix_millis(header.made), header.head.commit_seq, header.head.size})
        base::append_big_endian(out, number);
    out += crypto::view(header.head.root);
    base::append_big_endian(out, static_cast<std::uint32_t>(header.files.size()));
    for (const auto& file : header.files) {
        base::append_big_endian(out, static_cast<std::uint8_t>(file.name.size()));
        out += file.name;
        base::append_big_endian(out, file.bytes);
        out += crypto::view(file.digest);
    }
    out += crypto::view(crypto::blake2b(out));
    return out + Bytes(crypto::view(crypto::blake2b_keyed(backup_key, out)));
}

base::Result<BackupHeader> decode_backup_header(base::ByteView bytes) {
    if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kTail)
        return refused("it does not begin as the header of a backup");
    const auto covered = bytes.substr(0, bytes.size() - kTail);
    if (crypto::view(crypto::blake2b(covered)) != bytes.substr(covered.size(), sizeof(crypto::Digest)))
        return refused("its digest does not match");
    ByteReader in(covered.substr(kMagic.size()));
    BackupHeader header;
    header.instance = in.array<16>();
    header.made = base::Time(std::chrono::milliseconds(in.number<std::uint64_t>()));
    header.head.commit_seq = in.number<std::uint64_t>();
    header.head.size = in.number<std::uint64_t>();
    header.head.root = in.array<32>();
    const auto files = in.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < files && in.good() && i < kMaxBackupFiles; ++i) {
        BackupFile file;
        file.name = in.bytes(in.number<std::uint8_t>());
        file.bytes = in.number<std::uint64_t>();
        file.digest = in.array<32>();
        if (!in.good()) break;
        if (!is_file_name(file.name)) return refused("it names a file that no store has");
        if (!header.files.empty() && header.files.back().name >= file.name)
            return refused("its files are not in order");
        header.files.push_back(std::move(file));
    }
    if (!in.complete() || header.files.size() != files) return refused("it ends early or late");
    return header;
}

base::Status authenticate_backup_header(base::ByteView bytes, const crypto::Key& backup_key) {
    if (bytes.size() < kTail) return refused("it is too short");
    const auto covered = bytes.substr(0, bytes.size() - sizeof(crypto::Digest));
    if (!crypto::equal(crypto::view(crypto::blake2b_keyed(backup_key, covered)),
                       bytes.substr(covered.size())))
        return refused("its MAC does not hold");
    return {};
}

}  // namespace claviger::vault
