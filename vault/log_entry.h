// What the access log can say, and nothing else: ids, kinds, numbers, digests. No text of a request fits in.
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace claviger::vault {

enum class EntryKind : std::uint8_t {  // on disk: append only
    use_intent = 1,
    use_outcome = 2,
    deny = 3,
    write = 4,
    rotate = 5,
    grant = 6,
    approval = 7,
    seal = 8,
    admin = 9,
    sink = 10,
};

enum class Verdict : std::uint8_t { none = 0, allowed = 1, denied = 2 };

enum class ObjectKind : std::uint8_t {  // on disk: append only
    none = 0,
    instance = 1,
    workspace = 2,
    api_key = 3,
    vault = 4,
    credential = 5,
    environment = 6,
    agent = 7,
    session = 8,
    session_token = 9,
    connect_link = 10,
    oauth_client = 11,
    webhook_endpoint = 12,
    seal_slot = 13,
    operation = 14,
};

enum class Action : std::uint8_t {  // on disk: append only
    none = 0,
    call = 1,  // one MCP message through the proxy
    create = 2,
    update = 3,
    archive = 4,
    erase = 5,
    revoke = 6,
    validate = 7,
    unseal = 8,
    start = 9,
    stop = 10,
    initialise = 11,
    read_log = 12,
    refresh = 13,         // a grant: an attempt begins, before the first byte leaves
    refreshed = 14,       // a new token set is in use
    refresh_failed = 15,  // the attempt brought none; the reason says why
    connect = 16,         // a person granted access
    deliver = 17,         // an event to a webhook endpoint
    drill = 18,           // the emergency was rehearsed: a seal slot gave the root key back
    stage = 19,           // a credential's next value is stored, and not yet used
    promote = 20,         // what was staged is in use
    roll_back = 21,       // the value before is in use again
    retire = 22,          // a value that was kept is gone
    remind = 23,          // somebody was told that a rotation is due
    pin = 24,             // from here on the log's size and root are kept outside the store, too
    accept_pin = 25,      // the operator accepted a store that is not the pinned one
    back_up = 26,         // a copy of the store was made
    restore = 27,         // the store was put back from a backup; it serves no agents yet
    unfence = 28,         // it serves them again
    shred = 29,           // what was erased is gone from the files of the store as well
    rewrap = 30,          // keys and objects are sealed under another key
    pause = 31,           // an operation
    resume = 32,
    introspect = 33,  // a grant: its authorization server is asked what has become of its tokens
};

/// Who acted: an admin's API key, a session, or Claviger itself.
enum class ActorKind : std::uint8_t { system = 0, api_key = 1, session = 2 };

/// 16 bytes that stand for a name (keyed, so that the disk shows no names); see AccessLog::fingerprint.
using Fingerprint = base::RawId;

/// A name the log shall be able to show for a fingerprint. Views must live until the entry is done.
struct NamedFingerprint {
    Fingerprint fingerprint{};
    std::string_view name;
};

/// One entry. Zero ids, empty fingerprints and zero numbers mean "does not apply" and take no space on disk.
struct LogEntry {
    // Set by the ledger when the entry gets its place.
    std::uint64_t position = 0;
    base::Time time{};

    EntryKind kind = EntryKind::admin;
    Action action = Action::none;
    Verdict verdict = Verdict::none;
    std::uint16_t reason = 0;  // number of a literal in reason_codes(), 0 for none
    ActorKind actor = ActorKind::system;
    base::RawId actor_id{};
    base::RawId workspace{};
    base::RawId environment{};
    base::RawId agent{};
    base::RawId session{};
    base::RawId vault{};
    base::RawId credential{};
    std::uint64_t credential_version = 0;
    ObjectKind object = ObjectKind::none;  // of writes: what was changed
    base::RawId object_id{};
    Fingerprint server{};                            // the declared server's name
    Fingerprint tool{};                              // the tool, prompt or resource named in the call
    Fingerprint method{};                            // the MCP method
    std::array<unsigned char, 16> source{};          // address the call came from, IPv4 as ::ffff:a.b.c.d
    std::array<unsigned char, 16> request_digest{};  // keyed digest of the call's body
    std::uint64_t intent = 0;                        // of outcomes: position + 1 of the intent
    std::uint16_t status = 0;                        // HTTP status of the upstream, 0 when there was none
    std::uint64_t request_bytes = 0;
    std::uint64_t response_bytes = 0;
    std::uint64_t duration_us = 0;
    std::uint32_t redactions = 0;
};

/// Tag byte and fixed-width value per field that applies, in tag order; docs/storage_format.md has the table.
base::Bytes encode(const LogEntry& entry);
/// Refuses (corrupt "log.entry_malformed") unknown tags, wrong order and trailing bytes.
base::Result<LogEntry> decode_log_entry(base::ByteView bytes);

/// The closed list of reasons: Error codes and Decision codes that may stand in an entry. Unknown code: 0.
std::uint16_t reason_number(std::string_view code);
std::string_view reason_code(std::uint16_t number);  // "" for 0 or unknown

std::string_view name_of(EntryKind kind);     // "use_intent"
std::string_view name_of(Action action);      // "call"
std::string_view name_of(Verdict verdict);    // "allowed", "denied", ""
std::string_view name_of(ObjectKind object);  // "credential"
std::string_view name_of(ActorKind actor);    // "api_key"

}  // namespace claviger::vault
