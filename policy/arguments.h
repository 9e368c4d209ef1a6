// The arguments of a tool call, as far as rules look at them.
#pragma once

#include "base/result.h"
#include "base/rules.h"

#include <memory>
#include <string_view>

namespace claviger::policy {

/// A parsed `params.arguments`. Whatever two JSON readers could understand differently is refused, because
/// the upstream might be the one that reads it the other way.
class Arguments {
public:
    /// `json` is the raw text; empty means that the call has no arguments. Errors: invalid_request
    /// "policy.arguments_invalid": not an object, not JSON, a name twice in one object, nested deeper
    /// than 64.
    static base::Result<Arguments> parse(std::string_view json);

    /// An absent value equals nothing and matches nothing. Numbers compare by value (1 and 1.0 are equal),
    /// objects without regard to order. Errors: "policy.arguments_invalid" when the pointer meets a name that
    /// differs from its own only by case, since many servers read names without regard to case.
    base::Result<bool> fulfil(const base::ArgumentCondition& condition) const;

    Arguments(Arguments&&) noexcept;
    Arguments& operator=(Arguments&&) noexcept;
    ~Arguments();

private:
    struct Tree;
    explicit Arguments(std::unique_ptr<Tree> tree);
    std::unique_ptr<Tree> tree_;
};

/// The form in which an operator's value is compared with arguments that are not strings: "1e2" is "100".
std::string comparable_text(std::string_view value);

}  // namespace claviger::policy
