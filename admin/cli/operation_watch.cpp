#include "admin/cli/operation_watch.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <thread>

#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kBarWidth = 20;
constexpr std::chrono::milliseconds kAskEvery{250};
constexpr int kLinesEvery = 20;  // askings between two lines where there is no terminal

/// 1000000 as "1,000,000".
std::string grouped(std::uint64_t number) {
    auto text = std::to_string(number);
    for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
        text.insert(static_cast<std::size_t>(at), ",");
    return text;
}

std::uint64_t number(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool goes_on(const json& operation) { return operation.value("state", "") == "running"; }

}  // namespace

std::string progress_text(const json& operation) {
    const auto progress = operation.value("progress", json::object());
    const auto total = number(progress, "total");
    const auto done = std::min(number(progress, "done"), total);
    if (total == 0) return operation.value("step", "");
    const auto filled = static_cast<std::size_t>(done * kBarWidth / total);
    std::string bar(filled, '=');
    if (filled < kBarWidth) bar += '>';
    bar.resize(kBarWidth, ' ');
    auto percent = std::to_string(done * 100 / total);
    percent.insert(0, 3 - std::min<std::size_t>(3, percent.size()), ' ');
    auto text = "[" + bar + "] " + percent + " %  " + grouped(done) + " of " + grouped(total);
    if (const auto rate = number(progress, "per_second"); rate > 0) text += ", " + grouped(rate) + "/s";
    if (const auto left = number(progress, "remaining_seconds"); left > 0)
        text += ", " + std::to_string(left) + " s left";
    return text;
}

std::string outcome_text(const json& operation) {
    const auto id = operation.value("id", "");
    const auto state = operation.value("state", "");
    const auto from = std::to_string(number(operation, "from")), to = std::to_string(number(operation, "to"));
    const bool root = operation.value("kind", "") == "root_key_rotation";
    const std::string key = root ? "root key" : "vault's key";
    if (state == "succeeded") return "The " + key + " is number " + to + " now; number " + from + " is gone.";
    if (state == "rolled_back") return "Rolled back: the " + key + " is number " + to + " again.";
    if (state == "waiting")
        return "The root key is number " + to + " now. Number " + from +
               " is kept for a roll-back.\nNext: claviger operation retire " + id +
               ", or claviger operation rollback " + id + ".";
    const auto problem = operation.value("problem", json());
    std::string why;
    if (problem.is_object()) why = "\n" + problem.value("message", "") + "\n" + problem.value("hint", "");
    if (state == "paused") return "Paused. Next: claviger operation resume " + id + "." + why;
    if (state == "failed") return "Failed." + why;
    return "Goes on: claviger operation watch " + id + "." + why;
}

base::Result<json> watch_operation(Context& context, json operation) {
    const auto target = "/v1/operations/" + operation.value("id", "");
    const bool terminal = ::isatty(STDERR_FILENO) == 1 && !context.screen.json();
    auto& err = context.screen.err();
    for (int asked = 0; goes_on(operation); ++asked) {
        if (terminal)
            err << '\r' << progress_text(operation) << "\033[K" << std::flush;
        else if (asked % kLinesEvery == kLinesEvery - 1)
            err << progress_text(operation) << std::endl;
        std::this_thread::sleep_for(kAskEvery);
        auto newest = context.api.get(target);
        if (!newest) return newest;
        operation = std::move(*newest);
    }
    if (terminal) err << '\r' << progress_text(operation) << "\033[K\n" << std::flush;
    if (operation.value("state", "") == "failed") {
        const auto problem = operation.value("problem", json::object());
        return base::failure(base::ErrorKind::conflict, "operation.failed",
                             "The operation failed: " + problem.value("message", ""),
                             problem.value("hint", ""));
    }
    return operation;
}

}  // namespace claviger::admin::cli
