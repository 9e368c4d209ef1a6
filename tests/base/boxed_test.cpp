#include "base/boxed.h"

#include "tests/support/spec.h"

#include <string>

using claviger::base::Boxed;

TEST_CASE("A boxed value is there or not, and copies are deep", "[base]") {
    static_assert(sizeof(Boxed<std::string>) == sizeof(void*));
    Boxed<std::string> none;
    CHECK_FALSE(none);
    CHECK_FALSE(none.has_value());
    Boxed<std::string> one = std::string("one");
    REQUIRE(one);
    auto copy = one;
    copy->append(" more");
    CHECK(*one == "one");
    CHECK(*copy == "one more");
    const auto moved = std::move(copy);
    CHECK(*moved == "one more");
    one = moved;
    CHECK(*one == "one more");
    none.emplace() = "made";
    CHECK(none->size() == 4);
    none = one;
    CHECK(*none == "one more");
    one.reset();
    CHECK_FALSE(one.has_value());
    none = std::nullopt;
    CHECK_FALSE(none);
    none = one;
    CHECK_FALSE(none);
}
