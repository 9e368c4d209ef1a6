// The pin of the access log on its way into service: compared when the store is opened, kept from then on.
#pragma once

#include "server/config.h"
#include "server/wiring.h"
#include "vault/log_pin.h"
#include "vault/records.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

namespace claviger::server {

struct Pinned {
    std::unique_ptr<vault::LogPin> pin;  // null: the config names no folder
    std::uint64_t entries_before = 0;  // what the pin, or one that was overruled, knew of; 0: none was there
};

/// Refuses a store that is not the one that was pinned, with what vault::check_pin says; otherwise the ledger
/// pins every commit from here on. What is accepted or pinned for the first time is on record. Before
/// anything else uses the ledger, which the pin must outlive. A kill at any moment leaves what the next call
/// goes on from, with the same entries_before until pin_followed().
base::Result<Pinned> pin_log(vault::Records& records, const std::optional<std::filesystem::path>& folder);
/// Whoever had to know what an overruled pin knew of has it on disk. Nothing happens when none was overruled.
base::Status pin_followed(vault::Records& records);

/// `claviger pin status`: what the pins in the folder say, with no key and so unproven.
base::Status show_pins(const Config& config, Output output);
/// `claviger pin accept`: the next start takes the store whose log has this root, in hex. invalid_request
/// "pin.root", "pin.not_configured"; unavailable "pin.folder".
base::Status accept_root(const Config& config, std::string_view root, Output output);

}  // namespace claviger::server
