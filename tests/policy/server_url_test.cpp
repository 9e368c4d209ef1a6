// Server URLs: one spelling for what is the same place, a refusal for what two readers could take
// differently.
#include "policy/server_url.h"

#include "tests/support/spec.h"

#include <string>
#include <string_view>

using namespace claviger;
using policy::normalise_server_url;
using policy::parse_server_url;

namespace {

struct Accepted {
    std::string_view what, given, normal;
};

constexpr Accepted kAccepted[] = {
    {"already normal", "https://mcp.slack.com/mcp", "https://mcp.slack.com/mcp"},
    {"upper-case scheme", "HTTPS://mcp.slack.com/mcp", "https://mcp.slack.com/mcp"},
    {"upper-case host", "https://MCP.Slack.COM/mcp", "https://mcp.slack.com/mcp"},
    {"the default port of https", "https://mcp.slack.com:443/mcp", "https://mcp.slack.com/mcp"},
    {"the default port of http", "http://mcp.slack.com:80/mcp", "http://mcp.slack.com/mcp"},
    {"the other scheme's port", "https://mcp.slack.com:80/mcp", "https://mcp.slack.com:80/mcp"},
    {"the other scheme's port, http", "http://mcp.slack.com:443/mcp", "http://mcp.slack.com:443/mcp"},
    {"a port of its own", "https://mcp.slack.com:8443/mcp", "https://mcp.slack.com:8443/mcp"},
    {"the highest port", "https://h.example:65535/", "https://h.example:65535"},
    {"everything at once", "https://MCP.Slack.com:443/mcp/", "https://mcp.slack.com/mcp"},
    {"a trailing slash", "https://h.example/mcp/", "https://h.example/mcp"},
    {"trailing slashes", "https://h.example/mcp///", "https://h.example/mcp"},
    {"no path", "https://h.example", "https://h.example"},
    {"the root path", "https://h.example/", "https://h.example"},
    {"only slashes", "https://h.example//", "https://h.example"},
    {"path case is kept", "https://mcp.slack.com/MCP", "https://mcp.slack.com/MCP"},
    {"an empty segment inside", "https://h.example/a//b", "https://h.example/a//b"},
    {"lower-case percent-hex", "https://h.example/a%2fb%c3%a9", "https://h.example/a%2Fb%C3%A9"},
    {"percent-encoding is not decoded", "https://h.example/%41", "https://h.example/%41"},
    {"an encoded trailing slash stays", "https://h.example/a%2F", "https://h.example/a%2F"},
    {"a query", "https://h.example/mcp?team=a&b=C", "https://h.example/mcp?team=a&b=C"},
    {"a query is kept literally", "https://h.example/mcp?x=%2f&y=a/", "https://h.example/mcp?x=%2f&y=a/"},
    {"a slash before the query", "https://h.example/mcp/?x=1", "https://h.example/mcp?x=1"},
    {"a query without a path", "https://h.example?x=1", "https://h.example?x=1"},
    {"a query after the root path", "https://h.example/?x=1", "https://h.example?x=1"},
    {"an empty query is not no query", "https://h.example/mcp?", "https://h.example/mcp?"},
    {"a question mark in the query", "https://h.example/mcp?a?b", "https://h.example/mcp?a?b"},
    {"dots that are no dot segments", "https://h.example/.well-known/...x",
     "https://h.example/.well-known/...x"},
    {"dots in the query", "https://h.example/mcp?next=../x", "https://h.example/mcp?next=../x"},
    {"every plain character", "https://h.example/-._~!$&'()*+,;=:@", "https://h.example/-._~!$&'()*+,;=:@"},
    {"punycode", "https://xn--bcher-kva.example/mcp", "https://xn--bcher-kva.example/mcp"},
    {"a single label", "http://localhost:3000/mcp", "http://localhost:3000/mcp"},
    {"an underscore, as container names have", "http://my_server:3000/mcp", "http://my_server:3000/mcp"},
    {"a label that begins with a digit", "https://3com.example/mcp", "https://3com.example/mcp"},
    {"IPv4", "http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080/mcp"},
    {"the highest IPv4", "http://255.255.255.255/", "http://255.255.255.255"},
    {"IPv6", "http://[::1]:8080/mcp", "http://[::1]:8080/mcp"},
    {"IPv6 with its default port", "https://[2001:db8::1]:443/mcp", "https://[2001:db8::1]/mcp"},
    {"IPv6 in upper case", "https://[2001:DB8::A]/mcp", "https://[2001:db8::a]/mcp"},
    {"IPv6 written out", "https://[2001:0db8:0:0:0:0:0:1]/", "https://[2001:db8::1]"},
    {"IPv6 zeros at the end", "https://[2001:db8:0:0:0:0:0:0]/", "https://[2001:db8::]"},
    {"IPv6 all zeros", "https://[0:0:0:0:0:0:0:0]/", "https://[::]"},
    {"IPv6 without zeros", "https://[1:2:3:4:5:6:7:8]/", "https://[1:2:3:4:5:6:7:8]"},
    {"IPv6 with one zero", "https://[1::3:4:5:6:7:8]/", "https://[1:0:3:4:5:6:7:8]"},
    {"IPv6 with two runs", "https://[1:0:0:4:0:0:0:8]/", "https://[1:0:0:4::8]"},
    {"IPv6 with equal runs", "https://[1:0:0:4:5:0:0:8]/", "https://[1::4:5:0:0:8]"},
    {"IPv6 with a dotted tail", "https://[::ffff:10.0.0.1]/", "https://[::ffff:a00:1]"},
};

struct Refused {
    std::string_view what, given, because;  // because: a part of the message
};

constexpr Refused kRefused[] = {
    {"nothing", "", "empty"},
    {"no scheme", "mcp.slack.com/mcp", "must begin with"},
    {"another scheme", "ftp://mcp.slack.com/mcp", "must begin with"},
    {"a websocket", "wss://mcp.slack.com/mcp", "must begin with"},
    {"one slash", "https:/mcp.slack.com/mcp", "must begin with"},
    {"no slashes", "https:mcp.slack.com", "must begin with"},
    {"a relative reference", "//mcp.slack.com/mcp", "must begin with"},
    {"no host", "https://", "host is missing"},
    {"no host but a path", "https:///mcp", "host is missing"},
    {"no host but a port", "https://:443/", "host is missing"},
    {"no host but a query", "https://?x", "host is missing"},
    {"a fragment", "https://h.example/mcp#top", "fragment"},
    {"an empty fragment", "https://h.example/mcp#", "fragment"},
    {"a user name", "https://alice@h.example/mcp", "user name or password"},
    {"a user name and password", "https://alice:s3cret@h.example/mcp", "user name or password"},
    {"an empty user name", "https://@h.example/mcp", "user name or password"},
    {"a host dressed as a user name", "https://good.example@evil.example/mcp", "user name or password"},
    {"a leading space", " https://h.example/mcp", "space or a control"},
    {"a trailing newline", "https://h.example/mcp\n", "space or a control"},
    {"a tab inside", "https://h.exa\tmple/mcp", "space or a control"},
    {"NUL", std::string_view("https://h.example/\0mcp", 22), "space or a control"},
    {"DEL", "https://h.example/\x7f", "space or a control"},
    {"a backslash for a slash", "https:\\\\h.example\\mcp", "backslash"},
    {"a backslash before the host's end", "https://h.example\\@evil.example/", "backslash"},
    {"a non-ASCII host", "https://b\xc3\xbc\x63her.example/", "non-ASCII"},
    {"a non-ASCII path", "https://h.example/\xc3\xbc", "non-ASCII"},
    {"a full-width dot",
     "https://h\xef\xbc\x8e"
     "example/",
     "non-ASCII"},
    {"a percent-encoded host", "https://h%2eexample/mcp", "percent-encoded"},
    {"a trailing dot", "https://h.example./mcp", "ends with a dot"},
    {"an empty label", "https://h..example/mcp", "empty label"},
    {"a leading dot", "https://.example/mcp", "empty label"},
    {"a leading hyphen", "https://-h.example/mcp", "hyphen"},
    {"a trailing hyphen", "https://h-.example/mcp", "hyphen"},
    {"a comma in the host", "https://a,b.example/mcp", "character that no host name has"},
    {"a wildcard host", "https://*.example/mcp", "character that no host name has"},
    {"IPv6 without brackets", "https://::1/mcp", "host is missing"},
    {"IPv6, open bracket", "https://[::1/mcp", "not closed"},
    {"IPv6 with text behind", "https://[::1]x/mcp", "only a port"},
    {"IPv6 with a zone", "https://[fe80::1%25eth0]/mcp", "not an IPv6"},
    {"IPv6, two gaps", "https://[1::2::3]/mcp", "not an IPv6"},
    {"a future address", "https://[v7.x]/mcp", "not an IPv6"},
    {"IPv4 in brackets", "https://[127.0.0.1]/mcp", "not an IPv6"},
    {"IPv4 in one number", "https://2130706433/mcp", "IPv4"},
    {"IPv4 in hex", "https://0x7f000001/mcp", "IPv4"},
    {"IPv4 in hex parts", "https://0x7f.1/mcp", "IPv4"},
    {"IPv4 with a hex tail", "https://127.0.0.0x1/mcp", "IPv4"},
    {"IPv4 with a bare 0x", "https://127.0.0.0x/mcp", "IPv4"},
    {"IPv4 in two parts", "https://127.1/mcp", "IPv4"},
    {"IPv4 in octal", "https://0177.0.0.1/mcp", "IPv4"},
    {"IPv4 with zeros in front", "https://127.000.000.001/mcp", "IPv4"},
    {"IPv4 out of range", "https://256.1.1.1/mcp", "IPv4"},
    {"IPv4 of five parts", "https://1.2.3.4.5/mcp", "IPv4"},
    {"a name that ends in a number", "https://mcp.1/mcp", "IPv4"},
    {"an empty port", "https://h.example:/mcp", "port"},
    {"port zero", "https://h.example:0/mcp", "port"},
    {"a port with a zero in front", "https://h.example:0443/mcp", "port"},
    {"a port too high", "https://h.example:65536/mcp", "port"},
    {"a port with a sign", "https://h.example:+443/mcp", "port"},
    {"a port that is no number", "https://h.example:https/mcp", "port"},
    {"two ports", "https://h.example:443:443/mcp", "port"},
    {"a dot segment", "https://h.example/a/./b", "'.' or '..'"},
    {"a double dot segment", "https://h.example/a/../b", "'.' or '..'"},
    {"a double dot at the end", "https://h.example/a/..", "'.' or '..'"},
    {"an encoded dot segment", "https://h.example/a/%2e%2E/b", "'.' or '..'"},
    {"a half encoded dot segment", "https://h.example/a/.%2e/b", "'.' or '..'"},
    {"dots behind an encoded slash", "https://h.example/a%2f..%2fb", "'.' or '..'"},
    {"dots behind an encoded backslash", "https://h.example/a%5c..%5cb", "'.' or '..'"},
    {"dots with a parameter", "https://h.example/a/..;x/b", "'.' or '..'"},
    {"an encoded newline in the path", "https://h.example/a%0d%0ab", "encoded control"},
    {"an encoded NUL in the path", "https://h.example/a%00", "encoded control"},
    {"a percent sign alone", "https://h.example/100%", "two hex digits"},
    {"a percent sign and one digit", "https://h.example/a%2", "two hex digits"},
    {"a percent sign and no hex", "https://h.example/a%zz", "two hex digits"},
    {"a percent sign alone in the query", "https://h.example/a?100%", "two hex digits"},
    {"a pipe in the path", "https://h.example/a|b", "must be percent-encoded"},
    {"a quote in the path", "https://h.example/a\"b", "must be percent-encoded"},
    {"braces in the query", "https://h.example/a?{b}", "must be percent-encoded"},
};

}  // namespace

TEST_CASE("Every accepted URL has one normal spelling, which is its own", "[policy][server_url]") {
    for (const auto& row : kAccepted) {
        INFO(row.what << ": " << row.given);
        const auto normal = normalise_server_url(row.given);
        REQUIRE(normal);
        CHECK(*normal == row.normal);
        CHECK(normalise_server_url(*normal) == *normal);
    }
}

TEST_CASE("A URL that could be read in two ways is refused, and the message says what is wrong with it",
          "[policy][server_url]") {
    for (const auto& row : kRefused) {
        INFO(row.what << ": " << row.given);
        const auto normal = normalise_server_url(row.given);
        REQUIRE_FALSE(normal);
        CHECK(normal.error().kind == base::ErrorKind::invalid_request);
        CHECK(normal.error().code == "server_url.invalid");
        CHECK_THAT(normal.error().message, Catch::Contains(std::string(row.because)));
    }
}

TEST_CASE("A refusal never repeats what the URL carried", "[policy][server_url]") {
    for (const auto* text : {"https://alice:s3cret@h.example/", "https://h.example/?token=s3cret#x",
                             "https://h.example/?s3cret=%"}) {
        const auto refused = normalise_server_url(text);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().message.find("s3cret") == std::string::npos);
        CHECK(refused.error().hint.find("s3cret") == std::string::npos);
    }
}

TEST_CASE("A declared server meets a stored credential when only the spelling differs",
          "[policy][server_url]") {
    const struct {
        std::string_view declared, stored;
        bool match;
    } table[] = {
        {"https://MCP.Slack.com:443/mcp/", "https://mcp.slack.com/mcp", true},
        {"https://mcp.slack.com/MCP", "https://mcp.slack.com/mcp", false},
        {"https://api.slack.com/mcp", "https://mcp.slack.com/mcp", false},
        {"https://mcp.slack.com:8443/mcp", "https://mcp.slack.com/mcp", false},
        {"https://h.example", "https://h.example/", true},
        {"http://h.example/mcp", "https://h.example/mcp", false},
        {"https://h.example/mcp?a=1", "https://h.example/mcp", false},
        {"https://h.example/a%2fb", "https://h.example/a%2Fb", true},
        {"https://h.example/a/b", "https://h.example/a%2Fb", false},
    };
    for (const auto& row : table) {
        INFO(row.declared << " and " << row.stored);
        CHECK((normalise_server_url(row.declared).value() == normalise_server_url(row.stored).value()) ==
              row.match);
    }
}

TEST_CASE("Length counts: 2047 characters are the most", "[policy][server_url]") {
    const std::string front = "https://h.example/";
    const auto longest = front + std::string(2047 - front.size(), 'a');
    CHECK(normalise_server_url(longest));
    CHECK_FALSE(normalise_server_url(longest + "a"));
    CHECK_FALSE(normalise_server_url("https://h.example/" + std::string(5000, '/')));
    CHECK(normalise_server_url("https://" + std::string(63, 'a') + ".example/"));
    CHECK_FALSE(normalise_server_url("https://" + std::string(64, 'a') + ".example/"));
    std::string host;
    while (host.size() < 252) host += "ab.";
    CHECK_FALSE(normalise_server_url("https://" + host + "example/"));

    // The canonical form of this address is one character longer than what was given.
    const std::string growing = "https://[1::3:4:5:6:7:8]/";
    CHECK_FALSE(normalise_server_url(growing + std::string(2047 - growing.size(), 'a')));
}

TEST_CASE("What goes on the wire keeps the path as it was given", "[policy][server_url]") {
    const auto url = parse_server_url("HTTPS://MCP.Example:443/mcp/?a=%2f");
    REQUIRE(url);
    CHECK(url->tls);
    CHECK(url->host == "mcp.example");
    CHECK(url->port == 443);
    CHECK(url->target == "/mcp/?a=%2f");
    CHECK(url->normal == "https://mcp.example/mcp?a=%2f");

    const auto bare = parse_server_url("http://[::1]?x");
    REQUIRE(bare);
    CHECK_FALSE(bare->tls);
    CHECK(bare->host == "::1");
    CHECK(bare->port == 80);
    CHECK(bare->target == "/?x");
    CHECK(bare->normal == "http://[::1]?x");
}
