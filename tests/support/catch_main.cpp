// The test framework's main, compiled once.
#define CATCH_CONFIG_MAIN
#include "tests/support/spec.h"
