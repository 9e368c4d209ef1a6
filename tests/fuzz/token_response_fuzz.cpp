// Fuzzes claviger_oauth: answers of token and device endpoints; the first byte is status and shape, the first
// line the content type.
#include "oauth/classify.h"
#include "oauth/device_authorization.h"
#include "tests/fuzz/require.h"

#include <cstdint>
#include <span>
#include <string_view>

using namespace claviger;
using fuzz::require;
using namespace claviger::oauth;

namespace {

constexpr base::Time kSent{std::chrono::seconds(1'800'000'000)};

void check(const TokenSet& tokens) {
    tokens.access_token.expose([](std::span<const std::byte> bytes) {
        require(!bytes.empty());
        for (const auto byte : bytes) require(byte > std::byte{0x20} && byte < std::byte{0x7f});
    });
    require(!tokens.refresh_token || tokens.refresh_token->size() > 0);
    if (tokens.expires_at) require(*tokens.expires_at - kSent <= kLongestLifetime);
    require(tokens.rest.size() >= 2);
}

void check(const Classification& found) {
    require(found.code.size() <= 64 && found.description.size() <= 200);
    for (const char c : found.code + found.sub_code + found.description) require(c >= 0x20 && c < 0x7f);
    if (found.retry_after) require(found.retry_after->count() >= 0 && found.retry_after->count() <= 3600);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    constexpr unsigned kStatuses[] = {200, 201, 400, 401, 403, 404, 500, 502};
    std::string_view rest(reinterpret_cast<const char*>(bytes + 1), size - 1);
    const auto line_end = rest.find('\n');
    const auto type = line_end == std::string_view::npos ? std::string_view() : rest.substr(0, line_end);
    const auto body = line_end == std::string_view::npos ? rest : rest.substr(line_end + 1);
    TokenShape shape;
    if (bytes[0] & 8) shape = {.nested = "authed_user", .bearer_aliases = {"user"}, .scope_separators = ","};
    if (bytes[0] & 16)
        shape = {.access_token = "token", .refresh_token = "refreshToken", .expires_at = "expiresAt"};
    if (bytes[0] & 32) shape.unit = TokenShape::Unit::milliseconds;
    const TokenAnswer answer{.status = kStatuses[bytes[0] & 7],
                             .content_type = type,
                             .retry_after = type,
                             .body = body,
                             .now = kSent};
    const RefusalRules rules{.aadsts_codes = (bytes[0] & 64) != 0};
    const auto outcome = read_token_answer(answer, shape, {.sent_at = kSent}, rules, {});
    check(outcome.classification);
    require(outcome.tokens.has_value() == (outcome.classification.kind == AnswerClass::success));
    if (outcome.tokens) check(*outcome.tokens);
    if (const auto device = parse_device_authorization(type, body, PlainLoopback::allow))
        require(device->interval.count() >= 1 && device->expires_in.count() >= 1 &&
                !device->user_code.empty());
    return 0;
}
