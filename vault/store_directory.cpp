#include "vault/store_directory.h"

#include "vault/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

namespace claviger::vault {
namespace {

constexpr std::uint64_t kSpareBytes =
    4 * 1024 * 1024;  // manifest, options and a new log beside the table files

std::unexpected<base::Error> system_failure(std::string_view doing, const std::filesystem::path& path,
                                            int code) {
    return storage_unavailable(std::string(doing) + " " + path.string() + ": " +
                               std::system_category().message(code));
}

/// Visits the write-ahead logs: (path, number). The first failure ends the visit.
template <class Visit>
base::Status each_log_file(const std::filesystem::path& directory, Visit visit) {
    std::error_code error;
    for (std::filesystem::directory_iterator file(directory, error), end; !error && file != end;
         file.increment(error)) {
        if (file->path().extension() != ".log") continue;
        const auto stem = file->path().stem().string();
        std::uint64_t number = 0;
        const auto parsed = std::from_chars(stem.data(), stem.data() + stem.size(), number);
        if (parsed.ec != std::errc() || parsed.ptr != stem.data() + stem.size()) continue;
        if (auto visited = visit(file->path(), number); !visited) return visited;
    }
    if (error) return system_failure("listing", directory, error.value());
    return {};
}

base::Status shorten(const std::filesystem::path& file, std::uint64_t bytes) {
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) {
        if (errno == ENOENT) return {};  // RocksDB had no more use for it
        return system_failure("opening", file, errno);
    }
    struct stat found{};
    const bool unknown = ::fstat(descriptor, &found) != 0;
    const bool longer = unknown || static_cast<std::uint64_t>(found.st_size) > bytes;
    const bool failed =
        (longer && ::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) || ::fsync(descriptor) != 0;
    const int code = errno;
    ::close(descriptor);
    if (failed) return system_failure("shortening", file, code);
    return {};
}

}  // namespace

std::unexpected<base::Error> storage_unavailable(std::string detail) {
    return base::failure(
        base::ErrorKind::unavailable, "storage.unavailable",
        "The credential store is not available right now.",
        "Check the disk under the data directory: free space, permissions, errors in the system's log.",
        std::move(detail));
}

base::Status make_store_directory(const std::filesystem::path& directory) {
    std::error_code error;
    if (std::filesystem::is_directory(directory, error)) return {};
    const auto parent = directory.parent_path();
    if (!make_folders(parent)) return system_failure("creating", parent, errno);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return system_failure("creating", directory, errno);
    if (!sync_folder(parent)) return system_failure("syncing", parent, errno);
    return {};
}

base::Status check_space(const std::filesystem::path& directory) {
    std::uint64_t needed_bytes = kSpareBytes;
    auto listed =
        each_log_file(directory, [&](const std::filesystem::path& file, std::uint64_t) -> base::Status {
            std::error_code gone;
            if (const auto bytes = std::filesystem::file_size(file, gone); !gone) needed_bytes += bytes;
            return {};
        });
    if (!listed) return listed;
    const auto probe = directory / "space.probe";
    const int descriptor = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0) return system_failure("creating", probe, errno);
    int code = ::posix_fallocate(descriptor, 0, static_cast<off_t>(needed_bytes));
    if (code == 0 && ::fsync(descriptor) != 0) code = errno;
    ::close(descriptor);
    ::unlink(probe.c_str());
    if (code != 0)
        return system_failure("reserving " + std::to_string(needed_bytes) + " bytes in", probe, code);
    return {};
}

base::Status cut_log(const std::filesystem::path& directory, LogEnd end) {
    return each_log_file(directory,
                         [&](const std::filesystem::path& file, std::uint64_t number) -> base::Status {
                             if (number < end.file_number) return {};
                             return shorten(file, number == end.file_number ? end.bytes : 0);
                         });
}

}  // namespace claviger::vault
