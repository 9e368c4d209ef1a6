// The admin API as the commands see it: one request, one answer, failures as sentences.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"
#include "policy/server_url.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::admin::cli {

/// Every member blocks for one exchange, at most about a minute. Errors: "cli.unreachable"; "api.refused"
/// with the server's own sentence, and in `detail` the JSON it sent; "cli.usage" for settings that cannot
/// work.
class AdminClient {
public:
    struct Settings {
        std::string url;
        std::filesystem::path api_key_file;
        std::optional<std::filesystem::path> ca_file;
        std::optional<std::string> workspace;
        enum class PlainHttp { this_machine_only, anywhere } plain_http = PlainHttp::this_machine_only;
    };
    /// Reads the key file when the first request needs it; warns on `err`, which must outlive the client,
    /// when others may read it.
    static base::Result<AdminClient> with(Settings settings, std::ostream& err);

    base::Result<nlohmann::json> get(const std::string& target);
    base::Result<nlohmann::json> post(const std::string& target, const nlohmann::json& body);
    base::Result<nlohmann::json> post(const std::string& target, const crypto::Secret& body);
    base::Result<nlohmann::json> post(const std::string& target);
    base::Result<nlohmann::json> erase(const std::string& target);

    struct Reply {
        unsigned status = 0;
        std::string body;
    };
    /// Without the key and whatever the status: for health.
    base::Result<Reply> look(const std::string& target);
    const std::string& url() const { return settings_.url; }

private:
    AdminClient(Settings settings, policy::ServerUrl server, std::ostream& err)
        : settings_(std::move(settings)), server_(std::move(server)), err_(&err) {}
    base::Result<nlohmann::json> exchange(std::string_view method, const std::string& target,
                                          std::string_view body);
    base::Result<Reply> send(std::string_view method, const std::string& target, std::string_view body,
                             const crypto::Secret* key);

    Settings settings_;
    policy::ServerUrl server_;
    std::ostream* err_;
    std::optional<crypto::Secret> key_;
};

/// "limit=20&page=…" from pairs; values are percent-encoded, pairs without a value left out.
class Query {
public:
    void add(std::string_view name, const std::optional<std::string>& value);
    /// "?a=b&c=d", or empty.
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

}  // namespace claviger::admin::cli
