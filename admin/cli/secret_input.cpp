#include "admin/cli/secret_input.h"

#include "admin/cli/arguments.h"

#include <cerrno>
#include <cstring>
#include <ostream>
#include <string>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using crypto::Secret;

constexpr std::size_t kMostBytes = 64 * 1024;

class OpenFile {
public:
    explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
    ~OpenFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    int get() const { return descriptor_; }

private:
    int descriptor_;
};

/// Switches the terminal's echo off, and on again also when the operator presses Ctrl-C.
class SilentTerminal {
public:
    explicit SilentTerminal(int terminal) : terminal_(terminal) {
        struct sigaction interrupted{};
        interrupted.sa_handler = [](int) {};  // without SA_RESTART: read() returns, and the echo comes back
        sigaction(SIGINT, &interrupted, &before_interrupt_);
        tcgetattr(terminal_, &before_);
        auto silent = before_;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        tcsetattr(terminal_, TCSAFLUSH, &silent);
    }
    ~SilentTerminal() {
        tcsetattr(terminal_, TCSAFLUSH, &before_);
        sigaction(SIGINT, &before_interrupt_, nullptr);
    }
    SilentTerminal(const SilentTerminal&) = delete;
    SilentTerminal& operator=(const SilentTerminal&) = delete;

private:
    int terminal_;
    termios before_{};
    struct sigaction before_interrupt_{};
};

struct Read {
    std::size_t bytes = 0;
    int error = 0;
};

/// Fills `room` until the end of input, or of the line.
Read read_into(int input, std::span<std::byte> room, bool one_line) {
    Read read;
    while (read.bytes < room.size()) {
        const auto got = ::read(input, room.data() + read.bytes, room.size() - read.bytes);
        if (got < 0 && errno == EINTR && !one_line) continue;
        if (got < 0) read.error = errno;
        if (got <= 0) break;
        read.bytes += static_cast<std::size_t>(got);
        if (one_line && room[read.bytes - 1] == std::byte{'\n'}) break;
    }
    return read;
}

base::Result<Secret> read_bytes(int input, std::string_view source, bool one_line) {
    Read read;
    const auto room = Secret::filled(
        kMostBytes + 1, [&](std::span<std::byte> bytes) { read = read_into(input, bytes, one_line); });
    if (read.error == EINTR) return usage("Interrupted; nothing was done.");
    if (read.error != 0)
        return usage("The secret could not be read from " + std::string(source) + ": " +
                     std::strerror(read.error) + ".");
    if (read.bytes > kMostBytes)
        return usage("What was given on " + std::string(source) +
                     " is longer than 64 KiB: that is not a secret.");
    return room.expose(
        [&](std::span<const std::byte> bytes) { return Secret::copy_of(bytes.first(read.bytes)); });
}

base::Result<Secret> without_line_end(Secret read, std::string_view source) {
    return read.expose([&](std::span<const std::byte> bytes) -> base::Result<Secret> {
        if (!bytes.empty() && bytes.back() == std::byte{'\n'}) bytes = bytes.first(bytes.size() - 1);
        if (!bytes.empty() && bytes.back() == std::byte{'\r'}) bytes = bytes.first(bytes.size() - 1);
        if (bytes.empty())
            return usage("No secret was given on " + std::string(source) + ".",
                         "For example: `claviger credential create … < token.txt`.");
        return Secret::copy_of(bytes);
    });
}

base::Result<Secret> read_file(const std::filesystem::path& file, std::ostream& err) {
    const OpenFile opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (opened.get() < 0)
        return usage("The file " + file.string() + " cannot be read: " + std::strerror(errno) + ".",
                     "Check the path and who may read it.");
    struct stat status{};
    if (fstat(opened.get(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 077) != 0)
        err << "warning: " << file.string() << " holds a secret and other users may read it; run `chmod 600 "
            << file.string() << "`.\n";
    return read_bytes(opened.get(), file.string(), false);
}

}  // namespace

base::Result<Secret> read_secret(int input, std::string_view prompt, std::ostream& err) {
    if (::isatty(input) == 0) {
        auto read = read_bytes(input, "standard input", false);
        if (!read) return read;
        return without_line_end(*std::move(read), "standard input");
    }
    auto read = [&] {
        // Before the prompt: what is typed at once is not shown, either.
        const SilentTerminal silent(input);
        err << prompt << ": " << std::flush;
        return read_bytes(input, "the terminal", true);
    }();
    err << "\n";
    if (!read) return read;
    return without_line_end(*std::move(read), "the terminal");
}

base::Result<Secret> read_secret_file(const std::filesystem::path& file, int input, std::ostream& err) {
    if (file == "-") return read_secret(input, "Secret", err);
    auto read = read_file(file, err);
    if (!read) return read;
    return without_line_end(*std::move(read), file.string());
}

base::Result<Secret> read_key_file(const std::filesystem::path& file, std::ostream& err) {
    return read_file(file, err);
}

}  // namespace claviger::admin::cli
