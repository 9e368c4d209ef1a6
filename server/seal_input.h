// What opens or closes a store, taken from where operators keep it: a key file or a passphrase on standard
// input.
#pragma once

#include "base/result.h"
#include "vault/key_ring.h"

#include <filesystem>

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
/// One line from standard input, without its line end. invalid_request "seal.passphrase" under 12 characters.
base::Result<vault::SealInput> read_passphrase_from_stdin();

}  // namespace claviger::server
