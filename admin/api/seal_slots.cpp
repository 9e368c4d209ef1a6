#include "admin/api/seal_slots.h"

#include "admin/api/beside.h"
#include "admin/api/fields.h"
#include "admin/api/shown.h"
#include "vault/seal_slots.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using crypto::SlotKind;
using vault::Action;

constexpr auto kDrillEvery = std::chrono::days(90);
constexpr std::array kKinds{SlotKind::passphrase, SlotKind::key_file, SlotKind::shares, SlotKind::recipient,
                            SlotKind::pkcs11};

template <class Array>
std::string hex(const Array& bytes) {
    return base::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// Exactly `Array`'s bytes in hex, or a fault.
template <class Array>
Array bytes_of(Fields& in, std::string_view name, const std::string& text) {
    Array out{};
    const auto bytes = base::from_hex(text);
    if (bytes && bytes->size() == out.size())
        std::ranges::copy(*bytes, out.begin());
    else
        in.refuse(name, "must be " + std::to_string(out.size()) + " bytes in hex.");
    return out;
}

template <class Array>
Array bytes_of(Fields& in, std::string_view name) {
    return bytes_of<Array>(in, name, in.text(name, {1, 128}));
}

crypto::Recipient recipient_of(Fields& in, std::string_view name) {
    const auto recipient = crypto::Recipient::parse(in.text(name, {1, 128}));
    if (!recipient) in.refuse(name, "must be a public key such as `claviger seal keygen` shows: age1…");
    return recipient.value_or(crypto::Recipient{});
}

void read_parameters(Fields& in, crypto::SlotParameters& slot) {
    const auto own_id = [&] { slot.slot = bytes_of<base::RawId>(in, "id"); };
    switch (slot.kind) {
        case SlotKind::passphrase:
            own_id();
            slot.salt = bytes_of<std::array<unsigned char, 16>>(in, "salt");
            slot.ops_limit = in.number_if_any("ops_limit", 1, crypto::kMaxSlotOps).value_or(0);
            slot.mem_limit_bytes =
                in.number_if_any("mem_limit_bytes", 8192, crypto::kMaxSlotMemoryBytes).value_or(0);
            return;
        case SlotKind::key_file:
            own_id();
            slot.salt = bytes_of<std::array<unsigned char, 16>>(in, "salt");
            slot.key_id = bytes_of<std::array<unsigned char, 8>>(in, "key_id");
            return;
        case SlotKind::shares:
            own_id();
            slot.recipient = recipient_of(in, "public_key");
            for (const auto& text : in.texts("commitments", crypto::kMaxShares, {1, 128}))
                slot.commitments.push_back(bytes_of<crypto::GroupPoint>(in, "commitments", text));
            slot.holders = in.texts("holders", crypto::kMaxShares, {1, crypto::kMaxHolderBytes});
            return;
        case SlotKind::recipient:
            slot = crypto::fresh_recipient_slot(recipient_of(in, "public_key"));
            return;
        case SlotKind::pkcs11:
            slot = crypto::fresh_token_slot(in.text("token", {1, 32}));
            return;
    }
}

base::Result<vault::SealInput> token_input(const Call& call) {
    if (call.settings.token_input) return call.settings.token_input();
    return base::failure(ErrorKind::invalid_request, "seal.no_module",
                         "This server has no PKCS#11 module in its config.",
                         "Set seal.pkcs11.module and seal.pkcs11.pin_file, then restart it.");
}

base::Result<vault::SealSlot> token_slot(const Call& call, const vault::NewSlot& wanted) {
    const auto input = token_input(call);
    if (!input) return std::unexpected(input.error());
    auto token = crypto::Token::open(input->module, wanted.parameters.token, input->secret);
    if (!token) return std::unexpected(std::move(token).error());
    return vault::prepare_token_slot(call.records.keys(), call.records.engine(), wanted, *token,
                                     call.records.clock().now());
}

/// The keys of every root key that the slot held.
base::Status destroy_token_keys(const Call& call, const vault::SealSlot& removed) {
    const auto input = token_input(call);
    if (!input) return std::unexpected(input.error());
    auto token = crypto::Token::open(input->module, removed.parameters.token, input->secret);
    if (!token) return std::unexpected(std::move(token).error());
    for (const auto& wrap : removed.wraps)
        if (auto destroyed = token->destroy(removed.parameters.slot, wrap.epoch); !destroyed)
            return destroyed;
    return {};
}

base::Result<vault::InstanceSummary> summary_of(const Call& call) {
    auto summary = vault::KeyRing::summary(call.records.engine());
    if (!summary) return std::unexpected(std::move(summary).error());
    if (!*summary)
        return base::failure(ErrorKind::corrupt, "state.missing", "The store has lost its state record.");
    return std::move(**summary);
}

base::Result<vault::SlotSummary> slot_of(const Call& call, std::string_view id) {
    auto summary = summary_of(call);
    if (!summary) return std::unexpected(std::move(summary).error());
    for (auto& slot : summary->slots)
        if (slot.id == id) return std::move(slot);
    return base::failure(ErrorKind::not_found, "seal.slot_not_found",
                         "This store has no seal slot " + policy::in_quotes(id) + ".",
                         "`claviger seal status` lists them.");
}

base::Result<Json> shown_after(const Call& call, const base::RawId& id) {
    const auto slot = slot_of(call, vault::slot_id_text(id));
    if (!slot) return std::unexpected(slot.error());
    return shown_slot(*slot);
}

/// What shall open the slot now.
base::Result<vault::SealInput> proof_of(const Call& call, const vault::SlotSummary& slot,
                                        const std::optional<crypto::Key>& opening) {
    if (slot.kind == SlotKind::pkcs11) {
        auto input = token_input(call);
        if (input) input->slot = slot.parameters.slot;
        return input;
    }
    if (!opening)
        return base::failure(ErrorKind::invalid_request, "seal.key_missing",
                             "opening_key is required for a slot of this kind.",
                             "`claviger seal verify` makes it from what opens the slot.");
    return vault::SealInput{slot.kind, opening->expose([](std::span<const std::byte> bytes) {
                                return crypto::Secret::copy_of(bytes);
                            }),
                            vault::SealInput::Form::opening_key, slot.parameters.slot};
}

void note(vault::Change& change, Action action, const base::RawId& slot) {
    change.note(vault::EntryKind::seal, action, vault::ObjectKind::seal_slot, slot);
}

}  // namespace

std::optional<crypto::Key> opening_key_of(Fields& in, std::string_view name) {
    const auto text = in.secret_if_any(name, 64, SecretForm::any_text);
    if (!text) return std::nullopt;
    std::optional<crypto::Key> key;
    text->expose([&](std::span<const std::byte> characters) {
        auto bytes = base::from_base64url(base::as_view(characters));
        if (!bytes) return;
        if (bytes->size() == crypto::Key::kBytes)
            key = crypto::Key::filled(
                [&](std::span<std::byte> out) { std::ranges::copy(base::as_span(*bytes), out.begin()); });
        crypto::wipe(std::span(bytes->data(), bytes->size()));
    });
    if (!key) in.refuse(name, "must be 32 bytes in base64url.");
    return key;
}

Json shown_slot(const vault::SlotSummary& slot) {
    const auto& given = slot.parameters;
    Json shown{{"id", slot.id},
               {"type", "seal_slot"},
               {"kind", crypto::name_of(slot.kind)},
               {"name", slot.name.empty() ? Json(crypto::name_of(slot.kind)) : Json(slot.name)},
               {"emergency", given.emergency()},
               {"created_at", api::shown(slot.created)},
               {"verified_at", api::shown(slot.verified)}};
    switch (slot.kind) {
        case SlotKind::passphrase:
            shown["salt"] = hex(given.salt);
            shown["ops_limit"] = given.ops_limit;
            shown["mem_limit_bytes"] = given.mem_limit_bytes;
            break;
        case SlotKind::key_file:
            shown["salt"] = hex(given.salt);
            shown["key_id"] = hex(given.key_id);
            break;
        case SlotKind::shares: {
            auto commitments = Json::array();
            for (const auto& point : given.commitments) commitments.push_back(hex(point));
            shown["threshold"] = given.commitments.size();
            shown["holders"] = given.holders;
            shown["commitments"] = std::move(commitments);
            [[fallthrough]];
        }
        case SlotKind::recipient:
            shown["public_key"] = given.recipient.text();
            if (slot.ephemeral) shown["ephemeral"] = slot.ephemeral->text();
            break;
        case SlotKind::pkcs11:
            shown["token"] = given.token;
            break;
    }
    return shown;
}

SlotStanding standing_of(const vault::SlotSummary& slot, base::Time now) {
    if (!slot.verified) return SlotStanding::never_verified;
    const bool overdue = slot.parameters.emergency() && now - *slot.verified > kDrillEvery;
    return overdue ? SlotStanding::drill_overdue : SlotStanding::proven;
}

Json shown_seal(const vault::InstanceSummary& instance, base::Time now) {
    auto slots = Json::array();
    auto warnings = Json::array();
    std::size_t verified = 0, emergency = 0;
    for (const auto& slot : instance.slots) {
        slots.push_back(shown_slot(slot));
        const auto name = slots.back().value("name", "");
        if (slot.verified) ++verified;
        if (slot.verified && slot.parameters.emergency()) ++emergency;
        const auto standing = standing_of(slot, now);
        if (standing == SlotStanding::never_verified)
            warnings.push_back("'" + name + "' was never verified: nobody knows whether it opens.");
        if (standing == SlotStanding::drill_overdue)
            warnings.push_back("The last drill of '" + name + "' was more than 90 days ago.");
    }
    if (verified < 2)
        warnings.push_back("Only one slot is known to open the store: who loses it loses the store.");
    if (emergency == 0)
        warnings.push_back(
            "There is no verified emergency slot: add shares or a recipient with `claviger seal add`.");
    return {
        {"instance", hex(instance.instance)}, {"slots", std::move(slots)}, {"warnings", std::move(warnings)}};
}

net::awaitable<Answered> list_seal_slots(Call& call) {
    const auto summary = summary_of(call);
    if (!summary) co_return std::unexpected(summary.error());
    co_return answer(shown_seal(*summary, call.records.clock().now()));
}

net::awaitable<Answered> create_seal_slot(Call& call) {
    Fields in(call.body);
    vault::NewSlot wanted;
    wanted.name = in.text("name", {1, vault::kMaxSlotName});
    wanted.parameters.kind =
        kKinds[in.word("kind", {"passphrase", "key_file", "shares", "recipient", "pkcs11"})];
    const bool passphrase = wanted.parameters.kind == SlotKind::passphrase;
    if (passphrase || wanted.parameters.kind == SlotKind::key_file) {
        wanted.opening = opening_key_of(in, "opening_key");
        if (!wanted.opening) in.refuse("opening_key", "is required for this kind.");
    }
    if (passphrase && !in.flag("allow_passphrase", false))
        in.refuse(
            "allow_passphrase",
            "must be true: a passphrase can be guessed by whoever has a copy of the disk. Prefer a key file, "
            "shares or a token.",
            "seal.passphrase_refused");
    read_parameters(in, wanted.parameters);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    if (wanted.parameters.kind == SlotKind::pkcs11) {
        auto prepared = co_await beside<base::Result<vault::SealSlot>>(
            call, [&call, &wanted] { return token_slot(call, wanted); });
        if (!prepared) co_return std::unexpected(std::move(prepared).error());
        wanted.prepared = std::move(*prepared);
    }
    base::RawId id{};
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto added = vault::add_slot(change.transaction(), wanted);
        if (!added) return std::unexpected(added.error());
        id = added->parameters.slot;
        note(change, Action::create, id);
        return {};
    });
    if (!stored) co_return std::unexpected(stored.error());
    const auto shown = shown_after(call, id);
    if (!shown) co_return std::unexpected(shown.error());
    co_return answer(*shown);
}

net::awaitable<Answered> verify_seal_slot(Call& call) {
    Fields in(call.body);
    const auto action = in.flag("drill", false) ? Action::drill : Action::validate;
    const auto opening = opening_key_of(in, "opening_key");
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto slot = slot_of(call, call.ids[0]);
    if (!slot) co_return std::unexpected(slot.error());

    const auto input = proof_of(call, *slot, opening);
    if (!input) co_return std::unexpected(input.error());
    auto opened = co_await beside<base::Result<base::RawId>>(
        call, [&] { return call.records.keys().check(call.records.engine(), *input); });
    if (!opened) {
        auto error = std::move(opened).error();
        if (error.kind == ErrorKind::unauthenticated)
            error.kind = ErrorKind::conflict;  // the caller's key is good
        co_return std::unexpected(std::move(error));
    }
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        note(change, action, slot->parameters.slot);
        return vault::slot_verified(change.transaction(), slot->parameters.slot);
    });
    if (!stored) co_return std::unexpected(stored.error());
    const auto shown = shown_after(call, slot->parameters.slot);
    if (!shown) co_return std::unexpected(shown.error());
    co_return answer(*shown);
}

net::awaitable<Answered> delete_seal_slot(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto destroy = call.query.flag("destroy_token_key");
    if (!destroy) co_return std::unexpected(destroy.error());
    const auto slot = slot_of(call, call.ids[0]);
    if (!slot) co_return std::unexpected(slot.error());
    if (*destroy && slot->kind != SlotKind::pkcs11)
        co_return base::failure(ErrorKind::invalid_request, "seal.no_token_key",
                                "'" + slot->name + "' has no key in a token that could be destroyed.",
                                "Remove it without destroy_token_key.");
    std::optional<vault::SealSlot> removed;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        note(change, Action::erase, slot->parameters.slot);
        auto gone = vault::remove_slot(change.transaction(), slot->parameters.slot);
        if (!gone) return std::unexpected(std::move(gone).error());
        removed = std::move(*gone);
        return {};
    });
    if (!stored) co_return std::unexpected(stored.error());
    Json shown{{"id", slot->id}, {"type", "seal_slot_deleted"}};
    if (slot->kind == SlotKind::pkcs11) {
        // Only now: a key that is destroyed first and a slot that stays would be a way in that is none.
        const auto destroyed =
            *destroy ? co_await beside<base::Status>(call, [&] { return destroy_token_keys(call, *removed); })
                     : base::Status();
        shown["token_key"] = !*destroy ? "kept" : destroyed ? "destroyed" : "failed";
        shown["problem"] = destroyed ? Json(nullptr)
                                     : Json{{"code", destroyed.error().code},
                                            {"message", destroyed.error().message},
                                            {"hint", "Destroy the keys whose CKA_ID begins with " + slot->id +
                                                         " with the token's own tools."}};
    }
    co_return answer(shown);
}

}  // namespace claviger::admin::api
