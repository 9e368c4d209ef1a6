// The test framework, included nowhere else, so that moving to another version is one line.
#pragma once

#include <catch2/catch.hpp>
#include <iostream>
#include <string>

namespace claviger::test {

/// Says that the running test shows less here than it could; tests/run finds and counts these lines.
inline void skipped(const std::string& why) {
    std::cout << "skipped: " << Catch::getResultCapture().getCurrentTestName() << ": " << why << std::endl;
}

}  // namespace claviger::test
