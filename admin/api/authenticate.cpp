#include "admin/api/authenticate.h"

#include "net/address.h"

#include <algorithm>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

constexpr std::string_view kBeta = "managed-agents-2026-04-01";

std::string_view trimmed(std::string_view text) {
    const auto from = text.find_first_not_of(" \t");
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

/// Every value of a header that may be repeated or be a comma-separated list.
bool list_contains(const net::Headers& headers, std::string_view name, std::string_view wanted) {
    for (std::size_t i = 0; i < headers.size(); ++i) {
        auto [field, value] = headers.at(i);
        if (!net::equal_ignoring_case(field, name)) continue;
        for (;;) {
            const auto comma = value.find(',');
            if (trimmed(value.substr(0, comma)) == wanted) return true;
            if (comma == std::string_view::npos) break;
            value.remove_prefix(comma + 1);
        }
    }
    return false;
}

std::string_view without_port(std::string_view authority) {
    if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
    return authority.substr(0, authority.find(':'));
}

std::string_view bearer_of(const net::Headers& headers) {
    constexpr std::string_view scheme = "Bearer ";
    const auto value = headers.find("Authorization").value_or("");
    if (value.size() <= scheme.size() || !net::equal_ignoring_case(value.substr(0, scheme.size()), scheme))
        return {};
    return trimmed(value.substr(scheme.size()));
}

}  // namespace

bool host_is_ours(const net::Headers& headers, const std::vector<std::string>& allowed) {
    const auto host = headers.find("Host");
    if (!host) return false;
    const auto name = without_port(*host);
    return net::equal_ignoring_case(name, "localhost") || net::parse_numeric_address(name) ||
           std::ranges::any_of(allowed, [&](const std::string& known) {
               return net::equal_ignoring_case(known, name) || net::equal_ignoring_case(known, *host);
           });
}

base::Result<vault::Ref<vault::ApiKey>> authenticate(const net::Headers& headers,
                                                     const vault::Catalog& catalog) {
    const auto refuse = [](std::string_view code, std::string message) {
        return base::failure(ErrorKind::unauthenticated, code, std::move(message),
                             "Send an API key in x-api-key, or as Authorization: Bearer.");
    };
    const auto key = trimmed(headers.find("x-api-key").value_or(""));
    const auto bearer = bearer_of(headers);
    if (headers.count("x-api-key") > 1 || headers.count("Authorization") > 1 ||
        (!key.empty() && !bearer.empty() && key != bearer))
        return refuse("api_key.ambiguous", "The request carries two different API keys.");
    const auto given = key.empty() ? bearer : key;
    if (given.empty()) return refuse("api_key.missing", "The request carries no API key.");
    auto found = catalog.api_key_by_hash(vault::token_hash(given));
    if (!found || found->revoked) return refuse("api_key.unknown", "The API key is unknown or revoked.");
    return found;
}

base::Status check_headers(const net::Headers& headers, const Route& route, const vault::ApiKey& key) {
    if (const auto version = headers.find("anthropic-version");
        version && *version != "2023-06-01" && *version != "2026-10-21")
        return base::failure(ErrorKind::invalid_request, "request.version",
                             "anthropic-version: must be 2023-06-01 or 2026-10-21, or absent");
    if (const auto workspace = headers.find("anthropic-workspace-id");
        workspace && *workspace != key.workspace.text())
        return base::failure(ErrorKind::denied, "workspace.other",
                             "anthropic-workspace-id: this API key belongs to another workspace",
                             "Leave the header out, or use a key of that workspace.");
    if (route.dialect == Dialect::managed_agents && !list_contains(headers, "anthropic-beta", kBeta))
        return base::failure(
            ErrorKind::not_found, "request.beta_missing",
            "This route exists only with the header anthropic-beta: " + std::string(kBeta) + ".",
            "The official SDKs send it; add it to requests of your own.");
    return {};
}

std::array<unsigned char, 16> source_bytes(std::string_view peer) {
    std::array<unsigned char, 16> bytes{};
    const auto address = net::parse_numeric_address(peer);
    if (!address) return bytes;
    if (address->family == net::NumericAddress::Family::ipv6) return address->bytes;
    bytes[10] = bytes[11] = 0xff;
    std::copy_n(address->bytes.begin(), 4, bytes.begin() + 12);
    return bytes;
}

}  // namespace claviger::admin::api
