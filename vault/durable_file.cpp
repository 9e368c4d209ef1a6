#include "vault/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace claviger::vault {
namespace {

bool write_all(int descriptor, base::ByteView bytes) {
    while (!bytes.empty()) {
        const auto written = ::write(descriptor, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

std::filesystem::path unfinished_of(std::filesystem::path path) {
    path += kUnfinishedFile;
    return path;
}

/// Takes the file away. False, with errno as it was.
bool give_up(const std::filesystem::path& file) {
    const int why = errno;
    ::unlink(file.c_str());
    errno = why;
    return false;
}

}  // namespace

Descriptor::Descriptor(const std::filesystem::path& path, int flags, unsigned mode)
    : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, static_cast<mode_t>(mode))) {}

Descriptor::~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

std::string system_words() { return std::error_code(errno, std::generic_category()).message(); }

bool sync_folder(const std::filesystem::path& folder) {
    const Descriptor opened(folder.empty() ? std::filesystem::path(".") : folder, O_RDONLY | O_DIRECTORY);
    return opened.good() && ::fsync(opened.get()) == 0;
}

bool make_folders(const std::filesystem::path& folder) {
    if (!folder.has_filename() && folder.has_relative_path()) return make_folders(folder.parent_path());
    std::error_code unreadable;
    if (folder.empty() || std::filesystem::is_directory(folder, unreadable)) return true;
    const auto above = folder.parent_path();
    return make_folders(above) && ::mkdir(folder.c_str(), 0777) == 0 && sync_folder(above);
}

bool create_file(const std::filesystem::path& path, base::ByteView content) {
    const Descriptor file(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!file.good()) return false;
    const bool durable =
        write_all(file.get(), content) && ::fsync(file.get()) == 0 && sync_folder(path.parent_path());
    return durable || give_up(path);
}

bool take_room(const std::filesystem::path& path, std::size_t bytes) {
    const auto unfinished = unfinished_of(path);
    const Descriptor file(unfinished, O_WRONLY | O_CREAT, 0600);
    if (!file.good()) return false;
    errno = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
    return errno == 0 || give_up(unfinished);
}

bool give_room_back(const std::filesystem::path& path) {
    return ::unlink(unfinished_of(path).c_str()) == 0 || errno == ENOENT;
}

bool replace_file(const std::filesystem::path& path, base::ByteView content) {
    const auto unfinished = unfinished_of(path);
    {
        // Not cut off first: what take_room() took must not be lost to others in between.
        const Descriptor file(unfinished, O_WRONLY | O_CREAT, 0600);
        const bool whole = file.good() && write_all(file.get(), content) &&
                           ::ftruncate(file.get(), static_cast<off_t>(content.size())) == 0 &&
                           ::fsync(file.get()) == 0;
        if (!whole) return give_up(unfinished);
    }
    return ::rename(unfinished.c_str(), path.c_str()) == 0 && sync_folder(path.parent_path());
}

std::optional<base::Bytes> read_file(const std::filesystem::path& path, std::size_t most) {
    const Descriptor file(path, O_RDONLY);
    if (!file.good()) return std::nullopt;
    base::Bytes content;
    char block[16 * 1024];
    for (;;) {
        const auto got = ::read(file.get(), block, sizeof block);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return std::nullopt;
        if (got == 0) return content;
        content.append(block, static_cast<std::size_t>(got));
        if (content.size() > most) {
            errno = EFBIG;
            return std::nullopt;
        }
    }
}

}  // namespace claviger::vault
