// What opens or closes a store, taken from where operators keep it: a key file, the config, or a passphrase
// on standard input.
#pragma once

#include "base/result.h"
#include "server/config.h"
#include "vault/key_ring.h"

#include <filesystem>
#include <vector>

namespace claviger::server {

/// Reads a key file: owned by us, no access for others, 32 bytes to 64 KiB. invalid_request "seal.key_file".
base::Result<vault::SealInput> read_key_file(const std::filesystem::path& file);
/// Writes 32 fresh random bytes, mode 0600, never over an existing file; they survive a power cut once this
/// returns. unavailable "seal.key_file".
base::Status create_key_file(const std::filesystem::path& file);
/// The PIN in a file like a key file's, as what opens a token through `module`. invalid_request
/// "seal.pin_file".
base::Result<vault::SealInput> read_pin_file(const std::filesystem::path& file,
                                             const std::filesystem::path& module);
/// The PIN and the module that the config names. invalid_request "seal.no_module" when it names none.
base::Result<vault::SealInput> token_input(const Config& config);
/// Those key files that the config names and that can be read: a missing one only means that it opens
/// nothing.
std::vector<vault::SealInput> key_files(const Config& config);
/// One line from standard input, without its line end. invalid_request "seal.passphrase" under 12 characters.
base::Result<vault::SealInput> read_passphrase_from_stdin();

}  // namespace claviger::server
