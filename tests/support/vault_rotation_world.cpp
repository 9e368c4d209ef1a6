#include "tests/support/vault_rotation_world.h"

#include "crypto/random.h"
#include "vault/seal_slots.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iterator>
#include <thread>

namespace claviger::test::keys {
namespace {

using namespace vault;
using crypto::SlotKind;

const std::filesystem::path kModule = "/usr/lib/softhsm/libsofthsm2.so";
constexpr std::string_view kPin = "2468-user", kPassphrase = "correct horse battery staple";
constexpr unsigned kThreshold = 2;

constexpr char kFirstFile = 'k', kNextFile = 'n';
constexpr std::byte kRecipient{0x5a}, kSpare{0x5b};

crypto::Secret key_file_content(char letter) { return crypto::Secret::copy_of(std::string(64, letter)); }

/// That of the two whose id the slot names.
crypto::Secret key_file_of(const crypto::SlotParameters& slot) {
    auto next = key_file_content(kNextFile);
    return crypto::key_file_id(next) == slot.key_id ? std::move(next) : key_file_content(kFirstFile);
}

crypto::Identity identity_of(std::byte seed) {
    return crypto::Identity::of(
        crypto::Key::filled([seed](std::span<std::byte> out) { std::ranges::fill(out, seed); }));
}

crypto::Identity identity_of(const crypto::SlotParameters& slot) {
    auto spare = identity_of(kSpare);
    return spare.recipient() == slot.recipient ? std::move(spare) : identity_of(kRecipient);
}

void tell(const std::function<void(const std::string&, const std::string&)>& listener,
          const std::string& slot, const std::string& state) {
    if (listener) listener(slot, state);
}

base::RawId add(Records& records, NewSlot wanted, const RotationWorld::Telling& telling) {
    base::RawId id{};
    tell(telling.before, wanted.name, "added");
    const auto added = change(records, [&](Change& now) -> base::Status {
        const auto slot = add_slot(now.transaction(), wanted);
        if (!slot) return std::unexpected(slot.error());
        id = slot->parameters.slot;
        now.note(EntryKind::seal, Action::create, ObjectKind::seal_slot, id);
        return {};
    });
    must(added.has_value(), "slot " + wanted.name + ": " + (added ? "" : added.error().message));
    tell(telling.after, wanted.name, "added");
    return id;
}

crypto::Secret secret_of(const crypto::Key& key) {
    return key.expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
}

std::string content_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

SealInput with_slot(SealInput input, const base::RawId& slot) {
    input.slot = slot;
    return input;
}

SealInput token_input() {
    return {SlotKind::pkcs11, crypto::Secret::copy_of(kPin), SealInput::Form::as_kept, {}, kModule};
}

}  // namespace

void must(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(1);
}

RotationWorld::RotationWorld(std::filesystem::path folder) : folder_(std::move(folder)) {
    if (!std::filesystem::exists(kModule) || std::getenv("KEY_CRASH_NO_TOKEN") != nullptr) return;
    const auto tokens = folder_ / "tokens";
    const auto config = folder_ / "softhsm2.conf";
    ::setenv("SOFTHSM2_CONF", config.c_str(), 1);
    token_ = true;
    if (std::filesystem::exists(config)) return;
    std::filesystem::create_directories(tokens);
    std::ofstream(config) << "directories.tokendir = " << tokens.string()
                          << "\nobjectstore.backend = file\nlog.level = ERROR\n";
    const auto command = "softhsm2-util --init-token --free --label vaultkeys --so-pin 13579-so --pin " +
                         std::string(kPin) + " > /dev/null 2>&1";
    token_ = std::system(command.c_str()) == 0;
}

void RotationWorld::initialise(StorageEngine& engine, const base::Clock& clock) const {
    if (engine.last_commit() != 0) return;
    std::vector<SealInput> inputs;
    inputs.push_back({SlotKind::passphrase, crypto::Secret::copy_of(kPassphrase)});
    inputs.push_back({SlotKind::key_file, key_file_content(kFirstFile)});
    const auto made = Records::initialise(engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
    must(made.has_value(), "the store cannot be made");
}

void RotationWorld::add_slots(Records& records, const Telling& telling) const {
    const auto slots = KeyRing::summary(records.engine()).value()->slots;
    const auto has = [&](std::string_view name) {
        return std::ranges::any_of(slots, [&](const auto& slot) { return slot.name == name; });
    };
    if (!has("recipient"))
        add(records, {"recipient", crypto::fresh_recipient_slot(identity_of(kRecipient).recipient())},
            telling);
    if (!has("quorum")) {
        const auto dealt =
            crypto::deal_slot(records.keys().instance(), {"alice", "bob", "carol"}, kThreshold).value();
        for (const auto& file : dealt.files)
            crypto::share_text(file).expose([&](std::span<const std::byte> bytes) {
                std::ofstream(folder_ / ("share." + file.holder), std::ios::binary) << base::as_view(bytes);
            });
        add(records, {"quorum", dealt.parameters}, telling);
    }
    if (token_ && !has("token")) {
        const NewSlot wanted{"token", crypto::fresh_token_slot("vaultkeys")};
        auto token = crypto::Token::open(kModule, "vaultkeys", crypto::Secret::copy_of(kPin));
        must(token.has_value(), "the token does not open");
        auto prepared =
            prepare_token_slot(records.keys(), records.engine(), wanted, *token, records.clock().now());
        must(prepared.has_value(), "the token makes no key");
        add(records, {wanted.name, wanted.parameters, {}, std::move(*prepared)}, telling);
    }
    for (const auto& way : ways_in(records.engine())) {
        const auto slot = records.keys().check(records.engine(), way.input());
        must(slot.has_value(), "slot " + way.slot + ": " + (slot ? "" : slot.error().message));
        tell(telling.before, way.slot, "verified");
        const auto noted = change(records, [&](Change& now) -> base::Status {
            now.note(EntryKind::seal, Action::validate, ObjectKind::seal_slot, *slot);
            return slot_verified(now.transaction(), *slot);
        });
        must(noted.has_value(), "slot " + way.slot + " is not noted");
        tell(telling.after, way.slot, "verified");
    }
}

void RotationWorld::add_spare(Records& records, const Telling& telling) const {
    add(records, {"spare", crypto::fresh_recipient_slot(identity_of(kSpare).recipient())}, telling);
}

void RotationWorld::remove(Records& records, const std::string& slot, const Telling& telling) const {
    const auto slots = KeyRing::summary(records.engine()).value()->slots;
    const auto found = std::ranges::find(slots, slot, &SlotSummary::name);
    must(found != slots.end(), "there is no slot " + slot);
    const auto id = found->parameters.slot;
    const auto epochs = records.keys().state(records.engine()).value().epochs;
    tell(telling.before, slot, "(none)");
    const auto removed = change(records, [&](Change& now) -> base::Status {
        now.note(EntryKind::seal, Action::erase, ObjectKind::seal_slot, id);
        const auto gone = remove_slot(now.transaction(), id);
        return gone ? base::Status() : std::unexpected(gone.error());
    });
    must(removed.has_value(), "slot " + slot + " stays: " + (removed ? "" : removed.error().message));
    tell(telling.after, slot, "(none)");
    if (found->kind != SlotKind::pkcs11) return;
    auto token = crypto::Token::open(kModule, "vaultkeys", crypto::Secret::copy_of(kPin));
    must(token.has_value(), "the token does not open");
    for (const auto& epoch : epochs)
        must(token->destroy(id, epoch.epoch).has_value(), "the token's key is not destroyed");
}

SealInput RotationWorld::next_key_file() const { return {SlotKind::key_file, key_file_content(kNextFile)}; }

std::string state_of_slot(const StorageEngine& engine, const std::string& slot) {
    const auto summary = KeyRing::summary(engine);
    if (!summary || !*summary) return "(none)";
    const auto found = std::ranges::find((*summary)->slots, slot, &SlotSummary::name);
    if (found == (*summary)->slots.end()) return "(none)";
    return found->verified ? "verified" : "added";
}

std::vector<WayIn> RotationWorld::ways_in(const StorageEngine& engine) const {
    std::vector<WayIn> ways;
    const auto summary = KeyRing::summary(engine);
    if (!summary || !*summary) return ways;
    const auto instance = (*summary)->instance;
    for (const auto& slot : (*summary)->slots) {
        const auto id = slot.parameters.slot;
        switch (slot.kind) {
            case SlotKind::passphrase:
                ways.push_back({slot.name, [id] {
                                    return with_slot(
                                        {SlotKind::passphrase, crypto::Secret::copy_of(kPassphrase)}, id);
                                }});
                break;
            case SlotKind::key_file:
                ways.push_back({slot.name, [id, parameters = slot.parameters] {
                                    return with_slot({SlotKind::key_file, key_file_of(parameters)}, id);
                                }});
                break;
            case SlotKind::recipient:
                ways.push_back(
                    {slot.name, [id, parameters = slot.parameters, ephemeral = slot.ephemeral.value()] {
                         return SealInput{
                             SlotKind::recipient,
                             secret_of(crypto::opening_key(identity_of(parameters), ephemeral).value()),
                             SealInput::Form::opening_key, id};
                     }});
                break;
            case SlotKind::shares:
                ways.push_back(
                    {slot.name, [this, id, instance, slot] {
                         crypto::SharesSoFar collected(crypto::share_set_of(instance, slot.parameters));
                         for (const auto* holder : {"carol", "alice"}) {
                             const auto text = content_of(folder_ / (std::string("share.") + holder));
                             auto share = crypto::parse_share(crypto::Secret::copy_of(text));
                             must(share && collected.add(std::move(*share)), "a share is refused");
                         }
                         const auto identity = crypto::identity_of_shares(collected.secret().value());
                         return SealInput{
                             SlotKind::shares,
                             secret_of(crypto::opening_key(identity, slot.ephemeral.value()).value()),
                             SealInput::Form::opening_key, id};
                     }});
                break;
            case SlotKind::pkcs11:
                ways.push_back({slot.name, [id] { return with_slot(token_input(), id); }});
                break;
        }
    }
    return ways;
}

SlotAccess RotationWorld::access() const {
    SlotAccess access;
    access.key_files = [] {
        std::vector<SealInput> files;
        for (const auto file : {kFirstFile, kNextFile})
            files.push_back({SlotKind::key_file, key_file_content(file)});
        return files;
    };
    if (token_) access.token = [] { return base::Result<SealInput>(token_input()); };
    return access;
}

base::Status change(Records& records, const std::function<base::Status(Change&)>& apply) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    records.change({.kind = ActorKind::system}, apply,
                   [&](base::Status status) { promise.set_value(std::move(status)); });
    return answer.get();
}

base::Result<base::OperationId> rotate_root(Records& records, const SlotAccess& access,
                                            const RotationWish& wish) {
    // The passphrase is what a person types; everything else the server finds by itself.
    SlotAccess all;
    all.token = access.token;
    all.key_files = access.key_files;
    const auto slots = KeyRing::summary(records.engine()).value()->slots;
    for (const auto& slot : slots)
        if (slot.kind == SlotKind::passphrase)
            all.openings.emplace_back(
                slot.parameters.slot,
                crypto::slot_key(slot.parameters, crypto::Secret::copy_of(kPassphrase)).value());
    const auto prepared = prepare_root(records.keys(), records.engine(), all, records.clock().now());
    if (!prepared) return std::unexpected(prepared.error());
    base::OperationId id;
    const auto begun = change(records, [&](Change& now) -> base::Status {
        const auto operation =
            begin_root_rotation(now, *prepared, now.catalog().page<Workspace>({}).front()->id, wish);
        if (!operation) return std::unexpected(operation.error());
        id = operation->id;
        return {};
    });
    if (!begun) return std::unexpected(begun.error());
    return id;
}

base::Result<base::OperationId> rotate_vault(Records& records, const base::VaultId& vault,
                                             const RotationWish& wish) {
    base::OperationId id;
    const auto begun = change(records, [&](Change& now) -> base::Status {
        const auto operation = begin_vault_rotation(now, *now.catalog().find<Vault>(vault), wish);
        if (!operation) return std::unexpected(operation.error());
        id = operation->id;
        return {};
    });
    if (!begun) return std::unexpected(begun.error());
    return id;
}

base::Status steer(Records& records, const base::OperationId& id, Steering steering) {
    return change(records, [&](Change& now) -> base::Status {
        const auto steered = steering(now, *now.catalog().find<Operation>(id));
        return steered ? base::Status() : std::unexpected(steered.error());
    });
}

Operation settled(const Records& records, const base::OperationId& id) {
    for (int tries = 0; tries < 12'000; ++tries) {
        const auto operation = records.catalog().find<Operation>(id);
        if (operation && operation->state != OperationState::running) return *operation;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    must(false, "the operation does not end");
    return {};
}

Vault make_vault(Records& records, const std::string& name) {
    Vault vault;
    vault.id = crypto::random_id<base::VaultId>();
    vault.workspace = records.catalog().page<Workspace>({}).front()->id;
    vault.display_name = name;
    const auto made = change(records, [&](Change& now) {
        now.create_key_of(vault.workspace.raw, vault.id.raw);
        now.note(EntryKind::write, Action::create, ObjectKind::vault, vault.id.raw);
        return now.store(vault);
    });
    must(made.has_value(), "the vault is not made");
    return *records.catalog().find<Vault>(vault.id);
}

base::CredentialId make_credential(Records& records, const Vault& vault, const std::string& token) {
    Credential credential;
    credential.id = crypto::random_id<base::CredentialId>();
    credential.workspace = vault.workspace;
    credential.vault = vault.id;
    credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/" + credential.id.text();
    const auto made = change(records, [&](Change& now) {
        SecretParts parts;
        parts.token = crypto::Secret::copy_of(token);
        now.note(EntryKind::write, Action::create, ObjectKind::credential, credential.id.raw, vault.id.raw);
        return now.store_with_secret(credential, parts);
    });
    must(made.has_value(), "the credential is not made");
    return credential.id;
}

base::Status set_token(Records& records, const base::CredentialId& id, const std::string& token) {
    return change(records, [&](Change& now) {
        SecretParts parts;
        parts.token = crypto::Secret::copy_of(token);
        const auto credential = *now.catalog().find<Credential>(id);
        now.note(EntryKind::rotate, Action::update, ObjectKind::credential, id.raw, credential.vault.raw);
        return now.store_with_secret(credential, parts);
    });
}

std::string token_of(const Records& records, const base::CredentialId& id) {
    const auto current = records.current_secret(id);
    if (!current && current.error().code == "credential.not_found") return "(no credential)";
    if (!current) return std::string(current.error().code) + ": " + current.error().detail;
    const auto token = records.open_token(current->sealed);
    if (!token) return std::string(token.error().code);
    return token->expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

}  // namespace claviger::test::keys
