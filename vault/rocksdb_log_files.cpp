#include "vault/rocksdb_log_files.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <tuple>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace claviger::vault {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

constexpr std::uint64_t kLaidOutAtOnce = 256 * 1024;

IOStatus failure_of(const std::string& file, const char* doing) {
    const int why = errno;
    const auto text = std::string("while ") + doing + " " + file;
    if (why == ENOSPC) return IOStatus::NoSpace(text, std::strerror(why));
    return IOStatus::IOError(text, std::strerror(why));
}

bool write_at(int fd, std::string_view bytes, std::uint64_t at) {
    while (!bytes.empty()) {
        const auto written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(written));
        at += static_cast<std::uint64_t>(written);
    }
    return true;
}

}  // namespace

/// One log. What stands behind `size_` is zeros, which reading takes for the end (RocksDB's log_format.h
/// keeps record type 0 for files that were laid out ahead).
class LogFile final : public rocksdb::FSWritableFile {
public:
    LogFile(std::string name, int fd, std::uint64_t number, LogFiles& files)
        : name_(std::move(name)), fd_(fd), number_(number), files_(files) {
        files_.moved({number_, 0});
    }
    ~LogFile() override { LogFile::Close({}, nullptr).PermitUncheckedError(); }

    using FSWritableFile::Append;
    IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
        if (!write_at(fd_, {data.data(), data.size()}, size_)) return failure_of(name_, "writing to");
        size_ += data.size();
        if (size_ > laid_out_) lay_out();
        files_.moved({number_, size_});
        return IOStatus::OK();
    }
    IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
    IOStatus Sync(const IOOptions&, IODebugContext*) override {
        return ::fdatasync(fd_) == 0 ? IOStatus::OK() : failure_of(name_, "syncing");
    }
    bool IsSyncThreadSafe() const override { return true; }
    std::uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

    IOStatus Close(const IOOptions&, IODebugContext*) override {
        if (fd_ < 0) return IOStatus::OK();
        // A log that was cut meanwhile stays as short as it is.
        struct stat now{};
        const auto size = static_cast<off_t>(size_);
        if (::fstat(fd_, &now) == 0 && now.st_size > size) std::ignore = ::ftruncate(fd_, size);
        return ::close(std::exchange(fd_, -1)) == 0 ? IOStatus::OK() : failure_of(name_, "closing");
    }

private:
    /// What cannot be laid out is written to as it comes: slower, and no error.
    void lay_out() {
        static constexpr std::array<char, kLaidOutAtOnce> zeros{};
        const auto end = (size_ / kLaidOutAtOnce + 1) * kLaidOutAtOnce;
        laid_out_ = write_at(fd_, {zeros.data(), end - size_}, size_) ? end : size_;
    }

    const std::string name_;
    int fd_;
    const std::uint64_t number_;
    LogFiles& files_;
    std::uint64_t size_ = 0;      // of what was written
    std::uint64_t laid_out_ = 0;  // where the zeros behind it end
};

LogFiles::LogFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

IOStatus LogFiles::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                   std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
    const std::filesystem::path path(name);
    if (path.extension() != ".log") return target()->NewWritableFile(name, options, file, debug);
    const int fd = ::open(name.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return failure_of(name, "creating");
    *file = std::make_unique<LogFile>(name, fd, std::strtoull(path.filename().c_str(), nullptr, 10), *this);
    return IOStatus::OK();
}

LogEnd LogFiles::end() const {
    const std::lock_guard lock(mutex_);
    return end_;
}

void LogFiles::moved(LogEnd end) {
    const std::lock_guard lock(mutex_);
    end_ = end;
}

}  // namespace claviger::vault
