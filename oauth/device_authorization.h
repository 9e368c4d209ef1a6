// The device grant: a code that a person types elsewhere, and a poll until they did (RFC 8628).
#pragma once

#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/classify.h"
#include "oauth/web_url.h"

#include <chrono>
#include <string>
#include <string_view>

namespace claviger::oauth {

struct DeviceAuthorization {
    crypto::Secret device_code;
    std::string user_code;                  // to be shown
    std::string verification_uri;           // to be shown; an acceptable address
    std::string verification_uri_complete;  // the same with the code in it; empty when absent or unacceptable
    std::chrono::seconds expires_in{};      // from the moment the request was sent; 1 s to 10 years
    std::chrono::seconds interval{5};       // between two polls; 1 s to 1 h
};

/// The answer of the device authorization endpoint, JSON or form. The caller wipes `body`. Errors:
/// invalid_request "json.*", "answer.*", "device_response.invalid".
base::Result<DeviceAuthorization> parse_device_authorization(std::string_view content_type,
                                                             std::string_view body, PlainLoopback loopback);

enum class DevicePoll {
    wait,       // authorization_pending: poll again after the interval
    slow_down,  // the same, and the interval is 5 s longer for good
    denied,     // access_denied: the person said no
    expired,    // expired_token: start over
    tokens,     // the grant is there
    later,      // no answer or a passing trouble: poll again, each time after twice as long
    failed      // anything else: the classification says what
};

/// What one poll's answer means (RFC 8628 3.5).
DevicePoll device_poll(const Classification& answer);
/// Whether the same code is asked about once more: nothing has come of it yet.
bool polls_again(DevicePoll said);

}  // namespace claviger::oauth
