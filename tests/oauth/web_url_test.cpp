#include "oauth/web_url.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

TEST_CASE("A web URL is split in one way or not at all", "[oauth]") {
    struct Row {
        const char* text;
        const char* origin;  // empty: refused
        const char* target;
    };
    const Row rows[] = {
        {"https://h.example", "https://h.example", "/"},
        {"HTTPS://H.Example:443/A/b?x=1", "https://h.example", "/A/b?x=1"},
        {"http://h:8080/", "http://h:8080", "/"},
        {"http://h:80", "http://h", "/"},
        {"https://h?x", "https://h", "/?x"},
        {"https://[::1]:8443/a", "https://[::1]:8443", "/a"},
        {"https://h/a%20b/{tenant}", "https://h", "/a%20b/{tenant}"},
        {"", "", ""},
        {"h.example", "", ""},
        {"ftp://h/", "", ""},
        {"https://", "", ""},
        {"https:///a", "", ""},
        {"https://user@h/", "", ""},
        {"https://h:0/", "", ""},
        {"https://h:65536/", "", ""},
        {"https://h:/", "", ""},
        {"https://h:1x/", "", ""},
        {"https://h/#f", "", ""},
        {"https://h/a b", "", ""},
        {"https://h\\@evil/", "", ""},
        {"https://h/\xc3\xa9", "", ""},
        {"https://h%2eexample/", "", ""},
        {"https://a..b/", "", ""},
        {"https://.a/", "", ""},
        {"https://[::1/", "", ""},
        {"https://[zz]/", "", ""},
        {"https://[::1]x/", "", ""},
        {"https://h/\r\nX: y", "", ""},
    };
    for (const auto& row : rows) {
        INFO(row.text);
        const auto url = parse_web_url(row.text);
        CHECK((url ? url->origin() : "") == row.origin);
        if (url) CHECK(url->target() == row.target);
    }
    CHECK(parse_web_url("https://h/" + std::string(2038, 'a')));
    CHECK_FALSE(parse_web_url("https://h/" + std::string(2039, 'a')));
}

TEST_CASE("Only https is secure, and http on this machine where that is allowed", "[oauth]") {
    for (const char* text :
         {"http://localhost:8080/", "http://127.0.0.1/", "http://127.1.2.3/", "http://[::1]/"}) {
        INFO(text);
        CHECK(parse_secure_url(text, PlainLoopback::allow));
        CHECK_FALSE(parse_secure_url(text, PlainLoopback::refuse));
    }
    for (const char* text : {"http://h/", "http://10.0.0.1/", "http://127.1/",
                             "http://127.0.0.1.evil.example/", "http://localhost.evil.example/"}) {
        INFO(text);
        CHECK_FALSE(parse_secure_url(text, PlainLoopback::allow));
    }
    CHECK(parse_secure_url("https://h/", PlainLoopback::refuse));
}

}  // namespace
}  // namespace claviger::oauth
