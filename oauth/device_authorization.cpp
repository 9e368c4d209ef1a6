#include "oauth/device_authorization.h"

#include "oauth/answer_body.h"
#include "oauth/json_document.h"
#include "oauth/lifetime_text.h"
#include "oauth/token_response.h"
#include "oauth/visible.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace claviger::oauth {
namespace {

using std::chrono::seconds;

std::unexpected<base::Error> invalid(const char* fault) {
    return base::failure(base::ErrorKind::invalid_request, "device_response.invalid",
                         std::string("The device authorization endpoint's answer ") + fault + ".",
                         "Look at what it answers, or use another way to connect.");
}

std::optional<std::int64_t> number_in(const nlohmann::json& fields, const char* name) {
    const auto found = fields.find(name);
    if (found == fields.end()) return std::nullopt;
    return strict_integer(*found);
}

}  // namespace

base::Result<DeviceAuthorization> parse_device_authorization(std::string_view content_type,
                                                             std::string_view body, PlainLoopback loopback) {
    const auto answer = AnswerBody::parse(content_type, body);
    if (!answer) return std::unexpected(answer.error());
    const auto& fields = answer->fields();
    const auto code = secret_in(fields, "device_code", Alphabet::printable);
    if (code.unusable || code.text.empty()) return invalid("has no usable device_code");
    const auto shown = string_in(fields, "user_code").value_or("");
    if (shown.empty() || shown.size() > 128 || !is_printable(shown))
        return invalid("has no usable user_code");
    auto uri = string_in(fields, "verification_uri");
    if (!uri) uri = string_in(fields, "verification_url");  // Google's name for it
    if (!uri || !parse_secure_url(*uri, loopback))
        return invalid("has no verification_uri with an https address");
    const auto expires_in = number_in(fields, "expires_in");
    if (!expires_in || *expires_in < 1 || *expires_in > kLongestLifetime.count())
        return invalid("has no usable expires_in");
    DeviceAuthorization device{.device_code = crypto::Secret::copy_of(code.text),
                               .user_code = shown,
                               .verification_uri = *std::move(uri),
                               .verification_uri_complete = {},
                               .expires_in = seconds(*expires_in)};
    if (auto complete = string_in(fields, "verification_uri_complete");
        complete && parse_secure_url(*complete, loopback))
        device.verification_uri_complete = *std::move(complete);
    if (const auto interval = number_in(fields, "interval"))
        device.interval = seconds(std::clamp<std::int64_t>(*interval, 1, 3600));
    return device;
}

DevicePoll device_poll(const Classification& answer) {
    if (answer.kind == AnswerClass::success) return DevicePoll::tokens;
    if (answer.code == "authorization_pending") return DevicePoll::wait;
    if (answer.code == "slow_down") return DevicePoll::slow_down;
    // Elsewhere access_denied is no word that a token endpoint knows, so it counts as unrecognized.
    if (answer.code == "access_denied" || answer.sub_code == "access_denied") return DevicePoll::denied;
    if (answer.code == "expired_token") return DevicePoll::expired;
    const bool passing = answer.kind == AnswerClass::not_sent ||
                         answer.kind == AnswerClass::unknown_outcome || answer.kind == AnswerClass::transient;
    return passing ? DevicePoll::later : DevicePoll::failed;
}

bool polls_again(DevicePoll said) {
    return said == DevicePoll::wait || said == DevicePoll::slow_down || said == DevicePoll::later;
}

}  // namespace claviger::oauth
