// Which addresses may be reached: both borders of every special range, the embedded forms, and what is no
// address at all.
#include "net/address.h"
#include "tests/support/spec.h"

using namespace claviger::net;

TEST_CASE("Every special IPv4 range is private up to its borders and not beyond", "[net][address]") {
    struct Row {
        const char *before, *first, *last, *after;  // null: the neighbour is special as well
    };
    const Row rows[] = {
        {nullptr, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "239.255.255.255", nullptr},
        {nullptr, "240.0.0.0", "255.255.255.255", nullptr},
    };
    for (const auto& row : rows) {
        INFO(row.first);
        CHECK(is_private_address(row.first));
        CHECK(is_private_address(row.last));
        if (row.before) CHECK_FALSE(is_private_address(row.before));
        if (row.after) CHECK_FALSE(is_private_address(row.after));
    }
    CHECK(is_private_address("169.254.169.254"));  // cloud metadata
    for (const auto* open : {"8.8.8.8", "1.1.1.1", "93.184.216.34", "192.31.196.1", "192.175.48.1"})
        CHECK_FALSE(is_private_address(open));
}

TEST_CASE("Every special IPv6 range is private, and global unicast is not", "[net][address]") {
    for (const auto* refused : {"::",
                                "::1",
                                "::2",
                                "::127.0.0.1",
                                "::8.8.8.8",
                                "::ffff:0:8.8.8.8",
                                "100::1",
                                "100:0:0:1::1",
                                "2001::1",
                                "2001:0:1::1",
                                "2001:1ff:ffff::",
                                "2001:10::1",
                                "2001:db8::1",
                                "2001:db8:ffff::1",
                                "3fff::1",
                                "3fff:fff::1",
                                "5f00::1",
                                "4000::1",
                                "fc00::1",
                                "fd00::1",
                                "fdff:ffff::1",
                                "fe80::1",
                                "febf::1",
                                "fec0::1",
                                "feff::1",
                                "ff00::1",
                                "ff02::1",
                                "ffff::1",
                                "64:ff9b:1::1",
                                "64:ff9b:1::8.8.8.8",
                                "64:ff9b:2::1",
                                "fd00:ec2::254",
                                "1000::1",
                                "1fff:ffff::1",
                                "e000::1"}) {
        INFO(refused);
        CHECK(is_private_address(refused));
    }
    for (const auto* open :
         {"2000::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1",
          "2001:db7:ffff::1", "2001:db9::1", "3ffe:ffff::1", "3fff:1000::1", "2003::1", "2620:4f:8000::1"}) {
        INFO(open);
        CHECK_FALSE(is_private_address(open));
    }
}

TEST_CASE("IPv4 inside IPv6 is judged by the IPv4 address", "[net][address]") {
    for (const auto* refused :
         {"::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
          "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::192.168.1.1",
          "2002:7f00:1::", "2002:0a00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:101::1"}) {
        INFO(refused);
        CHECK(is_private_address(refused));
    }
    for (const auto* open : {"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"}) {
        INFO(open);
        CHECK_FALSE(is_private_address(open));
    }
}

TEST_CASE("Only canonical numerics are addresses; everything else is refused", "[net][address]") {
    for (const auto* other : {"",
                              "localhost",
                              "127.1",
                              "127.0.1",
                              "2130706433",
                              "0x7f000001",
                              "0x7f.1",
                              "0177.0.0.1",
                              "127.0.0.01",
                              "008.8.8.8",
                              "8.8.8.8.",
                              "8.8.8.8 ",
                              " 8.8.8.8",
                              "8.8.8.256",
                              "8.8.8",
                              "8.8.8.8.8",
                              "[::1]",
                              "::1%lo",
                              "fe80::1%eth0",
                              "2001:4860:4860::8888%1",
                              "1:2:3:4:5:6:7",
                              "1::2::3",
                              ":",
                              "12345::",
                              "8.8.8.8/8",
                              "1111:2222:3333:4444:5555:6666:7777:8888:9999:1111"}) {
        INFO(other);
        CHECK_FALSE(parse_numeric_address(other));
        CHECK(is_private_address(other));
    }
    CHECK_FALSE(parse_numeric_address(std::string_view("8.8.8.8\0.evil", 13)));
    CHECK(parse_numeric_address("8.8.4.4")->bytes[2] == 4);
    CHECK(parse_numeric_address("::ffff:8.8.4.4")->family == NumericAddress::Family::ipv6);
}
