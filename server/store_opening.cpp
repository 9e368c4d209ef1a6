#include "server/store_opening.h"

#include "admin/cli/share_input.h"
#include "server/config.h"
#include "server/seal_input.h"

#include <algorithm>
#include <array>
#include <iostream>

#include <unistd.h>

namespace claviger::server {
namespace {

using admin::cli::Arguments;
using admin::cli::usage;
using base::ErrorKind;
using crypto::SlotKind;

base::Result<vault::SealInput> from_shares(const Arguments& arguments, const vault::InstanceSummary& store) {
    const admin::cli::ShareSource source{arguments.values("--identity"), STDIN_FILENO, std::cerr};
    std::optional<crypto::SharesSoFar> shares;
    const vault::SlotSummary* slot = nullptr;
    for (const auto& file : arguments.values("--share")) {
        const auto text = admin::cli::read_share(source, file);
        if (!text) return std::unexpected(text.error());
        auto share = crypto::parse_share(*text);
        if (!share) return std::unexpected(std::move(share).error());
        if (slot == nullptr) {
            const auto found = slot_of_share(store, *share);
            if (!found) return std::unexpected(found.error());
            slot = *found;
            shares.emplace(crypto::share_set_of(store.instance, slot->parameters));
        }
        if (auto added = shares->add(std::move(*share)); !added)
            return std::unexpected(std::move(added).error());
    }
    const auto secret = shares->secret();
    if (!secret) return std::unexpected(secret.error());
    return input_for(*slot, crypto::identity_of_shares(*secret));
}

base::Result<vault::SealInput> from_identity(const Arguments& arguments,
                                             const vault::InstanceSummary& store) {
    const auto files = arguments.values("--identity");
    if (files.size() != 1)
        return usage("Without --share, --identity FILE is given once: the identity of a slot's recipient.");
    const auto identity = admin::cli::read_identity(files[0], std::cerr);
    if (!identity) return std::unexpected(identity.error());
    const auto public_key = identity->recipient().text();
    for (const auto& slot : store.slots)
        if (slot.kind == SlotKind::recipient && slot.parameters.recipient.text() == public_key)
            return input_for(slot, *identity);
    return usage("No seal slot of this store is for the identity " + public_key + ".",
                 "A backup opens with what opened the store when it was made.");
}

base::Result<vault::SealInput> from_token(const Arguments& arguments) {
    const auto config = load_config(*arguments.value("--config"));
    return config ? token_input(*config) : std::unexpected(config.error());
}

base::Result<vault::SealInput> read_input(const Arguments& arguments, const vault::StorageEngine& engine) {
    if (const auto file = arguments.value("--key-file")) return read_key_file(*file);
    if (arguments.has("--passphrase-stdin")) return read_passphrase_from_stdin();
    if (arguments.has("--pkcs11")) return from_token(arguments);
    const auto store = summary_of(engine);
    if (!store) return std::unexpected(store.error());
    return arguments.has("--share") ? from_shares(arguments, *store) : from_identity(arguments, *store);
}

std::unexpected<base::Error> parameters_refused(std::string why) {
    return base::failure(ErrorKind::corrupt, "slot.parameters_refused", std::move(why),
                         "Open the store through another slot.");
}

}  // namespace

base::Result<vault::InstanceSummary> summary_of(const vault::StorageEngine& engine) {
    auto summary = vault::KeyRing::summary(engine);
    if (!summary) return std::unexpected(std::move(summary).error());
    if (!*summary)
        return base::failure(ErrorKind::corrupt, "state.missing", "The store has lost its state record.");
    return std::move(**summary);
}

base::Result<const vault::SlotSummary*> slot_of_share(const vault::InstanceSummary& store,
                                                      const crypto::ShareFile& share) {
    const auto slot = std::ranges::find_if(store.slots, [&](const auto& each) {
        return each.kind == SlotKind::shares && each.parameters.slot == share.set;
    });
    if (slot == store.slots.end()) {  // says which of the two it is, and whose
        auto examined =
            crypto::examine({.instance = store.instance, .set = {}, .commitments = {}, .holders = {}}, share);
        return std::unexpected(std::move(examined).error());
    }
    if (!crypto::plausible(slot->parameters))
        return parameters_refused("The seal slot's parameters are not ones that a slot can have.");
    return &*slot;
}

base::Result<vault::SealInput> input_for(const vault::SlotSummary& slot, const crypto::Identity& identity) {
    if (!slot.ephemeral) return parameters_refused("The seal slot does not hold the active root key.");
    const auto opening = crypto::opening_key(identity, *slot.ephemeral);
    if (!opening) return std::unexpected(opening.error());
    return vault::SealInput{slot.kind, opening->expose([](std::span<const std::byte> bytes) {
                                return crypto::Secret::copy_of(bytes);
                            }),
                            vault::SealInput::Form::opening_key, slot.parameters.slot};
}

base::Result<std::optional<Opening>> opening_named_by(const Arguments& arguments) {
    constexpr std::array<std::string_view, 4> alone{"--key-file", "--passphrase-stdin", "--share",
                                                    "--pkcs11"};
    auto ways = std::ranges::count_if(alone, [&](auto flag) { return arguments.has(flag); });
    if (arguments.has("--identity") && !arguments.has("--share")) ++ways;
    if (ways > 1)
        return usage(
            "Each of --key-file, --passphrase-stdin, --share, --identity and --pkcs11 opens the store.",
            "Give one of them; beside --share, --identity opens shares that are encrypted.");
    if (arguments.has("--pkcs11") != arguments.has("--config"))
        return usage("--pkcs11 and --config FILE go together.",
                     "The server's settings name the token's module and the file with its PIN.");
    if (ways == 0) return std::nullopt;
    return Opening([arguments](const vault::StorageEngine& engine) { return read_input(arguments, engine); });
}

}  // namespace claviger::server
