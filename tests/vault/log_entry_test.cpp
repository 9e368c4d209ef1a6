// What stands in a log entry, byte by byte.
#include "vault/log_entry.h"
#include "tests/support/spec.h"

#include <random>

namespace claviger::vault {
namespace {

base::RawId filled(unsigned char byte) {
    base::RawId id;
    id.fill(byte);
    return id;
}

LogEntry full_entry() {
    LogEntry entry;
    entry.position = 0x0102030405060708;
    entry.time = base::Time(std::chrono::milliseconds(0x1a2b3c4d5e));
    entry.kind = EntryKind::use_outcome;
    entry.action = Action::call;
    entry.verdict = Verdict::denied;
    entry.reason = 0x0102;
    entry.actor = ActorKind::session;
    entry.actor_id = filled(0x08);
    entry.workspace = filled(0x09);
    entry.environment = filled(0x0a);
    entry.agent = filled(0x0b);
    entry.session = filled(0x0c);
    entry.vault = filled(0x0d);
    entry.credential = filled(0x0e);
    entry.credential_version = 3;
    entry.object = ObjectKind::credential;
    entry.object_id = filled(0x11);
    entry.server = filled(0x12);
    entry.tool = filled(0x13);
    entry.method = filled(0x14);
    entry.source = filled(0x15);
    entry.request_digest = filled(0x16);
    entry.intent = 0x17;
    entry.status = 503;
    entry.request_bytes = 0x19;
    entry.response_bytes = 0x1a;
    entry.duration_us = 0x1b;
    entry.redactions = 0x1c;
    return entry;
}

bool same(const LogEntry& a, const LogEntry& b) { return encode(a) == encode(b); }

void require_malformed(base::ByteView bytes) {
    const auto decoded = decode_log_entry(bytes);
    REQUIRE_FALSE(decoded);
    REQUIRE(decoded.error().kind == base::ErrorKind::corrupt);
    REQUIRE(decoded.error().code == "log.entry_malformed");
}

TEST_CASE("an entry's bytes are these", "[vault][log_entry]") {
    LogEntry small;
    small.position = 7;
    small.time = base::Time(std::chrono::milliseconds(1));
    small.kind = EntryKind::seal;
    REQUIRE(base::to_hex(encode(small)) ==
            "010000000000000007020000000000000001"
            "0308");

    std::string expected = "010102030405060708020000001a2b3c4d5e030204010502060102070208";
    const auto id = [](const char* byte) {
        std::string text;
        for (int i = 0; i < 16; ++i) text += byte;
        return text;
    };
    expected += id("08") + "09" + id("09") + "0a" + id("0a") + "0b" + id("0b") + "0c" + id("0c") + "0d" +
                id("0d") + "0e" + id("0e") + "0f0000000000000003" + "1005" + "11" + id("11") + "12" +
                id("12") + "13" + id("13") + "14" + id("14") + "15" + id("15") + "16" + id("16") +
                "170000000000000017" + "1801f7" + "190000000000000019" + "1a000000000000001a" +
                "1b000000000000001b" + "1c0000001c";
    REQUIRE(base::to_hex(encode(full_entry())) == expected);
}

TEST_CASE("entries survive their encoding", "[vault][log_entry]") {
    const auto full = decode_log_entry(encode(full_entry()));
    REQUIRE(full);
    REQUIRE(same(*full, full_entry()));
    REQUIRE(full->status == 503);
    REQUIRE(full->redactions == 0x1c);
    REQUIRE(full->source == filled(0x15));

    // Any subset of the fields.
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
        LogEntry entry = full_entry();
        const auto bits = random();
        if (bits & 1) entry.action = Action::none;
        if (bits & 2) entry.verdict = Verdict::none;
        if (bits & 4) entry.reason = 0;
        if (bits & 8) entry.actor = ActorKind::system;
        if (bits & 16) entry.workspace = {};
        if (bits & 32) entry.credential = {};
        if (bits & 64) entry.credential_version = random();
        if (bits & 128) entry.object = ObjectKind::none;
        if (bits & 256) entry.tool = {};
        if (bits & 512) entry.intent = 0;
        if (bits & 1024) entry.status = 0;
        if (bits & 2048) entry.redactions = 0;
        if (bits & 4096) entry.position = 0;
        const auto decoded = decode_log_entry(encode(entry));
        REQUIRE(decoded);
        REQUIRE(same(*decoded, entry));
    }
}

TEST_CASE("bytes that are no entry are refused", "[vault][log_entry]") {
    const auto good = encode(full_entry());
    for (std::size_t size = 0; size < good.size(); ++size) {
        const auto cut = decode_log_entry(base::ByteView(good).substr(0, size));
        // Cut between two optional fields it is a shorter entry, and then one that encodes to just these
        // bytes.
        if (cut) REQUIRE(encode(*cut) == good.substr(0, size));
    }
    require_malformed("");
    require_malformed(good + '\0');
    require_malformed(good + '\x1d');             // a tag that does not exist
    require_malformed(good + good.substr(0, 9));  // a field twice
    require_malformed(good.substr(9) + good);     // the position missing at its place

    const auto from_hex = [](const char* text) { return *base::from_hex(text); };
    const std::string head = "010000000000000007020000000000000001";
    require_malformed(from_hex((head + "0300").c_str()));      // no kind
    require_malformed(from_hex((head + "030b").c_str()));      // a kind that does not exist
    require_malformed(from_hex((head + "03080400").c_str()));  // a zero that should not stand there
    require_malformed(from_hex((head + "030804ff").c_str()));  // an action that does not exist
    require_malformed(from_hex((head + "030806000105"
                                       "02")
                                   .c_str()));                                // wrong order
    require_malformed(from_hex("01000000000000000702ffffffffffffffff0308"));  // a time before 1970
}

TEST_CASE("reasons keep their numbers", "[vault][log_entry]") {
    REQUIRE(reason_number("policy.denied") == 1);
    REQUIRE(reason_number("credential.not_found") == 9);
    REQUIRE(reason_number("internal") == 35);
    REQUIRE(reason_number("") == 0);
    REQUIRE(reason_number("no.such_reason") == 0);
    REQUIRE(reason_code(0).empty());
    REQUIRE(reason_code(0xffff).empty());
    for (std::uint16_t number = 1; !reason_code(number).empty(); ++number)
        REQUIRE(reason_number(reason_code(number)) == number);
}

TEST_CASE("everything an entry can say has a name", "[vault][log_entry]") {
    for (int kind = 1; kind <= 10; ++kind) REQUIRE_FALSE(name_of(static_cast<EntryKind>(kind)).empty());
    for (int action = 1; action <= 16; ++action) REQUIRE_FALSE(name_of(static_cast<Action>(action)).empty());
    for (int object = 1; object <= 9; ++object)
        REQUIRE_FALSE(name_of(static_cast<ObjectKind>(object)).empty());
    REQUIRE(name_of(EntryKind::use_intent) == "use_intent");
    REQUIRE(name_of(Verdict::denied) == "denied");
    REQUIRE(name_of(Verdict::none).empty());
    REQUIRE(name_of(ActorKind::api_key) == "api_key");
}

}  // namespace
}  // namespace claviger::vault
