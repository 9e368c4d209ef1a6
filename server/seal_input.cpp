#include "server/seal_input.h"

#include "crypto/random.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace claviger::server {
namespace {

using base::ErrorKind;

constexpr std::size_t kShortestPassphrase = 12;

std::unexpected<base::Error> bad_key_file(const std::filesystem::path& file, const std::string& why,
                                          std::string hint) {
    return base::failure(ErrorKind::invalid_request, "seal.key_file",
                         "The key file " + file.string() + " " + why + ".", std::move(hint));
}

/// A descriptor that closes itself.
class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

}  // namespace

base::Result<vault::SealInput> read_key_file(const std::filesystem::path& file) {
    const Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat facts{};
    if (in.get() < 0 || ::fstat(in.get(), &facts) != 0)
        return bad_key_file(file, std::string("cannot be read: ") + std::strerror(errno),
                            "Check seal.key_file and its permissions.");
    if (!S_ISREG(facts.st_mode))
        return bad_key_file(file, "is not a regular file", "Name the file that `claviger init` made.");
    if ((facts.st_mode & 077) != 0)
        return bad_key_file(file, "can be read by others", "chmod 600 it, and consider the key known.");
    const auto size = static_cast<std::size_t>(facts.st_size);
    if (size < crypto::kMinKeyFileBytes || size > crypto::kMaxSlotInputBytes)
        return bad_key_file(file, "is not between 32 bytes and 64 KiB long",
                            "Name the file that `claviger init` made.");
    bool whole = true;
    auto secret = crypto::Secret::filled(size, [&](std::span<std::byte> out) {
        for (std::size_t got = 0; got < out.size() && whole;) {
            const auto read = ::read(in.get(), out.data() + got, out.size() - got);
            if (read > 0)
                got += static_cast<std::size_t>(read);
            else if (read == 0 || errno != EINTR)
                whole = false;
        }
    });
    if (!whole) return bad_key_file(file, "changed while it was read", "Try again.");
    return vault::SealInput{crypto::SlotKind::key_file, std::move(secret)};
}

base::Status create_key_file(const std::filesystem::path& file) {
    const Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    const auto failed = [&] {
        return base::failure(
            ErrorKind::unavailable, "seal.key_file",
            "The key file " + file.string() + " cannot be created: " + std::strerror(errno) + ".",
            "Choose a folder that you may write to, on another disk than the data.");
    };
    if (out.get() < 0) return failed();
    const bool written = crypto::Secret::random(32).expose([&](std::span<const std::byte> bytes) {
        return ::write(out.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
    });
    if (!written || ::fsync(out.get()) != 0) return failed();
    return {};
}

base::Result<vault::SealInput> read_passphrase_from_stdin() {
    std::size_t size = 0;
    auto line = crypto::Secret::filled(1'024, [&](std::span<std::byte> out) {
        while (size < out.size() && ::read(STDIN_FILENO, out.data() + size, 1) == 1 &&
               out[size] != std::byte{'\n'})
            ++size;
    });
    if (size < kShortestPassphrase)
        return base::failure(ErrorKind::invalid_request, "seal.passphrase",
                             "The passphrase is shorter than 12 characters.",
                             "Give it as one line on standard input.");
    return vault::SealInput{crypto::SlotKind::passphrase, line.expose([&](std::span<const std::byte> bytes) {
                                return crypto::Secret::copy_of(bytes.first(size));
                            })};
}

}  // namespace claviger::server
