// May it happen, and why: the answer of the policy.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace claviger::policy {

enum class Effect { deny, allow, ask_human };

struct Considered {
    std::string rule;
    bool matched = false;
    std::string because;
    auto operator<=>(const Considered&) const = default;
};

/// On one line, for the operator's log: what matched comes first, and beyond the first eight it is only
/// counted.
std::string told(const std::vector<Considered>& considered);

/// Made only through the functions below, so none exists without a reason, and silence can only mean deny.
/// reason() and hint() may go to the caller; rule() and considered() are for the operator: they name rules
/// and resources that the caller may not be allowed to know of.
class Decision {
public:
    static Decision allowed_by(std::string rule, std::string because);
    static Decision denied_by(std::string_view code, std::string rule, std::string because);
    /// Denied, and the caller may not learn that the tool exists: answer as for an unknown tool.
    static Decision hidden_by(std::string_view code, std::string rule, std::string because);
    static Decision needs_human(std::string rule, std::string because);
    static Decision no_rule_matched(std::string because);

    /// What was looked at, put into one order whatever order the rules had.
    Decision considering(std::vector<Considered> considered) &&;

    Effect effect() const { return effect_; }
    bool allowed() const { return effect_ == Effect::allow; }
    bool hidden() const { return hidden_; }
    std::string_view code() const { return code_; }    // a literal: "policy.allowed", "policy.denied", ...
    const std::string& rule() const { return rule_; }  // empty when no rule matched
    const std::string& reason() const { return reason_; }
    std::string_view hint() const;  // what the caller can do next
    const std::vector<Considered>& considered() const { return considered_; }

private:
    Decision(Effect effect, bool hidden, std::string_view code, std::string rule, std::string reason);

    Effect effect_;
    bool hidden_;
    std::string_view code_;
    std::string rule_, reason_;
    std::vector<Considered> considered_;
};

}  // namespace claviger::policy
