// What a configuration may say: every refusal with the setting it names, and what is taken over.
#include "server/config.h"

#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

namespace claviger::server {
namespace {

using nlohmann::json;

const std::filesystem::path kFolder = "/srv/claviger";

/// The least there is, with `more` merged over it.
std::string config_with(const char* more) {
    auto document = json::parse(R"({"data_dir": "data"})");
    document.merge_patch(json::parse(more));
    return document.dump();
}

Config taken(const char* more) {
    auto config = parse_config(config_with(more), kFolder);
    INFO(more);
    REQUIRE(config);
    return *config;
}

std::string refusal_of(std::string_view text) {
    const auto config = parse_config(text, kFolder);
    if (!config) CHECK(config.error().code == "config.invalid");
    return config ? "(taken)" : config.error().message;
}

std::string explained(const char* more, InsecureListen insecure = InsecureListen::refuse) {
    const auto facts = explain_config(taken(more), insecure);
    if (!facts) return facts.error().message;
    std::string all;
    for (const auto& fact : *facts) all += fact + "\n";
    return all;
}

bool says(const std::string& text, std::string_view part) {
    INFO(text << "\n-- should say: " << part);
    const bool found = text.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

}  // namespace

TEST_CASE("a text that is no configuration is refused", "[server][config]") {
    for (const auto* text : {"", "{", "data_dir = x", R"({"data_dir": "data",})", "{\"data_dir\": \"\xff\"}"})
        CHECK(refusal_of(text) == "The config is not valid JSON.");
    for (const auto* text : {"[]", "7", "\"data\"", "null"})
        CHECK(refusal_of(text) == "The config must be an object.");
    CHECK(refusal_of("{}") == "data_dir is required: the folder of the store.");
    CHECK(refusal_of("// with a comment\n{\"data_dir\": \"data\" /* here */}") == "(taken)");
}

TEST_CASE("a setting that nobody knows is refused by its full name", "[server][config]") {
    const std::pair<const char*, const char*> unknown[] = {
        {R"({"dta_dir": "x"})", "dta_dir is not a known setting."},
        {R"({"agents": {"prot": 1}})", "agents.prot is not a known setting."},
        {R"({"agents": {"tls": {"key": "k"}}})", "agents.tls.key is not a known setting."},
        {R"({"limits": {"Body_bytes": 4096}})", "limits.Body_bytes is not a known setting."},
        {R"({"agents": 8700})", "agents is not a known setting."},
        {R"({"limits": []})", "limits is not a known setting."},
        {R"({"seal": {"pkcs11": {"pin": "1234"}}})", "seal.pkcs11.pin is not a known setting."},
        {R"({"upstreams": {}})", "upstreams is not a known setting."},
        {R"({"": 1})", " is not a known setting."},
    };
    for (const auto& [more, message] : unknown) CHECK(refusal_of(config_with(more)) == message);
}

TEST_CASE("a value of the wrong type or out of its range is refused", "[server][config]") {
    const std::pair<const char*, const char*> wrong[] = {
        {R"({"data_dir": 7})", "data_dir must be a path."},
        {R"({"data_dir": ""})", "data_dir must be a path."},
        {R"({"seal": {"key_file": true}})", "seal.key_file must be a path or null."},
        {R"({"seal": {"pkcs11": {"unseal_at_start": "yes"}}})",
         "seal.pkcs11.unseal_at_start must be true or false."},
        {R"({"threads": 257})", "threads must be a whole number from 0 to 256."},
        {R"({"threads": -1})", "threads must be a whole number from 0 to 256."},
        {R"({"threads": 1.5})", "threads must be a whole number from 0 to 256."},
        {R"({"threads": "4"})", "threads must be a whole number from 0 to 256."},
        {R"({"agents": {"port": 65536}})", "agents.port must be a whole number from 0 to 65535."},
        {R"({"admin": {"port": "8701"}})", "admin.port must be a whole number from 0 to 65535."},
        {R"({"admin": {"address": 127}})", "admin.address must be a string."},
        {R"({"agents": {"allowed_hosts": "one.example"}})",
         "agents.allowed_hosts must be a list of strings."},
        {R"({"agents": {"allowed_origins": ["https://a.example", 1]}})",
         "agents.allowed_origins must be a list of strings."},
        {R"({"admin": {"tls": {"certificate": ""}}})", "admin.tls.certificate must be a path."},
        {R"({"upstream": {"allow_private": 1}})", "upstream.allow_private must be true or false."},
        {R"({"upstream": {"connect_timeout_ms": 99}})",
         "upstream.connect_timeout_ms must be a whole number from 100 to 600000."},
        {R"({"upstream": {"head_timeout_ms": 3600001}})",
         "upstream.head_timeout_ms must be a whole number from 100 to 3600000."},
        {R"({"upstream": {"stream_idle_ms": 999}})",
         "upstream.stream_idle_ms must be a whole number from 1000 to 86400000."},
        {R"({"upstream": {"connections_per_origin": 0}})",
         "upstream.connections_per_origin must be a whole number from 1 to 65536."},
        {R"({"upstream": {"idle_connections_per_origin": 65537}})",
         "upstream.idle_connections_per_origin must be a whole number from 0 to 65536."},
        {R"({"limits": {"header_bytes": 1023}})",
         "limits.header_bytes must be a whole number from 1024 to 1048576."},
        {R"({"limits": {"body_bytes": 268435457}})",
         "limits.body_bytes must be a whole number from 1024 to 268435456."},
        {R"({"limits": {"connections": 0}})", "limits.connections must be a whole number from 1 to 1000000."},
        {R"({"limits": {"json_depth": 3}})", "limits.json_depth must be a whole number from 4 to 256."},
        {R"({"limits": {"idle_ms": 999}})", "limits.idle_ms must be a whole number from 1000 to 3600000."},
        {R"({"limits": {"head_ms": 249}})", "limits.head_ms must be a whole number from 250 to 600000."},
        {R"({"limits": {"body_ms": 3600001}})", "limits.body_ms must be a whole number from 250 to 3600000."},
        {R"({"limits": {"drain_ms": 600001}})", "limits.drain_ms must be a whole number from 0 to 600000."},
        {R"({"sessions": {"token_lifetime_s": 59}})",
         "sessions.token_lifetime_s must be a whole number from 60 to 31536000."},
        {R"({"webhooks": {"allow_private": "true"}})", "webhooks.allow_private must be true or false."},
        {R"({"log": {"level": "loud"}})", "log.level must be one of debug, info, warning, error."},
        {R"({"log": {"level": 1}})", "log.level must be one of debug, info, warning, error."},
        {R"({"log": {"file": []}})", "log.file must be a path or null."},
    };
    for (const auto& [more, message] : wrong) CHECK(refusal_of(config_with(more)) == message);
}

TEST_CASE("settings that contradict each other are refused", "[server][config]") {
    const std::string both = "seal.pkcs11 needs both module and pin_file.";
    const std::pair<const char*, std::string> contradictions[] = {
        {R"({"access_log": {"pin_dir": "data/pins"}})",
         "access_log.pin_dir lies in data_dir: whoever replaces one replaces the other."},
        {R"({"access_log": {"pin_dir": "data"}})",
         "access_log.pin_dir lies in data_dir: whoever replaces one replaces the other."},
        {R"({"access_log": {"pin_dir": "/srv/claviger/other/../data/pins"}})",
         "access_log.pin_dir lies in data_dir: whoever replaces one replaces the other."},
        {R"({"backup": {"dir": "./data/backups"}})",
         "backup.dir lies in data_dir: whoever replaces one replaces the other."},
        {R"({"seal": {"previous_key_file": "old.key"}})",
         "seal.previous_key_file needs seal.key_file, which follows it."},
        {R"({"seal": {"pkcs11": {"module": "/usr/lib/token.so"}}})", both},
        {R"({"seal": {"pkcs11": {"pin_file": "pin"}}})", both},
        {R"({"seal": {"pkcs11": {"unseal_at_start": true}}})", both},
        {R"({"seal": {"key_file": "k", "pkcs11": {"module": "/m.so", "pin_file": "p", "unseal_at_start": true}}})",
         "seal.key_file and seal.pkcs11.unseal_at_start are two ways to open the store at start."},
    };
    for (const auto& [more, message] : contradictions) CHECK(refusal_of(config_with(more)) == message);
    CHECK(refusal_of(config_with(R"({"access_log": {"pin_dir": "data-pins"}})")) == "(taken)");
    CHECK(refusal_of(config_with(R"({"backup": {"dir": "/elsewhere"}})")) == "(taken)");
}

TEST_CASE("what is set is taken over, paths from the file's own folder", "[server][config]") {
    const auto config = taken(R"({
        "threads": 256,
        "seal": {"key_file": "seal.key", "previous_key_file": "/keys/old.key"},
        "agents": {"address": "::1", "port": 0, "allowed_hosts": ["a.example"], "allowed_origins": ["https://a.example"],
                   "public_url": "https://a.example", "tls": {"certificate": "chain.pem", "private_key": "/keys/tls.pem"}},
        "upstream": {"allow_private": true, "ca_file": "ca.pem", "connect_timeout_ms": 100, "head_timeout_ms": 3600000,
                     "stream_idle_ms": 1000, "connections_per_origin": 65536, "idle_connections_per_origin": 0},
        "limits": {"header_bytes": 1024, "body_bytes": 268435456, "connections": 1, "json_depth": 256, "idle_ms": 1000,
                   "head_ms": 250, "body_ms": 3600000, "drain_ms": 0},
        "sessions": {"token_lifetime_s": 60},
        "webhooks": {"allow_private": true},
        "access_log": {"pin_dir": "pins"}, "backup": {"dir": "/backups"}, "oauth": {"providers_dir": "providers"},
        "log": {"level": "error", "file": null}
    })");

    using namespace std::chrono_literals;
    CHECK(config.data_dir == "/srv/claviger/data");
    CHECK(config.threads == 256);
    CHECK(config.key_file == kFolder / "seal.key");
    CHECK(config.previous_key_file == "/keys/old.key");
    CHECK(config.agents.address == "::1");
    CHECK(config.agents.port == 0);
    CHECK(config.agents.allowed_hosts == std::vector<std::string>{"a.example"});
    CHECK(config.allowed_origins == std::vector<std::string>{"https://a.example"});
    CHECK(config.agents.public_url == "https://a.example");
    REQUIRE(config.agents.tls);
    CHECK(config.agents.tls->certificate == "/srv/claviger/chain.pem");
    CHECK(config.agents.tls->private_key == "/keys/tls.pem");
    CHECK(config.admin.port == 8701);  // and nothing of the other listener
    CHECK_FALSE(config.admin.tls);
    CHECK(config.upstream_allow_private);
    CHECK(config.upstream_ca_file == kFolder / "ca.pem");
    CHECK(config.upstream_connect == 100ms);
    CHECK(config.upstream_head == 3'600'000ms);
    CHECK(config.upstream_stream_idle == 1'000ms);
    CHECK(config.upstream_connections == 65'536);
    CHECK(config.upstream_idle_connections == 0);
    CHECK(config.limit_header_bytes == 1'024);
    CHECK(config.limit_body_bytes == 268'435'456);
    CHECK(config.limit_connections == 1);
    CHECK(config.limit_json_depth == 256);
    CHECK(config.limit_idle == 1'000ms);
    CHECK(config.limit_head == 250ms);
    CHECK(config.limit_body == 3'600'000ms);
    CHECK(config.drain == 0ms);
    CHECK(config.session_token_lifetime == 60s);
    CHECK(config.webhooks_allow_private);
    CHECK(config.pin_dir == kFolder / "pins");
    CHECK(config.backup_dir == "/backups");
    CHECK(config.providers_dir == kFolder / "providers");
    CHECK(config.log_level == base::LogLevel::error);
}

TEST_CASE("a listener that is not fit to listen is refused", "[server][config]") {
    for (const auto* name : {"agents", "admin"}) {
        const auto with = [&](const std::string& listener) {
            return "{\"" + std::string(name) + "\": " + listener + "}";
        };
        const auto refused = [&](const std::string& listener, const std::string& message) {
            CHECK(explained(with(listener).c_str()) == name + message);
        };
        for (const auto* address :
             {"localhost", "one.example", "", "127.0.0.1:8700", "127.1", "[::1]", "::1%lo", "*"})
            refused("{\"address\": \"" + std::string(address) + "\"}", ".address must be a numeric address.");
        refused(R"({"tls": {"certificate": "c.pem"}})", ".tls needs both certificate and private_key.");
        refused(R"({"tls": {"private_key": "k.pem"}})", ".tls needs both certificate and private_key.");
        for (const std::string address : {"0.0.0.0", "::", "192.0.2.7", "128.0.0.1", "::ffff:127.0.0.1"})
            refused("{\"address\": \"" + address + "\"}",
                    " would listen on " + address + " without TLS: tokens would cross the network in clear.");
        for (const auto* address : {"127.0.0.1", "127.255.0.9", "::1"})
            says(explained(with("{\"address\": \"" + std::string(address) + "\"}").c_str()),
                 std::string(name) + ": " + address + ":" +
                     (*name == 'a' && name[1] == 'g' ? "8700" : "8701") +
                     " without TLS, this machine only\n");

        const auto open = with(R"({"address": "0.0.0.0", "port": 9000})");
        says(explained(open.c_str(), InsecureListen::allow),
             std::string(name) + ": 0.0.0.0:9000 without TLS, the network\n");
        const auto half = with(R"({"address": "0.0.0.0", "tls": {"certificate": "c.pem"}})");
        CHECK(explained(half.c_str(), InsecureListen::allow) ==
              name + std::string(".tls needs both certificate and private_key."));
        const auto safe =
            with(R"({"address": "0.0.0.0", "port": 443, "tls": {"certificate": "c", "private_key": "k"}})");
        says(explained(safe.c_str()), std::string(name) + ": 0.0.0.0:443 with TLS, the network\n");
    }
}

TEST_CASE("a configuration is explained, fact by fact", "[server][config]") {
    const auto least = explained("{}");
    for (const auto* fact :
         {"data: /srv/claviger/data (not initialised)\n", "starts sealed; unseal with `claviger unseal`\n",
          "connect links: at the admin listener's own address\n",
          "private upstream addresses: only hosts that an environment lists\n",
          "upstream certificates: verified against the system's store\n",
          "webhook endpoints: public addresses over https only\n", "access log: not pinned",
          "backups: none, because backup.dir is not set\n", "log: standard error\n"})
        says(least, fact);

    const auto most = explained(R"({
        "seal": {"key_file": "seal.key"}, "admin": {"public_url": "https://admin.example"},
        "upstream": {"allow_private": true, "ca_file": "ca.pem"}, "webhooks": {"allow_private": true},
        "access_log": {"pin_dir": "pins"}, "backup": {"dir": "backups"}, "log": {"file": "claviger.log"}
    })");
    for (const auto* fact : {"unseals at start with the key file /srv/claviger/seal.key\n",
                             "connect links: at https://admin.example\n",
                             "private upstream addresses: allowed for every environment\n",
                             "upstream certificates: verified against /srv/claviger/ca.pem\n",
                             "webhook endpoints: private addresses and plain http allowed\n",
                             "access log: pinned in /srv/claviger/pins\n",
                             "backups: made in /srv/claviger/backups\n", "log: /srv/claviger/claviger.log\n"})
        says(most, fact);

    says(explained(R"({"seal": {"pkcs11": {"module": "/m.so", "pin_file": "p", "unseal_at_start": true}}})"),
         "unseals at start with a token, by /m.so\n");
}

TEST_CASE("a file that cannot be read is named", "[server][config]") {
    const auto config = load_config("/srv/claviger/nowhere.jsonc");
    REQUIRE_FALSE(config);
    CHECK(config.error().message == "The config file /srv/claviger/nowhere.jsonc cannot be read.");
}

}  // namespace claviger::server
