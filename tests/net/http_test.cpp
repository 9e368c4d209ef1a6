#include "net/http.h"

#include "tests/support/spec.h"

#include <string>

using namespace claviger;

TEST_CASE("Header names are found whatever their case, in the order they came", "[net]") {
    net::Headers headers;
    headers.add("Content-Type", "text/plain");
    headers.add("X-Twice", "one");
    headers.add("x-twice", "two");
    headers.add("Empty", "");

    CHECK(headers.find("content-type") == "text/plain");
    CHECK(headers.find("X-TWICE") == "one");
    CHECK(headers.count("X-Twice") == 2);
    CHECK(headers.find("empty") == "");
    CHECK_FALSE(headers.find("absent"));
    CHECK(headers.at(2).name == "x-twice");
    CHECK(headers.at(2).value == "two");

    headers.clear();
    CHECK(headers.size() == 0);
    CHECK_FALSE(headers.find("Content-Type"));
}

TEST_CASE("Names that differ in more than case are different", "[net]") {
    CHECK(net::equal_ignoring_case("Host", "hOST"));
    CHECK_FALSE(net::equal_ignoring_case("Host", "Hose"));
    CHECK_FALSE(net::equal_ignoring_case("Host", "Hosts"));
    CHECK_FALSE(net::equal_ignoring_case("a[b", "A{b"));  // not letters, although one bit apart
    CHECK_FALSE(net::equal_ignoring_case("@", "`"));
}

TEST_CASE("Any two bytes at any place are compared as letters or as bytes", "[net]") {
    const auto same = [](unsigned char a, unsigned char b) {
        const auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : +c; };
        return lower(a) == lower(b);
    };
    std::size_t wrong = 0;
    for (unsigned a = 0; a < 256; ++a)
        for (unsigned b = 0; b < 256; ++b)
            for (const std::size_t size : {1U, 7U, 8U, 9U, 15U, 16U, 17U})
                for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
                    std::string one(size, 'k'), other(size, 'K');
                    one[at] = static_cast<char>(a);
                    other[at] = static_cast<char>(b);
                    if (net::equal_ignoring_case(one, other) != same(one[at], other[at])) ++wrong;
                }
    CHECK(wrong == 0);
}

TEST_CASE("A field that must stand once is not found when it stands twice", "[net]") {
    net::Headers headers;
    headers.add("Authorization", "one");
    CHECK(headers.find_only("authorization") == "one");
    CHECK_FALSE(headers.find_only("Authorisation"));
    headers.add("AUTHORIZATION", "two");
    CHECK_FALSE(headers.find_only("Authorization"));
}

TEST_CASE("A target is split at its first question mark", "[net]") {
    net::Request request;
    request.target = "/a/b?c=d?e";
    CHECK(request.path() == "/a/b");
    CHECK(request.query() == "c=d?e");
    request.target = "/plain";
    CHECK(request.path() == "/plain");
    CHECK(request.query().empty());
}
