#include "admin/cli/share_input.h"

#include "admin/cli/arguments.h"
#include "admin/cli/secret_input.h"
#include "base/bytes.h"
#include "crypto/age_file.h"

namespace claviger::admin::cli {

base::Result<crypto::Identity> read_identity(const std::string& file, std::ostream& err) {
    const auto text = read_key_file(file, err);
    if (!text) return std::unexpected(text.error());
    return crypto::Identity::parse(*text);
}

base::Result<crypto::Secret> read_share(const ShareSource& source, const std::string& file) {
    auto text = file == "-" ? read_secret(source.input, "Share (not shown)", source.err)
                            : read_key_file(file, source.err);
    if (!text) return text;
    const bool encrypted = text->expose(
        [](std::span<const std::byte> bytes) { return crypto::is_age_file(base::as_view(bytes)); });
    if (!encrypted) return text;
    if (source.identities.empty())
        return usage("The share in " + file + " is encrypted to its holder.",
                     "Add --identity FILE of the holder.");
    for (const auto& name : source.identities) {
        const auto identity = read_identity(name, source.err);
        if (!identity) return std::unexpected(identity.error());
        auto plain = text->expose([&](std::span<const std::byte> bytes) {
            return crypto::age_decrypt(*identity, base::as_view(bytes));
        });
        if (plain || plain.error().code != "age.other_recipient") return plain;
    }
    return usage("The share in " + file + " is encrypted to somebody else.",
                 "Name the identity file of its own holder with --identity.");
}

}  // namespace claviger::admin::cli
