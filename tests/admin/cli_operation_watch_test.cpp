// How an operation's progress and end look to the operator.
#include "admin/cli/operation_watch.h"

#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

json progress(std::uint64_t done, std::uint64_t total) {
    return {{"step", "data_keys"}, {"progress", {{"done", done}, {"total", total}}}};
}

}  // namespace

TEST_CASE("progress is a bar with counts, rate and the time that is left", "[cli][operation]") {
    auto half = progress(470'000, 1'000'000);
    CHECK(progress_text(half) == "[=========>          ]  47 %  470,000 of 1,000,000");
    half["progress"]["per_second"] = 52'311u;
    half["progress"]["remaining_seconds"] = 11u;
    CHECK(progress_text(half) == "[=========>          ]  47 %  470,000 of 1,000,000, 52,311/s, 11 s left");
    CHECK(progress_text(progress(0, 3)) == "[>                   ]   0 %  0 of 3");
    CHECK(progress_text(progress(3, 3)) == "[====================] 100 %  3 of 3");
    CHECK(progress_text(progress(9, 3)) == "[====================] 100 %  3 of 3");
}

TEST_CASE("before anything is counted the step is shown, and nothing odd breaks it", "[cli][operation]") {
    CHECK(progress_text(progress(0, 0)) == "data_keys");
    CHECK(progress_text({{"step", "pending"}}) == "pending");
    CHECK(progress_text({{"step", "pending"}, {"progress", {{"done", nullptr}, {"total", "many"}}}}) ==
          "pending");
}

TEST_CASE("the end of an operation says what to do next", "[cli][operation]") {
    json operation{{"id", "op_01x"}, {"kind", "root_key_rotation"}, {"from", 1u}, {"to", 2u}};
    const auto told = [&](std::string_view state) {
        operation["state"] = state;
        return outcome_text(operation);
    };
    CHECK(told("succeeded") == "The root key is number 2 now; number 1 is gone.");
    CHECK(told("rolled_back") == "Rolled back: the root key is number 2 again.");
    CHECK(told("waiting") ==
          "The root key is number 2 now. Number 1 is kept for a roll-back.\nNext: claviger operation retire "
          "op_01x, "
          "or claviger operation rollback op_01x.");
    CHECK(told("paused") == "Paused. Next: claviger operation resume op_01x.");
    CHECK(told("running") == "Goes on: claviger operation watch op_01x.");
    operation["problem"] = {
        {"code", "token.absent"}, {"message", "There is no token."}, {"hint", "Plug it in."}};
    CHECK(told("paused") ==
          "Paused. Next: claviger operation resume op_01x.\nThere is no token.\nPlug it in.");
    CHECK(told("failed") == "Failed.\nThere is no token.\nPlug it in.");
    operation["kind"] = "vault_key_rotation";
    CHECK(told("succeeded") == "The vault's key is number 2 now; number 1 is gone.");
}

}  // namespace claviger::admin::cli
