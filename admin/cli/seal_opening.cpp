#include "admin/cli/seal_opening.h"

#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::cli {
namespace {

using crypto::SlotKind;
using nlohmann::json;

std::unexpected<base::Error> not_shown() {
    return usage("The server shows this seal slot in a way that this command does not know.",
                 "Use the `claviger` of the server's version.");
}

base::Result<crypto::Key> from_shares(Context& context, const base::RawId& instance, const json& slot,
                                      const crypto::SlotParameters& parameters) {
    const auto files = context.arguments.values("--share");
    if (files.empty()) return usage("--share FILE is needed, once for each of the holders.");
    crypto::SharesSoFar shares(crypto::share_set_of(instance, parameters));
    for (const auto& file : files) {
        const auto text = read_share(share_source(context), file);
        if (!text) return std::unexpected(text.error());
        auto share = crypto::parse_share(*text);
        if (!share) return std::unexpected(std::move(share).error());
        if (auto added = shares.add(std::move(*share)); !added)
            return std::unexpected(std::move(added).error());
    }
    const auto secret = shares.secret();
    if (!secret) return std::unexpected(secret.error());
    return opening_with(crypto::identity_of_shares(*secret), slot);
}

}  // namespace

ShareSource share_source(Context& context) {
    return {context.arguments.values("--identity"), context.input, context.screen.err()};
}

std::vector<Flag> opening_flags() {
    return {
        {"--identity", "FILE",
         "identity file: of the slot's recipient, or of a holder whose share is encrypted", true},
        {"--share", "FILE", "a holder's share, as text or as a .age file; as many as the slot needs", true},
        {"--key-file", "FILE", "the slot's key file"},
        {"--ask-passphrase", "", "ask for the slot's passphrase"},
    };
}

base::Result<crypto::SlotParameters> parameters_of(const json& slot) {
    crypto::SlotParameters parameters;
    const auto kind = slot.value("kind", "");
    for (const auto known :
         {SlotKind::passphrase, SlotKind::key_file, SlotKind::shares, SlotKind::recipient, SlotKind::pkcs11})
        if (kind == crypto::name_of(known)) parameters.kind = known;
    const auto id = array_from_hex<base::RawId>(slot.value("id", ""));
    if (!id || parameters.kind == SlotKind{}) return not_shown();
    parameters.slot = *id;
    if (parameters.kind == SlotKind::passphrase || parameters.kind == SlotKind::key_file) {
        const auto salt = array_from_hex<std::array<unsigned char, 16>>(slot.value("salt", ""));
        if (!salt) return not_shown();
        parameters.salt = *salt;
        parameters.ops_limit = slot.value("ops_limit", std::uint64_t{0});
        parameters.mem_limit_bytes = slot.value("mem_limit_bytes", std::uint64_t{0});
    }
    if (parameters.emergency()) {
        const auto recipient = crypto::Recipient::parse(slot.value("public_key", ""));
        if (!recipient) return not_shown();
        parameters.recipient = *recipient;
    }
    if (parameters.kind == SlotKind::shares) {
        for (const auto& text : slot.value("commitments", json::array())) {
            const auto point =
                array_from_hex<crypto::GroupPoint>(text.is_string() ? text.get<std::string>() : "");
            if (!point) return not_shown();
            parameters.commitments.push_back(*point);
        }
        for (const auto& holder : slot.value("holders", json::array()))
            parameters.holders.push_back(holder.is_string() ? holder.get<std::string>() : "");
    }
    if (parameters.kind == SlotKind::pkcs11) parameters.token = slot.value("token", "");
    if (!crypto::plausible(parameters)) return not_shown();
    return parameters;
}

base::Result<json> slot_called(const json& seal, const std::string& wanted) {
    std::string names;
    for (const auto& slot : seal.value("slots", json::array())) {
        if (slot.value("id", "") == wanted || slot.value("name", "") == wanted) return slot;
        names += (names.empty() ? "'" : ", '") + slot.value("name", "") + "'";
    }
    return usage("There is no seal slot '" + wanted + "'.",
                 names.empty() ? "The store shows no slots." : "There are " + names + ".");
}

crypto::Secret text_of(const crypto::Key& key) {
    auto text =
        key.expose([](std::span<const std::byte> bytes) { return base::to_base64url(base::as_view(bytes)); });
    auto secret = crypto::Secret::copy_of(std::string_view(text));
    crypto::wipe(std::span(text.data(), text.size()));
    return secret;
}

base::Result<crypto::Key> opening_with(const crypto::Identity& identity, const json& slot) {
    const auto ephemeral = crypto::Recipient::parse(slot.value("ephemeral", ""));
    if (!ephemeral) return not_shown();
    if (identity.recipient().text() != slot.value("public_key", ""))
        return usage("The identity is not that of the seal slot '" + slot.value("name", "") + "'.",
                     "The slot's public key is " + slot.value("public_key", "") + ".");
    return crypto::opening_key(identity, *ephemeral);
}

base::Result<crypto::Key> opening_of(Context& context, const base::RawId& instance, const json& slot) {
    const auto& arguments = context.arguments;
    const auto parameters = parameters_of(slot);
    if (!parameters) return std::unexpected(parameters.error());
    switch (parameters->kind) {
        case SlotKind::shares:
            return from_shares(context, instance, slot, *parameters);
        case SlotKind::recipient: {
            const auto files = arguments.values("--identity");
            if (files.size() != 1)
                return usage("--identity FILE is needed, once: the slot's recipient has it.");
            const auto identity = read_identity(files[0], context.screen.err());
            if (!identity) return std::unexpected(identity.error());
            return opening_with(*identity, slot);
        }
        case SlotKind::key_file: {
            if (!arguments.has("--key-file")) return usage("--key-file FILE is needed: the slot's key file.");
            const auto content = read_key_file(*arguments.value("--key-file"), context.screen.err());
            if (!content) return std::unexpected(content.error());
            return crypto::slot_key(*parameters, *content);
        }
        case SlotKind::passphrase: {
            if (!arguments.has("--ask-passphrase"))
                return usage("--ask-passphrase is needed: it asks for the passphrase.");
            const auto words = read_secret(context.input, "Passphrase (not shown)", context.screen.err());
            if (!words) return std::unexpected(words.error());
            return crypto::slot_key(*parameters, *words);
        }
        case SlotKind::pkcs11:
            break;
    }
    return not_shown();
}

}  // namespace claviger::admin::cli
