#include "server/config.h"

#include "oauth/provider_catalog.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include <arpa/inet.h>

namespace claviger::server {
namespace {

using base::ErrorKind;
using nlohmann::json;

std::unexpected<base::Error> refused(std::string message, std::string hint = {}) {
    return base::failure(ErrorKind::invalid_request, "config.invalid", std::move(message), std::move(hint));
}

/// One settable value: where it stands and how it is taken over.
struct Setting {
    std::string name;  // "agents.port"
    std::function<base::Status(const json&)> take;
};

class Settings {
public:
    explicit Settings(std::filesystem::path folder) : folder_(std::move(folder)) {}

    void text(const std::string& name, std::string& out) {
        add(name, "a string", [&out](const json& value) {
            if (!value.is_string()) return false;
            out = value.get<std::string>();
            return true;
        });
    }
    void path(const std::string& name, std::filesystem::path& out) {
        add(name, "a path", [&out, this](const json& value) { return take_path(value, out); });
    }
    void path(const std::string& name, std::optional<std::filesystem::path>& out) {
        add(name, "a path or null",
            [&out, this](const json& value) { return value.is_null() || take_path(value, out.emplace()); });
    }
    void flag(const std::string& name, bool& out) {
        add(name, "true or false", [&out](const json& value) {
            if (!value.is_boolean()) return false;
            out = value.get<bool>();
            return true;
        });
    }
    template <class Number>
    void number(const std::string& name, Number& out, std::uint64_t least, std::uint64_t most) {
        add(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most),
            [&out, least, most](const json& value) {
                if (!value.is_number_unsigned()) return false;
                const auto given = value.get<std::uint64_t>();
                if (given < least || given > most) return false;
                out = Number(given);
                return true;
            });
    }
    void texts(const std::string& name, std::vector<std::string>& out) {
        add(name, "a list of strings", [&out](const json& value) {
            if (!value.is_array()) return false;
            out.clear();
            for (const auto& item : value) {
                if (!item.is_string()) return false;
                out.push_back(item.get<std::string>());
            }
            return true;
        });
    }
    void listener(const std::string& name, ListenerConfig& out) {
        text(name + ".address", out.address);
        number(name + ".port", out.port, 0, 65'535);
        texts(name + ".allowed_hosts", out.allowed_hosts);
        text(name + ".public_url", out.public_url);
        const auto files = [&out]() -> TlsFiles& { return out.tls ? *out.tls : out.tls.emplace(); };
        add(name + ".tls.certificate", "a path",
            [files, this](const json& value) { return take_path(value, files().certificate); });
        add(name + ".tls.private_key", "a path",
            [files, this](const json& value) { return take_path(value, files().private_key); });
    }
    void level(const std::string& name, base::LogLevel& out) {
        add(name, "one of debug, info, warning, error", [&out](const json& value) {
            const std::pair<const char*, base::LogLevel> levels[] = {{"debug", base::LogLevel::debug},
                                                                     {"info", base::LogLevel::info},
                                                                     {"warning", base::LogLevel::warning},
                                                                     {"error", base::LogLevel::error}};
            for (const auto& [word, level] : levels) {
                if (value != word) continue;
                out = level;
                return true;
            }
            return false;
        });
    }

    /// Walks the document; sections are objects, everything else must be a known setting.
    base::Status take(const json& section, const std::string& prefix) const {
        for (const auto& [key, value] : section.items()) {
            const auto name = prefix + key;
            if (const auto known = settings_.find(name); known != settings_.end()) {
                if (auto taken = known->second(value); !taken) return taken;
            } else if (value.is_object() && is_section(name)) {
                if (auto taken = take(value, name + "."); !taken) return taken;
            } else {
                return refused(name + " is not a known setting.",
                               "Known settings are listed in deploy/claviger.example.jsonc.");
            }
        }
        return {};
    }

private:
    void add(const std::string& name, const std::string& expected, std::function<bool(const json&)> take) {
        settings_[name] = [name, expected, take = std::move(take)](const json& value) -> base::Status {
            if (!take(value)) return refused(name + " must be " + expected + ".");
            return {};
        };
    }
    bool take_path(const json& value, std::filesystem::path& out) const {
        if (!value.is_string() || value.get_ref<const std::string&>().empty()) return false;
        out = folder_ / value.get<std::string>();
        return true;
    }
    bool is_section(const std::string& name) const {
        const auto at = settings_.lower_bound(name + ".");
        return at != settings_.end() && at->first.starts_with(name + ".");
    }

    std::filesystem::path folder_;
    std::map<std::string, std::function<base::Status(const json&)>> settings_;
};

bool lies_in(const std::filesystem::path& inner, const std::filesystem::path& outer) {
    const auto relative = inner.lexically_normal().lexically_relative(outer.lexically_normal());
    return !relative.empty() && *relative.begin() != "..";
}

bool is_loopback(const std::string& address) {
    in_addr v4{};
    if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    return address == "::1";
}

base::Status check_listener(const std::string& name, const ListenerConfig& listener,
                            InsecureListen insecure) {
    in_addr v4{};
    in6_addr v6{};
    if (inet_pton(AF_INET, listener.address.c_str(), &v4) != 1 &&
        inet_pton(AF_INET6, listener.address.c_str(), &v6) != 1)
        return refused(name + ".address must be a numeric address.",
                       "Use 127.0.0.1, ::1 or the address of an interface.");
    if (listener.tls && (listener.tls->certificate.empty() || listener.tls->private_key.empty()))
        return refused(name + ".tls needs both certificate and private_key.");
    if (!is_loopback(listener.address) && !listener.tls && insecure == InsecureListen::refuse)
        return refused(
            name + " would listen on " + listener.address +
                " without TLS: tokens would cross the network in clear.",
            "Set " + name +
                ".tls, listen on 127.0.0.1, or start with --insecure-listen behind a TLS proxy of your own.");
    return {};
}

}  // namespace

base::Result<Config> parse_config(std::string_view text, const std::filesystem::path& folder) {
    const auto document = json::parse(text, nullptr, false, true);
    if (document.is_discarded())
        return refused("The config is not valid JSON.", "Comments are allowed, trailing commas are not.");
    if (!document.is_object()) return refused("The config must be an object.");

    Config config;
    Settings known(folder);
    known.path("data_dir", config.data_dir);
    known.path("seal.key_file", config.key_file);
    known.path("seal.previous_key_file", config.previous_key_file);
    known.path("seal.pkcs11.module", config.pkcs11_module);
    known.path("seal.pkcs11.pin_file", config.pkcs11_pin_file);
    known.flag("seal.pkcs11.unseal_at_start", config.pkcs11_at_start);
    known.number("threads", config.threads, 0, 256);
    known.listener("agents", config.agents);
    known.texts("agents.allowed_origins", config.allowed_origins);
    known.listener("admin", config.admin);
    known.flag("upstream.allow_private", config.upstream_allow_private);
    known.path("upstream.ca_file", config.upstream_ca_file);
    known.number("upstream.connect_timeout_ms", config.upstream_connect, 100, 600'000);
    known.number("upstream.head_timeout_ms", config.upstream_head, 100, 3'600'000);
    known.number("upstream.stream_idle_ms", config.upstream_stream_idle, 1'000, 86'400'000);
    known.number("upstream.total_timeout_ms", config.upstream_total, 1'000, 604'800'000);
    known.number("upstream.abandoned_ms", config.upstream_abandoned, 1'000, 86'400'000);
    known.number("upstream.connections_per_origin", config.upstream_connections, 1, 65'536);
    known.number("upstream.idle_connections_per_origin", config.upstream_idle_connections, 0, 65'536);
    known.number("limits.header_bytes", config.limit_header_bytes, 1'024, 1'048'576);
    known.number("limits.body_bytes", config.limit_body_bytes, 1'024, 268'435'456);
    known.number("limits.connections", config.limit_connections, 1, 1'000'000);
    known.number("limits.json_depth", config.limit_json_depth, 4, 256);
    known.number("limits.idle_ms", config.limit_idle, 1'000, 3'600'000);
    known.number("limits.head_ms", config.limit_head, 250, 600'000);
    known.number("limits.body_ms", config.limit_body, 250, 3'600'000);
    known.number("limits.drain_ms", config.drain, 0, 600'000);
    known.flag("webhooks.allow_private", config.webhooks_allow_private);
    known.number("sessions.token_lifetime_s", config.session_token_lifetime, 60, 31'536'000);
    known.path("oauth.providers_dir", config.providers_dir);
    known.path("access_log.pin_dir", config.pin_dir);
    known.path("backup.dir", config.backup_dir);
    known.level("log.level", config.log_level);
    known.path("log.file", config.log_file);
    if (auto taken = known.take(document, ""); !taken) return std::unexpected(std::move(taken).error());
    if (config.data_dir.empty()) return refused("data_dir is required: the folder of the store.");
    for (const auto& [name, chosen] :
         {std::pair{"access_log.pin_dir", &config.pin_dir}, std::pair{"backup.dir", &config.backup_dir}})
        if (*chosen && lies_in(**chosen, config.data_dir))
            return refused(std::string(name) + " lies in data_dir: whoever replaces one replaces the other.",
                           "Name a folder on another disk.");
    if (config.previous_key_file && !config.key_file)
        return refused("seal.previous_key_file needs seal.key_file, which follows it.");
    if (config.pkcs11_module.has_value() != config.pkcs11_pin_file.has_value() ||
        (config.pkcs11_at_start && !config.pkcs11_module))
        return refused("seal.pkcs11 needs both module and pin_file.");
    if (config.pkcs11_at_start && config.key_file)
        return refused(
            "seal.key_file and seal.pkcs11.unseal_at_start are two ways to open the store at start.",
            "Set one of them; the other stays usable with `claviger unseal`.");
    return config;
}

base::Result<Config> load_config(const std::filesystem::path& file) {
    std::ifstream in(file);
    if (!in) return refused("The config file " + file.string() + " cannot be read.");
    std::ostringstream text;
    text << in.rdbuf();
    return parse_config(text.str(), std::filesystem::absolute(file).parent_path());
}

base::Result<std::vector<std::string>> explain_config(const Config& config, InsecureListen insecure) {
    for (const auto& [name, listener] :
         {std::pair{"agents", &config.agents}, std::pair{"admin", &config.admin}})
        if (auto good = check_listener(name, *listener, insecure); !good)
            return std::unexpected(std::move(good).error());

    const auto listening = [](const ListenerConfig& listener) {
        return listener.address + ":" + std::to_string(listener.port) +
               (listener.tls ? " with TLS" : " without TLS") +
               (is_loopback(listener.address) ? ", this machine only" : ", the network");
    };
    std::vector<std::string> facts;
    facts.push_back("data: " + config.data_dir.string() +
                    (std::filesystem::exists(config.store_dir()) ? "" : " (not initialised)"));
    facts.push_back(config.key_file ? "unseals at start with the key file " + config.key_file->string()
                    : config.pkcs11_at_start
                        ? "unseals at start with a token, by " + config.pkcs11_module->string()
                        : "starts sealed; unseal with `claviger unseal`");
    facts.push_back("agents: " + listening(config.agents));
    facts.push_back("admin: " + listening(config.admin));
    facts.push_back("connect links: " + (config.admin.public_url.empty()
                                             ? std::string("at the admin listener's own address")
                                             : "at " + config.admin.public_url));
    facts.push_back(std::string("private upstream addresses: ") +
                    (config.upstream_allow_private ? "allowed for every environment"
                                                   : "only hosts that an environment lists"));
    facts.push_back("upstream certificates: " + (config.upstream_ca_file
                                                     ? "verified against " + config.upstream_ca_file->string()
                                                     : "verified against the system's store"));
    facts.push_back(std::string("webhook endpoints: ") + (config.webhooks_allow_private
                                                              ? "private addresses and plain http allowed"
                                                              : "public addresses over https only"));
    if (config.providers_dir) {
        const auto providers = oauth::ProviderCatalog::with_folder(*config.providers_dir);
        if (!providers) return std::unexpected(providers.error());
        facts.push_back("providers: the built-in ones and those of " + config.providers_dir->string());
    }
    facts.push_back(config.pin_dir
                        ? "access log: pinned in " + config.pin_dir->string()
                        : "access log: not pinned, so an older copy of the whole store would not show");
    facts.push_back("backups: " + (config.backup_dir ? "made in " + config.backup_dir->string()
                                                     : std::string("none, because backup.dir is not set")));
    facts.push_back("log: " + (config.log_file ? config.log_file->string() : "standard error"));
    return facts;
}

}  // namespace claviger::server
