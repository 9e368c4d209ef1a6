#include "admin/cli/admin_client.h"

#include "admin/cli/arguments.h"
#include "admin/cli/secret_input.h"
#include "base/bytes.h"
#include "net/client.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <exception>
#include <memory>

#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMostAnswerBytes = 64 * 1024 * 1024;
constexpr std::chrono::seconds kAnswerWithin{60};

struct Exchange {
    net::Worker worker{0};
    net::Origin origin;
    net::OutboundHead head{worker};
    std::string_view body;
    base::Result<AdminClient::Reply> reply = AdminClient::Reply{};
};

net::awaitable<void> perform(Exchange& exchange, net::ClientPool& pool) {
    net::SendOptions options;
    options.partition = "admin";
    options.private_addresses = net::PrivateAddresses::allow;
    options.head_timeout = kAnswerWithin;
    auto sent = co_await pool.send(exchange.origin, exchange.head, exchange.body, options);
    if (!sent) {
        exchange.reply = std::unexpected(std::move(sent).error());
        co_return;
    }
    auto& answer = **sent;
    answer.idle_limit(kAnswerWithin);
    exchange.reply->status = answer.head().status;
    for (;;) {
        auto piece = co_await answer.next();
        if (!piece) {
            exchange.reply = std::unexpected(std::move(piece).error());
            co_return;
        }
        if (piece->empty() || exchange.reply->body.size() > kMostAnswerBytes) co_return;
        exchange.reply->body += *piece;
    }
}

base::Result<std::shared_ptr<net::TlsClient>> trust(const AdminClient::Settings& settings, bool tls) {
    if (!tls) return nullptr;
    return settings.ca_file ? net::TlsClient::with_ca(*settings.ca_file) : net::TlsClient::system_store();
}

bool is_this_machine(const std::string& host) {
    return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::unexpected<base::Error> unreachable(const std::string& url, const base::Error& error) {
    const auto why = error.detail.empty() ? error.message : error.message + " (" + error.detail + ")";
    return base::failure(
        base::ErrorKind::unavailable, kUnreachableCode, "The admin API at " + url + " did not answer: " + why,
        "Is `claviger serve` running there? Name another address with --url or CLAVIGER_URL.");
}

/// The server's refusal in its own words.
base::Error refusal(const AdminClient::Reply& reply, const std::string& url) {
    base::Error error{base::ErrorKind::denied, "api.refused", {}};
    const auto document = json::parse(reply.body, nullptr, false);
    if (document.is_object() && document.contains("error") && document["error"].is_object()) {
        error.message = document["error"].value("message", "The server gave no reason.");
        if (const auto& details = document["error"].value("details", json::object()); details.is_object())
            error.hint = details.value("hint", "");
        error.detail = reply.body;
    } else {
        error.message = "What answers at " + url + " is not a Claviger admin API (status " +
                        std::to_string(reply.status) + ").";
        error.hint = "Check --url: the agents' listener has another port than the admin listener.";
    }
    if (reply.status == 401 && error.hint.empty())
        error.hint = "Check the key file: --api-key-file or CLAVIGER_API_KEY_FILE names it.";
    if (reply.status == 503 && error.hint.empty())
        error.hint = "See `claviger status`; a sealed server needs `claviger unseal`.";
    return error;
}

}  // namespace

base::Result<AdminClient> AdminClient::with(Settings settings, std::ostream& err) {
    while (settings.url.ends_with('/')) settings.url.pop_back();
    auto server = policy::parse_server_url(settings.url);
    if (!server)
        return usage("The admin URL cannot be used: " + server.error().message,
                     "Give it like http://127.0.0.1:8701, with --url or CLAVIGER_URL.");
    if (!server->tls && !is_this_machine(server->host) &&
        settings.plain_http == Settings::PlainHttp::this_machine_only)
        return usage(
            "The admin URL is plain http to another machine: the API key would cross the network in clear.",
            "Use https, or --insecure-http where the network is yours alone.");
    if (server->target == "/") server->target.clear();
    return AdminClient(std::move(settings), *std::move(server), err);
}

base::Result<AdminClient::Reply> AdminClient::send(std::string_view method, const std::string& target,
                                                   std::string_view body, const crypto::Secret* key) {
    auto tls = trust(settings_, server_.tls);
    if (!tls) return usage("The CA file cannot be used: " + tls.error().message, tls.error().hint);
    Exchange exchange;
    exchange.origin = {server_.tls, server_.host, server_.port};
    exchange.body = body;
    auto& head = exchange.head;
    head.begin(method, server_.target + target, exchange.origin);
    bool fits = head.add("Accept", "application/json") &&
                head.add("User-Agent", "claviger-cli/" CLAVIGER_VERSION) &&
                head.add("anthropic-version", "2026-10-21") &&
                head.add("anthropic-beta", "managed-agents-2026-04-01");
    if (!body.empty()) fits = fits && head.add("Content-Type", "application/json");
    if (settings_.workspace) fits = fits && head.add("anthropic-workspace-id", *settings_.workspace);
    if (key != nullptr)
        fits = fits && key->expose([&head](std::span<const std::byte> bytes) {
            return head.add("Authorization", "Bearer ", base::as_view(bytes));
        });
    if (!fits)
        return usage("The API key or the workspace has characters that cannot stand in a request.",
                     "The key file must hold the key alone, on one line.");
    net::ClientPool pool(exchange.worker, {}, *tls);
    net::asio::co_spawn(exchange.worker.context().get_executor(), perform(exchange, pool),
                        [&exchange](std::exception_ptr escaped) {
                            exchange.worker.stop();
                            if (escaped) std::rethrow_exception(escaped);
                        });
    exchange.worker.run();
    if (!exchange.reply) return unreachable(settings_.url, exchange.reply.error());
    return std::move(exchange.reply);
}

base::Result<json> AdminClient::exchange(std::string_view method, const std::string& target,
                                         std::string_view body) {
    if (!key_) {
        auto key = read_secret_file(settings_.api_key_file, STDIN_FILENO, *err_);
        if (!key)
            return usage("There is no API key to speak to the admin API with: " + key.error().message,
                         "`claviger init` prints the first key; keep it in " +
                             settings_.api_key_file.string() +
                             " or name its file with --api-key-file or CLAVIGER_API_KEY_FILE.");
        key_.emplace(*std::move(key));
    }
    auto reply = send(method, target, body, &*key_);
    if (!reply) return std::unexpected(std::move(reply).error());
    auto document = json::parse(reply->body, nullptr, false);
    if (reply->status / 100 == 2 && !document.is_discarded()) return document;
    return std::unexpected(refusal(*reply, settings_.url));
}

base::Result<json> AdminClient::get(const std::string& target) { return exchange("GET", target, {}); }
base::Result<json> AdminClient::post(const std::string& target, const json& body) {
    return exchange("POST", target, body.dump());
}
base::Result<json> AdminClient::post(const std::string& target, const crypto::Secret& body) {
    return body.expose(
        [&](std::span<const std::byte> bytes) { return exchange("POST", target, base::as_view(bytes)); });
}
base::Result<json> AdminClient::post(const std::string& target) { return exchange("POST", target, {}); }
base::Result<json> AdminClient::erase(const std::string& target) { return exchange("DELETE", target, {}); }
base::Result<AdminClient::Reply> AdminClient::look(const std::string& target) {
    return send("GET", target, {}, nullptr);
}

void Query::add(std::string_view name, const std::optional<std::string>& value) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    if (!value) return;
    text_ += text_.empty() ? "?" : "&";
    text_ += name;
    text_ += '=';
    for (const char c : *value) {
        const auto byte = static_cast<unsigned char>(c);
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            std::string_view("-._~").contains(c)) {
            text_ += c;
        } else {
            text_ += {'%', kHex[byte >> 4], kHex[byte & 15]};
        }
    }
}

}  // namespace claviger::admin::cli
