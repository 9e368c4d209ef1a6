// Everything an operator can set, with its unit, its default and its meaning.
#pragma once

#include "base/log.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace claviger::server {

struct TlsFiles {
    std::filesystem::path certificate;  // PEM chain, leaf first
    std::filesystem::path private_key;  // PEM
};

struct ListenerConfig {
    std::string address;     // numeric: "127.0.0.1", "::1", "0.0.0.0"
    std::uint16_t port = 0;  // 0: the system chooses
    std::optional<TlsFiles> tls = {};
    std::vector<std::string> allowed_hosts = {};  // Host names besides the loopback ones
    std::string public_url = {};  // what agents or admins type; empty: made of address and port
};

struct Config {
    std::filesystem::path data_dir;  // required: the store, 0700
    std::optional<std::filesystem::path>
        key_file;  // seal.key_file: unseals at start; absent: `claviger unseal`
    std::optional<std::filesystem::path> previous_key_file;  // seal.previous_key_file: tried when key_file
                                                             // opens nothing, and then key_file gets a slot
    std::optional<std::filesystem::path>
        pkcs11_module;  // seal.pkcs11.module: the library of the token's maker
    std::optional<std::filesystem::path> pkcs11_pin_file;         // seal.pkcs11.pin_file
    bool pkcs11_at_start = false;                                 // seal.pkcs11.unseal_at_start
    unsigned threads = 0;                                         // 0: one per core
    ListenerConfig agents{.address = "127.0.0.1", .port = 8700};  // where agents speak MCP
    std::vector<std::string> allowed_origins = {};  // of pages that may call besides loopback ones, exactly
    ListenerConfig admin{.address = "127.0.0.1", .port = 8701};  // admin API

    bool upstream_allow_private = false;  // every environment may reach private addresses and plain http
    std::optional<std::filesystem::path> upstream_ca_file;  // instead of the system's store
    std::chrono::milliseconds upstream_connect{10'000};
    std::chrono::milliseconds upstream_head{300'000};
    std::chrono::milliseconds upstream_stream_idle{600'000};
    std::chrono::milliseconds upstream_total{3'600'000};
    std::chrono::milliseconds upstream_abandoned{300'000};
    std::size_t upstream_connections = 512;  // per origin and worker
    std::size_t upstream_idle_connections = 256;

    std::size_t limit_header_bytes = 32 * 1024;
    std::size_t limit_body_bytes = 4 * 1024 * 1024;
    std::size_t limit_connections = 10'000;  // per listener
    std::size_t limit_json_depth = 64;
    std::chrono::milliseconds limit_idle{75'000};
    std::chrono::milliseconds limit_head{10'000};
    std::chrono::milliseconds limit_body{60'000};
    std::chrono::milliseconds drain{10'000};  // how long a stopping server lets calls finish

    std::chrono::seconds session_token_lifetime{86'400};
    bool webhooks_allow_private = false;  // endpoints may have private addresses and plain http

    base::LogLevel log_level = base::LogLevel::info;
    std::optional<std::filesystem::path> log_file;  // absent: standard error

    std::optional<std::filesystem::path> pin_dir;     // access_log.pin_dir: where the log's end is pinned
    std::optional<std::filesystem::path> backup_dir;  // backup.dir: where backups are made

    std::optional<std::filesystem::path>
        providers_dir;  // oauth.providers_dir: profiles of the operator's own

    std::filesystem::path journal_dir() const { return data_dir / "journal"; }
    std::filesystem::path store_dir() const { return data_dir / "store"; }
    std::filesystem::path unseal_socket() const { return data_dir / "unseal.sock"; }
};

/// JSON with comments. An unknown key, a wrong type or a missing required value is an error that names the
/// setting: "agents.prot is not a known setting". Nothing is guessed. Relative paths are taken from the
/// file's own folder.
base::Result<Config> load_config(const std::filesystem::path& file);
base::Result<Config> parse_config(std::string_view text, const std::filesystem::path& folder);

/// What a running server would do with it, one line per fact, for `check-config`; errors for what it would
/// refuse
/// (`insecure_listen`: an address that is not loopback without TLS).
enum class InsecureListen { refuse, allow };
base::Result<std::vector<std::string>> explain_config(const Config& config, InsecureListen insecure);

}  // namespace claviger::server
