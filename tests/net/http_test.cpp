#include "net/http.h"

#include "tests/support/spec.h"

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

TEST_CASE("A target is split at its first question mark", "[net]") {
    net::Request request;
    request.target = "/a/b?c=d?e";
    CHECK(request.path() == "/a/b");
    CHECK(request.query() == "c=d?e");
    request.target = "/plain";
    CHECK(request.path() == "/plain");
    CHECK(request.query().empty());
}
