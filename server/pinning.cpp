#include "server/pinning.h"

#include "base/log.h"
#include "server/change_now.h"
#include "vault/overruling.h"
#include "vault/store_marks.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <system_error>

namespace claviger::server {
namespace {

using base::ErrorKind;
using nlohmann::json;
using vault::PinVerdict;

void note(vault::Change& change, vault::Action action) {
    change.note(vault::EntryKind::seal, action, vault::ObjectKind::instance, change.keys().instance());
}

base::Status note_pin(vault::Records& records) {
    return change_now(records, [](vault::Change& change) {
        note(change, vault::Action::pin);
        return vault::set_mark(change.transaction(), vault::kPinnedMark, {});
    });
}

base::Result<vault::SaidOfPin> said_by(const vault::Records& records) {
    const auto mark = vault::read_mark(records.engine(), records.keys(), vault::kPinnedMark);
    if (!mark) return std::unexpected(mark.error());
    auto overruling = vault::overruling_of(records.engine(), records.keys());
    if (!overruling) return std::unexpected(std::move(overruling).error());
    return vault::SaidOfPin{mark->has_value(), *overruling};
}

base::Status overrule(vault::Records& records, const vault::Overruling& overruling) {
    auto done = change_now(records, [&](vault::Change& change) {
        note(change, vault::Action::accept_pin);
        return vault::put_overruling(change.transaction(), overruling);
    });
    if (done) base::log(base::LogLevel::warning, "pin.accepted", {{"entries_pinned", overruling.entries}});
    return done;
}

/// The pin becomes the store's, in that order: what was accepted is on record before it counts.
base::Status replace_pin(vault::Records& records, vault::LogPin& pin, vault::SaidOfPin& said,
                         PinVerdict verdict) {
    if (verdict == PinVerdict::accepted) {
        const auto before = pin.pinned() ? pin.pinned()->head : vault::LogHead{};
        said.overruling = vault::Overruling{before.size, before.root, records.ledger().head().root};
        if (auto noted = overrule(records, *said.overruling); !noted) return noted;
    }
    if (said.overruling)
        if (auto used = pin.use_up(said.overruling->accepted); !used) return used;
    return pin.reset(records.ledger().head());
}

base::Result<std::filesystem::path> folder_of(const Config& config) {
    if (config.pin_dir) return *config.pin_dir;
    return base::failure(
        ErrorKind::invalid_request, "pin.not_configured", "This config has no access_log.pin_dir.",
        "Name a folder there that lies on another disk than the data, or on another machine.");
}

}  // namespace

base::Result<Pinned> pin_log(vault::Records& records, const std::optional<std::filesystem::path>& folder) {
    auto said = said_by(records);
    if (!said) return std::unexpected(std::move(said).error());
    const auto known_before = [&] { return said->overruling ? said->overruling->entries : 0; };
    if (!folder) {
        if (said->pinned)
            base::log(base::LogLevel::warning, "pin.not_configured",
                      {{"next", "set access_log.pin_dir again: this store had a pin, and goes on without"}});
        return Pinned{nullptr, known_before()};
    }
    const auto key =
        records.keys().owner_key(records.engine(), {}, records.keys().instance(), vault::kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    auto pin =
        vault::LogPin::open(*folder, records.keys().instance(), vault::pin_key(**key), records.clock());
    if (!pin) return std::unexpected(std::move(pin).error());
    const auto verdict = vault::check_pin(**pin, records.engine(), records.ledger().head(), *said);
    if (!verdict) return std::unexpected(verdict.error());
    auto before = (*pin)->pinned() ? (*pin)->pinned()->head.size : 0;
    if (*verdict != PinVerdict::same)
        if (auto replaced = replace_pin(records, **pin, *said, *verdict); !replaced)
            return std::unexpected(std::move(replaced).error());
    if (said->overruling) before = known_before();
    records.ledger().set_pin(pin->get());
    if (!said->pinned)  // a first pin is on disk before the store says that it has one
        if (auto noted = note_pin(records); !noted) return std::unexpected(std::move(noted).error());
    return Pinned{std::move(*pin), before};
}

base::Status pin_followed(vault::Records& records) {
    const auto said = said_by(records);
    if (!said) return std::unexpected(said.error());
    if (!said->overruling) return {};
    return change_now(records, [](vault::Change& change) -> base::Status {
        note(change, vault::Action::pin);
        vault::clear_overruling(change.transaction());
        return {};
    });
}

base::Status show_pins(const Config& config, Output output) {
    const auto folder = folder_of(config);
    if (!folder) return std::unexpected(folder.error());
    auto pins = json::array();
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(*folder, error)) {
        if (entry.path().extension() != ".pin") continue;
        const auto record = vault::look_at_pin(entry.path());
        if (!record) continue;
        const auto root = crypto::view(record->head.root);
        pins.push_back({{"file", entry.path().string()},
                        {"instance", entry.path().stem().string()},
                        {"log_size", record->head.size},
                        {"log_root", base::to_hex(root)},
                        {"pinned_at", base::to_rfc3339(record->time)}});
    }
    if (error)
        return base::failure(ErrorKind::unavailable, "pin.folder",
                             "The folder of pins cannot be read: " + error.message() + ".",
                             "Make sure that access_log.pin_dir exists and is mounted.", folder->string());
    if (output == Output::json) {
        std::cout << json{{"data", pins}}.dump() << std::endl;
        return {};
    }
    if (pins.empty()) std::cout << "Nothing is pinned in " << folder->string() << ".\n";
    for (const auto& pin : pins)
        std::cout << "instance  " << pin.value("instance", "") << "\nentries   "
                  << pin.value("log_size", 0ULL) << "\nroot      " << pin.value("log_root", "")
                  << "\npinned    " << pin.value("pinned_at", "") << '\n';
    return {};
}

base::Status accept_root(const Config& config, std::string_view root, Output output) {
    const auto folder = folder_of(config);
    if (!folder) return std::unexpected(folder.error());
    const auto bytes = base::from_hex(root);
    crypto::Digest digest;
    if (!bytes || bytes->size() != digest.size())
        return base::failure(
            ErrorKind::invalid_request, "pin.root", "The root is not 64 hex digits.",
            "Take it from the refusal in Claviger's own log, or from `claviger backup verify`.");
    std::ranges::copy(*bytes, digest.begin());
    const auto file = *folder / vault::acceptance_name(digest);
    if (!vault::replace_file(file, {}))
        return base::failure(ErrorKind::unavailable, "pin.folder",
                             "The acceptance cannot be written: " + vault::system_words() + ".",
                             "Make sure that access_log.pin_dir exists and that you may write to it.",
                             file.string());
    if (output == Output::json)
        std::cout << json{{"accepted_root", base::to_hex(*bytes)}, {"file", file.string()}}.dump()
                  << std::endl;
    else
        std::cout << "The next start takes a store whose log has this root, once.\n";
    return {};
}

}  // namespace claviger::server
