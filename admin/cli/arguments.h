// What the operator typed, checked against the command's row of the table.
#pragma once

#include "admin/cli/command.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::cli {

inline constexpr std::string_view kUsageCode = "cli.usage";
inline constexpr std::string_view kUnreachableCode = "cli.unreachable";

std::unexpected<base::Error> usage(std::string message, std::string hint = {});

class Arguments {
public:
    /// `words` follow the command's name. Fails with kUsageCode; the message never repeats a word that may be
    /// a secret.
    static base::Result<Arguments> parse(const Command& command, std::span<const std::string> words);

    const Command& command() const { return *command_; }
    bool has(std::string_view flag) const { return flags_.contains(flag); }
    /// The last value given.
    std::optional<std::string> value(std::string_view flag) const;
    std::string value_or(std::string_view flag, std::string_view otherwise) const;
    std::vector<std::string> values(std::string_view flag) const;
    base::Result<std::uint64_t> number_or(std::string_view flag, std::uint64_t otherwise) const;
    /// The operands in order.
    const std::vector<std::string>& operands() const { return operands_; }

private:
    const Command* command_ = nullptr;
    std::map<std::string, std::vector<std::string>, std::less<>> flags_;
    std::vector<std::string> operands_;
};

struct Invocation {
    const Command* command = nullptr;  // null: `topic` is to be explained
    std::optional<std::string> topic;  // "vault"
    Arguments arguments;
};

/// Finds the command in the words and parses the rest; common flags may also stand before the command.
base::Result<Invocation> parse_invocation(const std::vector<std::string>& words);

/// True for words with the shape of a token or key, such as "ghp_…" or a JWT.
bool looks_like_secret(std::string_view word);

}  // namespace claviger::admin::cli
