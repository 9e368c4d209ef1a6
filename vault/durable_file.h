// Small files beside the store that must be whole or not there after a crash or a power cut.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::vault {

/// A file descriptor that is closed whichever way its scope ends.
class Descriptor {
public:
    explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
    /// With O_CLOEXEC. not good(), and errno set, when it cannot be opened.
    Descriptor(const std::filesystem::path& path, int flags, unsigned mode = 0);
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
    Descriptor& operator=(Descriptor&&) = delete;

    bool good() const { return descriptor_ >= 0; }
    int get() const { return descriptor_; }

private:
    int descriptor_;
};

/// "No space left on device": what errno means.
std::string system_words();

inline constexpr std::string_view kUnfinishedFile = ".new";

// The following block on the disk. They return false, and leave errno, when it did not work.

bool sync_folder(const std::filesystem::path& folder);  // an empty one is the working folder
/// The folder, and what is missing above it; each that it makes is synced into the one above.
bool make_folders(const std::filesystem::path& folder);
/// A file that was not there (else errno is EEXIST), whole, synced, and its name as well. Mode 0600. What
/// could not be made durable is taken away again.
bool create_file(const std::filesystem::path& path, base::ByteView content);
/// Takes the room for a file of that many bytes, which replace_file() of the same path then cannot lack.
bool take_room(const std::filesystem::path& path, std::size_t bytes);
/// Also when none was taken.
bool give_room_back(const std::filesystem::path& path);
/// The whole file by another name, synced, then renamed: readers see the old content or the new one. Mode
/// 0600. What could not be written whole is taken away again; a crash may leave it, with the extension
/// kUnfinishedFile.
bool replace_file(const std::filesystem::path& path, base::ByteView content);
/// Nothing, and errno set, when it cannot be read or is longer than `most` bytes (EFBIG).
std::optional<base::Bytes> read_file(const std::filesystem::path& path, std::size_t most);

}  // namespace claviger::vault
