#include "admin/cli/arguments.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace claviger::admin::cli {
namespace {

/// Flags that people try, and that must never exist: they would put a secret where every process can read it.
constexpr std::array<std::string_view, 12> kSecretFlags = {
    "--token",   "--secret", "--secret-value", "--access-token", "--refresh-token", "--client-secret",
    "--api-key", "--key",    "--password",     "--passphrase",   "--bearer",        "--pat",
};

constexpr std::array<std::string_view, 19> kSecretStarts = {
    "ghp_",  "gho_",  "ghu_", "ghs_", "ghr_",     "github_pat_", "glpat-", "xoxb-", "xoxp-",       "xoxe-",
    "xoxa-", "xapp-", "sk-",  "sk_",  "lin_api_", "ntn_",        "AKIA",   "clv_",  "secret_key=",
};

std::unexpected<base::Error> secret_on_command_line() {
    return usage(
        "A secret was given as an argument; arguments are visible to every process and stay in the shell's "
        "history, so nothing was done.",
        "Pass it on standard input or in a file (--token-file, --secret-file, --api-key-file), and replace "
        "the one that was typed.");
}

const Flag* find_flag(const Command& command, std::string_view name) {
    if (const auto own = std::ranges::find(command.flags, name, &Flag::name); own != command.flags.end())
        return &*own;
    if (name == "--help" || command.takes_common_flags) {
        const auto common = std::ranges::find(common_flags(), name, &Flag::name);
        if (common != common_flags().end()) return &*common;
    }
    return nullptr;
}

std::string help_hint(const Command& command) {
    return "See `claviger help " + std::string(command.name) + "`.";
}

base::Status check_operands(const Command& command, const std::vector<std::string>& given) {
    std::size_t least = 0;
    bool open_ended = false;
    for (const auto& operand : command.operands) {
        if (operand.count != Operand::Count::optional) ++least;
        if (operand.count == Operand::Count::some) open_ended = true;
    }
    if (given.size() < least)
        return usage(std::string(command.operands[given.size()].name) +
                         " is missing: " + std::string(command.operands[given.size()].help) + ".",
                     help_hint(command));
    if (!open_ended && given.size() > command.operands.size())
        return usage("'" + given[command.operands.size()] + "' is one word too many for `claviger " +
                         std::string(command.name) + "`.",
                     help_hint(command) + " Words with spaces need quotes.");
    return {};
}

}  // namespace

std::unexpected<base::Error> usage(std::string message, std::string hint) {
    return base::failure(base::ErrorKind::invalid_request, kUsageCode, std::move(message), std::move(hint));
}

bool looks_like_secret(std::string_view word) {
    if (word.size() < 12 || word.find_first_of(" /\\") != std::string_view::npos) return false;
    if (word.starts_with("eyJ") && std::ranges::count(word, '.') == 2) return true;
    return std::ranges::any_of(kSecretStarts,
                               [word](std::string_view start) { return word.starts_with(start); });
}

base::Result<Arguments> Arguments::parse(const Command& command, std::span<const std::string> words) {
    Arguments parsed;
    parsed.command_ = &command;
    bool only_operands = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (only_operands || !word.starts_with("-") || word == "-") {
            if (looks_like_secret(word)) return secret_on_command_line();
            parsed.operands_.push_back(word);
            continue;
        }
        if (word == "--") {
            only_operands = true;
            continue;
        }
        const auto equals = word.find('=');
        const auto name = word == "-h" ? std::string("--help") : word.substr(0, equals);
        const Flag* flag = find_flag(command, name);
        if (flag == nullptr) {
            if (std::ranges::find(kSecretFlags, name) != kSecretFlags.end()) return secret_on_command_line();
            return usage("`claviger " + std::string(command.name) + "` has no flag " + name + ".",
                         help_hint(command));
        }
        auto& values = parsed.flags_[name];
        if (!values.empty() && !flag->repeatable)
            return usage(name + " was given twice.",
                         "Give it once; the flags that may repeat are marked in the help.");
        if (flag->value.empty()) {
            if (equals != std::string::npos) return usage(name + " takes no value.", help_hint(command));
            values.emplace_back();
            continue;
        }
        if (equals == std::string::npos && i + 1 == words.size())
            return usage(name + " needs a value: " + std::string(flag->help) + ".", help_hint(command));
        values.push_back(equals == std::string::npos ? words[++i] : word.substr(equals + 1));
        if (looks_like_secret(values.back())) return secret_on_command_line();
    }
    if (parsed.has("--help")) return parsed;
    for (const auto& flag : command.flags)
        if (flag.required && !parsed.has(flag.name))
            return usage(std::string(flag.name) + " is missing: " + std::string(flag.help) + ".",
                         help_hint(command));
    if (auto good = check_operands(command, parsed.operands_); !good)
        return std::unexpected(std::move(good).error());
    return parsed;
}

std::optional<std::string> Arguments::value(std::string_view flag) const {
    const auto at = flags_.find(flag);
    if (at == flags_.end()) return std::nullopt;
    return at->second.back();
}

std::string Arguments::value_or(std::string_view flag, std::string_view otherwise) const {
    auto given = value(flag);
    return given ? *std::move(given) : std::string(otherwise);
}

std::vector<std::string> Arguments::values(std::string_view flag) const {
    const auto at = flags_.find(flag);
    return at == flags_.end() ? std::vector<std::string>{} : at->second;
}

base::Result<std::uint64_t> Arguments::number_or(std::string_view flag, std::uint64_t otherwise) const {
    const auto text = value(flag);
    if (!text) return otherwise;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size())
        return usage(std::string(flag) + " must be a whole number, but is '" + *text + "'.",
                     help_hint(*command_));
    return number;
}

base::Result<Invocation> parse_invocation(const std::vector<std::string>& words) {
    // Common flags before the command move behind it.
    std::vector<std::string> leading;
    std::size_t at = 0;
    for (; at < words.size() && words[at].starts_with("-"); ++at) {
        const auto name = words[at].substr(0, words[at].find('='));
        if (name == "-h" || name == "--help") return Invocation{};
        const auto flag = std::ranges::find(common_flags(), name, &Flag::name);
        if (name == "--version") return parse_invocation({"version"});
        if (flag == common_flags().end()) {
            if (std::ranges::find(kSecretFlags, name) != kSecretFlags.end()) return secret_on_command_line();
            return usage("There is no flag " + name + " before a command.", "See `claviger help`.");
        }
        leading.push_back(words[at]);
        if (!flag->value.empty() && !words[at].contains('=') && at + 1 < words.size())
            leading.push_back(words[++at]);
    }
    if (at == words.size()) return Invocation{};

    // The longest run of words that names a command: "session token create" before "session token".
    std::size_t used = 0;
    const Command* command = nullptr;
    std::string name;
    for (std::size_t count = 1; count <= 3 && at + count <= words.size(); ++count) {
        name += (count == 1 ? "" : " ") + words[at + count - 1];
        if (const Command* found = find_command(name)) command = found, used = count;
    }
    if (command == nullptr) {
        const auto& first = words[at];
        if (!is_group(first))
            return usage(looks_like_secret(first) ? "The first word is not a command."
                                                  : "'" + first + "' is not a command.",
                         "See `claviger help`.");
        if (at + 1 == words.size() || words[at + 1] == "--help" || words[at + 1] == "-h" ||
            words[at + 1] == "help")
            return Invocation{.command = nullptr, .topic = first, .arguments = {}};
        const auto group = is_group(first + " " + words[at + 1]) ? first + " " + words[at + 1] : first;
        return usage("`claviger " + first + "` has no command '" + words[at + 1] + "'.",
                     "See `claviger help " + group + "`.");
    }
    std::vector<std::string> rest(words.begin() + std::ptrdiff_t(at + used), words.end());
    rest.insert(rest.begin(), leading.begin(), leading.end());
    auto arguments = Arguments::parse(*command, rest);
    if (!arguments) return std::unexpected(std::move(arguments).error());
    if (arguments->has("--help"))
        return Invocation{.command = nullptr, .topic = std::string(command->name), .arguments = {}};
    return Invocation{.command = command, .topic = std::nullopt, .arguments = *std::move(arguments)};
}

}  // namespace claviger::admin::cli
