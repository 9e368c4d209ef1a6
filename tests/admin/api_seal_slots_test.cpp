// Seal slots through the admin API: what is shown, what is refused, and what stands in the log afterwards.
#include "crypto/seal_slot.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using namespace claviger::test;

namespace {

std::string base64url(const crypto::Key& key) {
    return key.expose(
        [](std::span<const std::byte> bytes) { return base::to_base64url(base::as_view(bytes)); });
}

std::string hex(std::span<const unsigned char> bytes) {
    return base::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

json recipient_body(std::string_view name, const crypto::Identity& identity) {
    return {{"name", name}, {"kind", "recipient"}, {"public_key", identity.recipient().text()}};
}

/// The opening key of the slot as the API shows it.
json opening(const json& slot, const crypto::Identity& identity) {
    const auto ephemeral = crypto::Recipient::parse(slot["ephemeral"].get<std::string>());
    REQUIRE(ephemeral);
    return {{"opening_key", base64url(crypto::opening_key(identity, *ephemeral).value())}};
}

json slot_called(ApiWorld& world, std::string_view name) {
    const auto seal = world.get("/v1/seal/slots");
    for (const auto& slot : seal["slots"])
        if (slot["name"] == name) return slot;
    FAIL("no slot " << name);
    return {};
}

}  // namespace

TEST_CASE("a slot is added, verified, rehearsed and removed, each on record", "[admin][seal]") {
    ApiWorld world;
    const auto holder = crypto::Identity::generate(), other = crypto::Identity::generate();
    const auto made = world.post("/v1/seal/slots", recipient_body("safe", holder));
    CHECK(made["type"] == "seal_slot");
    CHECK(made["kind"] == "recipient");
    CHECK(made["emergency"] == true);
    CHECK(made["verified_at"].is_null());
    const auto path = "/v1/seal/slots/" + made["id"].get<std::string>();

    const auto wrong = world.call("POST", path + "/verify", opening(made, other));
    CHECK(wrong.status == 409);
    CHECK(wrong.code() == "seal.wrong_key");
    CHECK(slot_called(world, "safe")["verified_at"].is_null());

    CHECK(world.post(path + "/verify", opening(made, holder))["verified_at"].is_string());
    auto drill = opening(made, holder);
    drill["drill"] = true;
    world.post(path + "/verify", drill);

    const auto last = world.call("DELETE", path);
    CHECK(last.status == 409);
    CHECK(last.code() == "seal.last_emergency_slot");
    const auto spare = world.post("/v1/seal/slots", recipient_body("spare", other));
    world.post("/v1/seal/slots/" + spare["id"].get<std::string>() + "/verify", opening(spare, other));
    CHECK(world.remove(path)["type"] == "seal_slot_deleted");
    CHECK(world.call("DELETE", path).status == 404);

    const auto log = world.get("/v1/access_log?kind=seal");
    std::vector<std::string> actions;
    for (const auto& entry : log["data"]) actions.push_back(entry["action"]);
    CHECK(actions == std::vector<std::string>{"erase", "validate", "create", "drill", "validate", "create"});
    CHECK(log["data"][0]["object"]["type"] == "seal_slot");
    CHECK(log["data"][0]["object"]["id"] == made["id"]);
}

TEST_CASE("the list warns about what is weak, and shows nothing that opens a slot", "[admin][seal]") {
    ApiWorld world;
    const auto seal = world.get("/v1/seal/slots");
    REQUIRE(seal["slots"].size() == 1);
    CHECK(seal["slots"][0]["kind"] == "key_file");
    CHECK(seal["instance"].get<std::string>().size() == 32);
    CHECK(seal["warnings"].dump().find("Only one slot") != std::string::npos);
    CHECK(seal["warnings"].dump().find("no verified emergency slot") != std::string::npos);

    const auto holder = crypto::Identity::generate();
    const auto made = world.post("/v1/seal/slots", recipient_body("safe", holder));
    CHECK(world.get("/v1/seal/slots")["warnings"].dump().find("'safe' was never verified") !=
          std::string::npos);
    world.post("/v1/seal/slots/" + made["id"].get<std::string>() + "/verify", opening(made, holder));
    CHECK(world.get("/v1/seal/slots")["warnings"].empty());
    world.clock.advance(std::chrono::days(91));
    CHECK(world.get("/v1/seal/slots")["warnings"].dump().find("'safe' was more than 90 days ago") !=
          std::string::npos);
}

TEST_CASE("shares and key files are added by what is public about them", "[admin][seal]") {
    ApiWorld world;
    const auto dealt =
        crypto::deal_slot(world.records->keys().instance(), {"alice", "bob", "carol"}, 2).value();
    json commitments = json::array();
    for (const auto& point : dealt.parameters.commitments) commitments.push_back(hex(point));
    json body{{"name", "quorum"},
              {"kind", "shares"},
              {"id", hex(dealt.parameters.slot)},
              {"public_key", dealt.parameters.recipient.text()},
              {"commitments", commitments},
              {"holders", {"alice", "bob", "carol"}}};
    const auto quorum = world.post("/v1/seal/slots", body);
    CHECK(quorum["threshold"] == 2);
    CHECK(quorum["holders"] == json({"alice", "bob", "carol"}));
    CHECK(quorum["id"] == hex(dealt.parameters.slot));
    std::vector<crypto::Share> shares;
    for (const std::size_t at : {0U, 2U})
        shares.push_back({dealt.files[at].share.number, crypto::Key::filled([&](std::span<std::byte> out) {
                              dealt.files[at].share.value.expose(
                                  [&](std::span<const std::byte> in) { std::ranges::copy(in, out.begin()); });
                          })});
    const auto identity =
        crypto::identity_of_shares(crypto::combine(shares, dealt.parameters.commitments).value());
    world.post("/v1/seal/slots/" + quorum["id"].get<std::string>() + "/verify", opening(quorum, identity));

    auto parameters = crypto::fresh_key_file_slot();
    const auto content = crypto::Secret::random(32);
    const auto key = crypto::slot_key(parameters, content).value();
    const json file{{"name", "second file"},
                    {"kind", "key_file"},
                    {"id", hex(parameters.slot)},
                    {"salt", hex(parameters.salt)},
                    {"key_id", hex(crypto::key_file_id(content))},
                    {"opening_key", base64url(key)}};
    const auto second = world.post("/v1/seal/slots", file);
    CHECK(second.dump().find(base64url(key)) == std::string::npos);
    world.post("/v1/seal/slots/" + second["id"].get<std::string>() + "/verify",
               {{"opening_key", base64url(key)}});
    const auto ring = vault::KeyRing::unseal(
        *world.engine, {crypto::SlotKind::key_file, content.expose([](std::span<const std::byte> bytes) {
                            return crypto::Secret::copy_of(bytes);
                        })});
    CHECK(ring);

    commitments[0] = std::string(64, 'f');
    body["commitments"] = commitments;
    body["name"] = "no points";
    CHECK(world.call("POST", "/v1/seal/slots", body).code() == "seal.slot_refused");
}

TEST_CASE("what no slot can be is refused by name", "[admin][seal]") {
    ApiWorld world;
    const auto identity = crypto::Identity::generate();
    const auto parameters = crypto::fresh_passphrase_slot(crypto::PassphraseStrength::only_for_tests);
    const json passphrase{{"name", "words"},
                          {"kind", "passphrase"},
                          {"id", hex(parameters.slot)},
                          {"salt", hex(parameters.salt)},
                          {"ops_limit", parameters.ops_limit},
                          {"mem_limit_bytes", parameters.mem_limit_bytes},
                          {"opening_key", base64url(crypto::Key::generate())}};
    CHECK(world.call("POST", "/v1/seal/slots", passphrase).code() == "seal.passphrase_refused");
    auto allowed = passphrase;
    allowed["allow_passphrase"] = true;
    world.post("/v1/seal/slots", allowed);

    auto body = recipient_body("safe", identity);
    body["public_key"] = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
    CHECK(world.call("POST", "/v1/seal/slots", body).message().find("public_key") != std::string::npos);
    CHECK(world.call("POST", "/v1/seal/slots", {{"name", "x"}, {"kind", "wish"}}).status == 400);
    CHECK(world.call("POST", "/v1/seal/slots", {{"name", "x"}, {"kind", "pkcs11"}, {"token", "t"}}).code() ==
          "seal.no_module");
    world.post("/v1/seal/slots", recipient_body("safe", identity));
    CHECK(world.call("POST", "/v1/seal/slots", recipient_body("safe", crypto::Identity::generate())).code() ==
          "seal.slot_exists");
    const auto slot = slot_called(world, "safe")["id"].get<std::string>();
    CHECK(world.call("POST", "/v1/seal/slots/" + slot + "/verify").code() == "seal.key_missing");
    CHECK(world.call("POST", "/v1/seal/slots/" + slot + "/verify", {{"opening_key", "short"}}).status == 400);
    CHECK(world.call("POST", "/v1/seal/slots/" + std::string(32, '0') + "/verify").code() ==
          "seal.slot_not_found");
    const auto file = world.get("/v1/seal/slots")["slots"][0]["id"].get<std::string>();
    CHECK(world.call("DELETE", "/v1/seal/slots/" + file).code() == "seal.last_slot");
}

TEST_CASE("only admins change slots, and auditors see them", "[admin][seal]") {
    ApiWorld world;
    const auto body = recipient_body("safe", crypto::Identity::generate());
    for (const auto* role : {"operator", "auditor", "agent-runner"}) {
        const auto key = world.new_key(role);
        CHECK(world.call_as(key, "POST", "/v1/seal/slots", body).status == 403);
        CHECK(world.call_as(key, "GET", "/v1/seal/slots").status ==
              (std::string(role) == "auditor" ? 200 : 403));
        CHECK(world.call_as(key, "DELETE", "/v1/seal/slots/" + std::string(32, '0')).status == 403);
    }
}
