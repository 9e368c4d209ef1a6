// Fuzzes claviger_oauth: metadata documents, registrations and addresses; the first line is the address.
#include "oauth/metadata.h"
#include "tests/fuzz/require.h"

#include <cstdint>
#include <string_view>

using namespace claviger::oauth;

namespace {

using claviger::fuzz::require;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto line_end = text.find('\n');
    const auto address = text.substr(0, line_end);
    const auto body = line_end == std::string_view::npos ? text : text.substr(line_end + 1);
    constexpr auto kRefuse = PlainLoopback::refuse;

    if (const auto url = parse_web_url(address)) {
        const auto again = parse_web_url(url->origin() + url->target());
        require(again && again->same_origin(*url) && again->target() == url->target());
        require(!protected_resource_urls(address).empty());
    } else {
        require(protected_resource_urls(address).empty() && authorization_server_urls(address).empty());
    }
    for (const auto& candidate : protected_resource_urls(address))
        require(candidate.size() > 2048 - 64 || parse_web_url(candidate).has_value());
    if (const auto resource = parse_protected_resource(body, address, kRefuse)) {
        require(resource_identifies(resource->resource, address) && !resource->authorization_servers.empty());
        for (const auto& issuer : resource->authorization_servers)
            require(parse_secure_url(issuer, kRefuse).has_value());
    }
    for (const auto match : {IssuerMatch::exact, IssuerMatch::templated})
        if (const auto server = parse_authorization_server(body, address, match, kRefuse)) {
            require(server->issuer == address);
            require(parse_secure_url(server->token_endpoint, kRefuse).has_value());
        }
    if (const auto client = parse_client_registration(body, kRefuse)) {
        require(!client->client_id.empty());
        require(client->registration_access_token.has_value() == !client->registration_client_uri.empty());
    }
    return 0;
}
