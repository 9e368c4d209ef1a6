// The test framework, included nowhere else, so that moving to another version is one line.
#pragma once

#include <catch2/catch.hpp>
