#include "policy/decision.h"

#include <algorithm>
#include <utility>

namespace claviger::policy {

Decision::Decision(Effect effect, bool hidden, std::string_view code, std::string rule, std::string reason)
    : effect_(effect), hidden_(hidden), code_(code), rule_(std::move(rule)), reason_(std::move(reason)) {}

Decision Decision::allowed_by(std::string rule, std::string because) {
    return {Effect::allow, false, "policy.allowed", std::move(rule), std::move(because)};
}

Decision Decision::denied_by(std::string_view code, std::string rule, std::string because) {
    return {Effect::deny, false, code, std::move(rule), std::move(because)};
}

Decision Decision::hidden_by(std::string_view code, std::string rule, std::string because) {
    return {Effect::deny, true, code, std::move(rule), std::move(because)};
}

Decision Decision::needs_human(std::string rule, std::string because) {
    return {Effect::ask_human, false, "policy.needs_approval", std::move(rule), std::move(because)};
}

Decision Decision::no_rule_matched(std::string because) {
    return {Effect::deny, true, "policy.no_rule", {}, std::move(because)};
}

Decision Decision::considering(std::vector<Considered> considered) && {
    std::ranges::sort(considered);
    considered_ = std::move(considered);
    return std::move(*this);
}

std::string told(const std::vector<Considered>& considered) {
    constexpr std::size_t kTold = 8;
    std::string text;
    std::size_t count = 0;
    for (const bool matched : {true, false})
        for (const auto& each : considered)
            if (each.matched == matched && ++count <= kTold)
                text += (text.empty() ? "" : "; ") + each.rule + (matched ? ": " : " did not match: ") +
                        each.because;
    if (count > kTold) text += "; and " + std::to_string(count - kTold) + " more";
    return text;
}

std::string_view Decision::hint() const {
    if (effect_ == Effect::allow) return {};
    if (code_ == "policy.needs_approval")
        return "Ask an administrator to allow the tool for this agent, or by a rule of the environment.";
    if (code_ == "policy.host_blocked")
        return "Ask an administrator to let the environment reach this server.";
    if (code_ == "policy.method_not_allowed") return "Use a method of the Model Context Protocol.";
    if (code_ == "policy.arguments_invalid")
        return "Send each argument once, spelled as the tool's schema spells it.";
    return "Ask an administrator for a rule that allows it.";
}

}  // namespace claviger::policy
