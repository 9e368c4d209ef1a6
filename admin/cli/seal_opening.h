// What opens a seal slot, made on the operator's side: identities and passphrases never reach the server.
#pragma once

#include "admin/cli/objects.h"
#include "admin/cli/share_input.h"
#include "crypto/seal_slot.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace claviger::admin::cli {

/// A slot as the server shows it. "cli.usage" when it shows none, or one of a later version.
base::Result<crypto::SlotParameters> parameters_of(const nlohmann::json& slot);

/// The one slot that is called `wanted`, or has that id. "cli.usage" with the names there are.
base::Result<nlohmann::json> slot_called(const nlohmann::json& seal, const std::string& wanted);

/// --identity, --share (repeatable), --key-file and --ask-passphrase of `verify` and `drill`.
std::vector<Flag> opening_flags();

/// The opening key of the slot from what the flags name. Blocks for seconds with a passphrase.
base::Result<crypto::Key> opening_of(Context& context, const base::RawId& instance,
                                     const nlohmann::json& slot);

/// A key as base64url, to travel in a request.
crypto::Secret text_of(const crypto::Key& key);

/// With the identities that --identity names.
ShareSource share_source(Context& context);
/// The key that opens the slot's wrap, from the ephemeral key that the server shows.
base::Result<crypto::Key> opening_with(const crypto::Identity& identity, const nlohmann::json& slot);

/// The bytes of a hex text; nothing for another length.
template <class Array>
std::optional<Array> array_from_hex(std::string_view text) {
    const auto bytes = base::from_hex(text);
    if (!bytes || bytes->size() != Array{}.size()) return std::nullopt;
    Array array{};
    std::copy(bytes->begin(), bytes->end(), array.begin());
    return array;
}

}  // namespace claviger::admin::cli
