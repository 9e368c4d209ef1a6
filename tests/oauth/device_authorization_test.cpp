#include "oauth/device_authorization.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;

base::Result<DeviceAuthorization> parse(std::string_view body, std::string_view type = "application/json") {
    return parse_device_authorization(type, body, PlainLoopback::refuse);
}

TEST_CASE("A device authorization says what to show and how often to ask", "[oauth]") {
    const auto device = parse(
        R"({"device_code":"dc-1","user_code":"ABCD-EFGH","verification_uri":"https://as/device",
            "verification_uri_complete":"https://as/device?c=ABCD-EFGH","expires_in":600,"interval":7})");
    REQUIRE(device);
    CHECK(device->device_code.expose([](auto bytes) { return std::string(base::as_view(bytes)); }) == "dc-1");
    CHECK(device->user_code == "ABCD-EFGH");
    CHECK(device->verification_uri == "https://as/device");
    CHECK(device->verification_uri_complete == "https://as/device?c=ABCD-EFGH");
    CHECK(device->expires_in == 600s);
    CHECK(device->interval == 7s);

    const auto sparse = parse(
        "device_code=d&user_code=U&verification_url=https%3A%2F%2Fas%2Fd&expires_in=9"
        "&verification_uri_complete=javascript%3Ax",
        "application/x-www-form-urlencoded");
    REQUIRE(sparse);
    CHECK(sparse->verification_uri == "https://as/d");
    CHECK(sparse->verification_uri_complete.empty());
    CHECK(sparse->interval == 5s);
    for (const auto& [interval, expected] :
         {std::pair{"0", 1s}, {"-5", 1s}, {"100000", 3600s}, {"\"8\"", 8s}}) {
        const auto one =
            parse(std::string(R"({"device_code":"d","user_code":"U","verification_uri":"https://as/d",
                                               "expires_in":9,"interval":)") +
                  interval + "}");
        REQUIRE(one);
        CHECK(one->interval == expected);
    }
}

TEST_CASE("A device authorization that cannot be used is refused", "[oauth]") {
    for (const char* body :
         {R"({"user_code":"U","verification_uri":"https://as/d","expires_in":9})",
          R"({"device_code":"a\nb","user_code":"U","verification_uri":"https://as/d","expires_in":9})",
          R"({"device_code":"d","verification_uri":"https://as/d","expires_in":9})",
          R"({"device_code":"d","user_code":"a\u001b[31m","verification_uri":"https://as/d","expires_in":9})",
          R"({"device_code":"d","user_code":"U","expires_in":9})",
          R"({"device_code":"d","user_code":"U","verification_uri":"http://as/d","expires_in":9})",
          R"({"device_code":"d","user_code":"U","verification_uri":"https://as/d"})",
          R"({"device_code":"d","user_code":"U","verification_uri":"https://as/d","expires_in":0})",
          R"({"device_code":"d","user_code":"U","verification_uri":"https://as/d","expires_in":1.5})"}) {
        INFO(body);
        const auto refused = parse(body);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "device_response.invalid");
    }
}

TEST_CASE("A poll's answer says wait, stop or done", "[oauth]") {
    struct Row {
        unsigned status;
        const char* body;
        DevicePoll poll;
    };
    using enum DevicePoll;
    const Row rows[] = {
        {200, R"({"access_token":"a"})", tokens},
        {400, R"({"error":"authorization_pending"})", wait},
        {200, R"({"error":"authorization_pending"})", wait},  // GitHub
        {400, R"({"error":"slow_down"})", slow_down},
        {400, R"({"error":"access_denied"})", denied},
        {400, R"({"error":"expired_token"})", expired},
        {503, "", later},
        {400, R"({"error":"invalid_client"})", failed},
        {400, R"({"error":"invalid_grant"})", failed},
    };
    for (const auto& row : rows) {
        INFO(row.body);
        CHECK(device_poll(classify({.status = row.status, .body = row.body}, {}, {})) == row.poll);
    }
    CHECK(device_poll(classify({.delivery = Delivery::no_answer}, {}, {})) == later);
}

}  // namespace
}  // namespace claviger::oauth
