#include "server/seal_input.h"

#include "crypto/random.h"
#include "vault/durable_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace claviger::server {
namespace {

using base::ErrorKind;

constexpr std::size_t kShortestPassphrase = 12;

struct PrivateFile {
    std::string what;       // "key file"
    std::string_view code;  // "seal.key_file"
    std::size_t least_bytes;
};

/// systemd gives credentials to a service by an access list, which shows as rights of the group.
bool is_systemd_credential(const std::filesystem::path& file) {
    const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");  // NOLINT: nothing here changes it
    return folder != nullptr && *folder != '\0' && file.parent_path() == std::filesystem::path(folder);
}

/// A file that nobody else may read, whole.
base::Result<crypto::Secret> read_private(const std::filesystem::path& file, const PrivateFile& kind) {
    const auto bad = [&](const std::string& why, std::string hint) {
        return base::failure(ErrorKind::invalid_request, kind.code,
                             "The " + kind.what + " " + file.string() + " " + why + ".", std::move(hint));
    };
    const vault::Descriptor in(file, O_RDONLY);
    struct stat facts{};
    if (!in.good() || ::fstat(in.get(), &facts) != 0)
        return bad(std::string("cannot be read: ") + std::strerror(errno),
                   "Check the path in the config and the file's permissions.");
    if (!S_ISREG(facts.st_mode)) return bad("is not a regular file", "Name the file that holds it.");
    if ((facts.st_mode & (is_systemd_credential(file) ? 037 : 077)) != 0)
        return bad("can be read by others", "chmod 600 it, and consider what is in it known.");
    const auto size = static_cast<std::size_t>(facts.st_size);
    if (size < kind.least_bytes || size > crypto::kMaxSlotInputBytes)
        return bad("is not between " + std::to_string(kind.least_bytes) + " bytes and 64 KiB long",
                   "Name the right file; `claviger init --key-file` makes key files.");
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
    if (!whole) return bad("changed while it was read", "Try again.");
    return secret;
}

}  // namespace

base::Result<vault::SealInput> read_key_file(const std::filesystem::path& file) {
    auto secret = read_private(file, {"key file", "seal.key_file", crypto::kMinKeyFileBytes});
    if (!secret) return std::unexpected(std::move(secret).error());
    return vault::SealInput{crypto::SlotKind::key_file, std::move(*secret)};
}

base::Result<vault::SealInput> read_pin_file(const std::filesystem::path& file,
                                             const std::filesystem::path& module) {
    auto secret = read_private(file, {"PIN file", "seal.pin_file", 1});
    if (!secret) return std::unexpected(std::move(secret).error());
    auto pin = secret->expose([](std::span<const std::byte> bytes) {
        while (!bytes.empty() && (bytes.back() == std::byte{'\n'} || bytes.back() == std::byte{'\r'}))
            bytes = bytes.first(bytes.size() - 1);
        return crypto::Secret::copy_of(bytes);
    });
    vault::SealInput input{crypto::SlotKind::pkcs11, std::move(pin)};
    input.module = module;
    return input;
}

base::Result<vault::SealInput> token_input(const Config& config) {
    if (config.pkcs11_module) return read_pin_file(*config.pkcs11_pin_file, *config.pkcs11_module);
    return base::failure(ErrorKind::invalid_request, "seal.no_module",
                         "This server has no PKCS#11 module in its config.",
                         "Set seal.pkcs11.module and seal.pkcs11.pin_file, then restart it.");
}

std::vector<vault::SealInput> key_files(const Config& config) {
    std::vector<vault::SealInput> files;
    for (const auto& file : {config.key_file, config.previous_key_file})
        if (file)
            if (auto input = read_key_file(*file)) files.push_back(std::move(*input));
    return files;
}

base::Status create_key_file(const std::filesystem::path& file) {
    const bool durable = crypto::Secret::random(32).expose(
        [&](std::span<const std::byte> bytes) { return vault::create_file(file, base::as_view(bytes)); });
    if (durable) return {};
    return base::failure(
        ErrorKind::unavailable, "seal.key_file",
        "The key file " + file.string() + " cannot be created: " + std::strerror(errno) + ".",
        "Choose a folder that you may write to, on another disk than the data.");
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
