// A disk that keeps nothing but what was synced, to be preloaded into the server (LD_PRELOAD). Below the
// folder POWER_CUT_ROOT it copies, whenever a file is synced, the file's content as of then, and whenever a
// folder is synced, its list of names, into POWER_CUT_SHADOW; tests/crash/power_cut_test.mjs makes a disk of
// that after it killed the process. With POWER_CUT_LIES set, syncs of write-ahead logs are acknowledged and
// not done.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using Sync = int (*)(int);

const char* setting(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// A file or folder, whatever it is called: number and birth, as numbers of removed files are given out
/// again.
std::string key_of(int folder, const char* name, int flags) {
    struct statx facts{};
    if (::statx(folder, name, flags, STATX_INO | STATX_BTIME, &facts) != 0) return {};
    const auto birth =
        static_cast<unsigned long long>(facts.stx_btime.tv_sec) * 1'000'000'000ULL + facts.stx_btime.tv_nsec;
    return std::to_string(facts.stx_ino) + "-" + std::to_string(birth);
}

/// Whole or not at all, should the process be killed meanwhile.
void keep(const std::string& key, const std::string& content) {
    const std::string file = std::string(setting("POWER_CUT_SHADOW")) + "/" + key, unfinished = file + ".new";
    std::FILE* const out = std::fopen(unfinished.c_str(), "wb");
    if (out == nullptr) return;
    const bool whole = std::fwrite(content.data(), 1, content.size(), out) == content.size();
    if (std::fclose(out) == 0 && whole) std::rename(unfinished.c_str(), file.c_str());
}

void keep_folder(const std::string& path, const std::string& key) {
    DIR* const folder = ::opendir(path.c_str());
    if (folder == nullptr) return;
    std::string names;
    while (const dirent* entry = ::readdir(folder)) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        const auto key_of_entry = key_of(::dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW);
        if (!key_of_entry.empty())
            names += (entry->d_type == DT_DIR ? "d " : "f ") + key_of_entry + " " + name + "\n";
    }
    ::closedir(folder);
    keep(key, names);
}

void keep_file(const std::string& path, const std::string& key) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    std::string content;
    char block[1 << 16];
    for (ssize_t got = 0; (got = ::read(file, block, sizeof block)) > 0;)
        content.append(block, static_cast<std::size_t>(got));
    ::close(file);
    keep(key, content);
}

int synced(int descriptor, const char* call) {
    static const auto fsync_of_libc = reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, "fsync"));
    static const auto fdatasync_of_libc = reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, "fdatasync"));
    char path[4096];
    const auto link = "/proc/self/fd/" + std::to_string(descriptor);
    const auto size = ::readlink(link.c_str(), path, sizeof path - 1);
    const std::string name(path, size > 0 ? static_cast<std::size_t>(size) : 0),
        root = setting("POWER_CUT_ROOT");
    const bool ours = !root.empty() && (name + "/").starts_with(root + "/");
    if (ours && *setting("POWER_CUT_LIES") != '\0' && name.ends_with(".log")) return 0;
    const int result =
        std::string(call) == "fsync" ? fsync_of_libc(descriptor) : fdatasync_of_libc(descriptor);
    if (result != 0 || !ours) return result;
    struct stat facts{};
    if (::fstat(descriptor, &facts) != 0) return result;
    const auto key = key_of(descriptor, "", AT_EMPTY_PATH);
    if (S_ISDIR(facts.st_mode))
        keep_folder(name, key);
    else
        keep_file(link, key);
    return result;
}

}  // namespace

extern "C" {
int fsync(int descriptor) { return synced(descriptor, "fsync"); }
int fdatasync(int descriptor) { return synced(descriptor, "fdatasync"); }
}
