// Secrets on their way in: from a terminal without echo, from a pipe, or from a file, straight into locked
// memory.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <filesystem>
#include <iosfwd>
#include <string_view>

namespace claviger::admin::cli {

/// Reads `input` to its end, or one line without echo when it is a terminal (after `prompt` on `err`). One
/// line end behind the secret is dropped. Blocks. Fails with "cli.usage" on an empty or oversized (64 KiB)
/// secret.
base::Result<crypto::Secret> read_secret(int input, std::string_view prompt, std::ostream& err);

/// The same from a file; "-" is `input`. Says so on `err` when other users may read the file.
base::Result<crypto::Secret> read_secret_file(const std::filesystem::path& file, int input,
                                              std::ostream& err);

/// The file's bytes exactly as they are: for key files, which are not text.
base::Result<crypto::Secret> read_key_file(const std::filesystem::path& file, std::ostream& err);

}  // namespace claviger::admin::cli
