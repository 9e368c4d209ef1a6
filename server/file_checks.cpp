#include "server/file_checks.h"

#include "vault/durable_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace claviger::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr std::uintmax_t kSpaceEnough = 1ULL << 30;
constexpr int kSyncs = 25;
constexpr microseconds kFasterThanAnyDisk{15};  // a flush that reaches any medium takes longer

std::optional<struct stat> facts_of(const fs::path& path) {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) return std::nullopt;
    return facts;
}

std::string octal(mode_t mode) {
    std::ostringstream text;
    text << std::oct << (mode & 07777);
    return text.str();
}

HostCheck check_private(std::string_view name, std::string_view what, const fs::path& path, mode_t refused,
                        const std::string& advice) {
    const auto facts = facts_of(path);
    if (!facts)
        return {
            name, Finding::weak,
            std::string(what) + " " + path.string() + " cannot be looked at: " + vault::system_words() + ".",
            "Check the path in the config, and run this as the server's user."};
    const auto mode = "mode " + octal(facts->st_mode);
    if ((facts->st_mode & refused) != 0)
        return {name, Finding::weak,
                std::string(what) + " " + path.string() + " is open to others (" + mode + ").", advice};
    if (facts->st_uid != ::geteuid() && facts->st_uid != 0)
        return {name, Finding::weak,
                std::string(what) + " " + path.string() + " belongs to another user (" +
                    std::to_string(facts->st_uid) + ").",
                "Give it to the server's user, or run this as that user."};
    return {name, Finding::good, std::string(what) + " is closed to others (" + mode + ")."};
}

/// Two things that must not be lost, or taken, together.
HostCheck check_apart(std::string_view name, std::string_view what, const fs::path& path,
                      const fs::path& data) {
    const auto one = facts_of(path), other = facts_of(data);
    if (!one)
        return {name, Finding::weak,
                std::string(what) + " " + path.string() + " is not there: " + vault::system_words() + ".",
                "Make the folder, or mount it, for the server's user."};
    if (one->st_dev != other.value_or(*one).st_dev)
        return {name, Finding::good, std::string(what) + " lies on another disk than the data."};
    return {name, Finding::weak,
            std::string(what) +
                " lies on the same disk as the data: whoever has one, or loses one, has or loses both.",
            "Move it to another disk or machine."};
}

struct Mount {
    std::string point, type, options;
};

/// The mount that holds `path`: the last of those with the longest mount point (proc(5), mountinfo).
std::optional<Mount> mount_of(const fs::path& path) {
    const auto wanted = fs::weakly_canonical(path).string() + "/";
    std::ifstream in("/proc/self/mountinfo");
    std::optional<Mount> found;
    for (std::string line; std::getline(in, line);) {
        std::istringstream fields(line);
        std::array<std::string, 6> head;  // id, parent, device, root, mount point, options
        for (auto& field : head) fields >> field;
        std::string word, type, source, super_options;
        while (fields >> word && word != "-") {
        }
        fields >> type >> source >> super_options;
        const auto point = head[4] == "/" ? head[4] : head[4] + "/";
        if (wanted.starts_with(point) && (!found || point.size() >= found->point.size()))
            found = Mount{point, type, head[5] + "," + super_options};
    }
    return found;
}

HostCheck check_file_system(const fs::path& data) {
    constexpr std::array kVolatile{"tmpfs", "ramfs"};
    constexpr std::array kAfar{"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"};
    const auto mount = mount_of(data);
    if (!mount) return {"disk.file_system", Finding::unknown, "The data folder's mount is not listed."};
    if (std::ranges::count(kVolatile, mount->type) != 0)
        return {"disk.file_system", Finding::weak,
                "The data folder lies in memory (" + mount->type + "): a reboot loses the store.",
                "Move data_dir to a disk."};
    if (std::ranges::count(kAfar, mount->type) != 0)
        return {"disk.file_system", Finding::weak,
                "The data folder lies on a network file system (" + mount->type +
                    "), whose syncs are only as good as its server.",
                "Move data_dir to a local disk."};
    for (const auto* unsafe : {"nobarrier", "barrier=0"})
        if (("," + mount->options + ",").find("," + std::string(unsafe) + ",") != std::string::npos)
            return {"disk.file_system", Finding::weak,
                    "The file system of the data folder is mounted with " + std::string(unsafe) +
                        ": a power cut loses what was synced.",
                    "Remove that option."};
    return {"disk.file_system", Finding::good, "The data folder lies on " + mount->type + "."};
}

/// Half of the syncs took at most this long; nothing when the folder cannot be written to.
std::optional<microseconds> sync_time(const fs::path& folder) {
    auto name = (folder / ".doctor-XXXXXX").string();
    const vault::Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
    if (!file.good()) return std::nullopt;
    ::unlink(name.c_str());
    std::array<microseconds, kSyncs> took{};
    const std::string block(4096, 'x');
    for (int i = 0; i < kSyncs; ++i) {
        const auto start = steady_clock::now();
        if (::pwrite(file.get(), block.data(), block.size(), i * static_cast<off_t>(block.size())) < 0 ||
            ::fdatasync(file.get()) != 0)
            return std::nullopt;
        took[static_cast<std::size_t>(i)] =
            std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
    }
    std::ranges::sort(took);
    return took[kSyncs / 2];
}

HostCheck check_sync(const fs::path& data) {
    const auto took = sync_time(data);
    if (!took)
        return {"disk.sync", Finding::weak,
                "A file in the data folder cannot be written and synced: " + vault::system_words() + ".",
                "Check space, mode and owner of data_dir, and run this as the server's user."};
    const auto facts = facts_of(data);
    const auto device = std::to_string(major(facts->st_dev)) + ":" + std::to_string(minor(facts->st_dev));
    auto cache = kernel_text("/sys/dev/block/" + device + "/queue/write_cache");
    if (cache.empty()) cache = kernel_text("/sys/dev/block/" + device + "/../queue/write_cache");
    const auto found = "A sync in the data folder takes " + std::to_string(took->count()) + " µs" +
                       (cache.empty() ? "." : ", and the disk's cache is \"" + cache + "\".");
    if (*took >= kFasterThanAnyDisk) return {"disk.sync", Finding::good, found};
    return {
        "disk.sync", Finding::weak,
        found + " That is faster than any medium: something acknowledges syncs that it does not do.",
        "Look for a hypervisor or controller with an unprotected write cache, or a mount without barriers."};
}

HostCheck check_space(const fs::path& data) {
    std::error_code error;
    const auto space = fs::space(data, error);
    if (error)
        return {"disk.space", Finding::unknown, "The free space is not known: " + error.message() + "."};
    const auto found = std::to_string(space.available >> 20) + " MiB are free for the store.";
    if (space.available >= kSpaceEnough) return {"disk.space", Finding::good, found};
    return {"disk.space", Finding::weak, found + " Calls are refused when the access log finds no room.",
            "Make room: the log grows by about 300 bytes an entry."};
}

void check_secrets(const Config& config, HostChecks& checks) {
    const auto closed = [&](std::string_view name, std::string_view what, const fs::path& path) {
        checks.push_back(
            check_private(name, what, path, 077, "chmod 600 it, and consider what is in it known."));
    };
    if (config.key_file) {
        closed("files.key_file", "The key file", *config.key_file);
        checks.push_back(
            check_apart("files.key_file_apart", "The key file", *config.key_file, config.data_dir));
    }
    if (config.pkcs11_pin_file) closed("files.pin_file", "The token's PIN file", *config.pkcs11_pin_file);
    for (const auto* listener : {&config.agents, &config.admin})
        if (listener->tls) closed("files.tls_key", "The TLS key", listener->tls->private_key);
}

}  // namespace

HostChecks check_files(const Config& config, const fs::path& config_file) {
    HostChecks checks;
    checks.push_back(check_private("files.config", "The config", config_file, 022, "chmod 644 or 600 it."));
    checks.push_back(
        check_private("files.data_dir", "The data folder", config.data_dir, 077, "chmod 700 it."));
    check_secrets(config, checks);
    if (config.pin_dir)
        checks.push_back(check_apart("files.pin_dir", "The pin's folder", *config.pin_dir, config.data_dir));
    else
        checks.push_back({"files.pin_dir", Finding::weak,
                          "The access log is not pinned: an older copy of the whole store would not show.",
                          "Set access_log.pin_dir to a folder on another disk or machine."});
    if (config.backup_dir)
        checks.push_back(
            check_apart("files.backup_dir", "The folder for backups", *config.backup_dir, config.data_dir));
    else
        checks.push_back({"files.backup_dir", Finding::weak, "No backups are made.",
                          "Set backup.dir, and run `claviger backup create` from a timer."});
    if (facts_of(config.data_dir)) {
        checks.push_back(check_file_system(config.data_dir));
        checks.push_back(check_sync(config.data_dir));
        checks.push_back(check_space(config.data_dir));
    }
    return checks;
}

}  // namespace claviger::server
