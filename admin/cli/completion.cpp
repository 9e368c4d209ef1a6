#include "admin/cli/completion.h"

#include "admin/cli/command.h"

#include <set>
#include <vector>

namespace claviger::admin::cli {
namespace {

/// Every word that may follow "vault", "session token" and so on; the empty prefix has the first words.
std::set<std::string> words_after(std::string_view prefix) {
    std::set<std::string> words;
    for (const auto& command : commands()) {
        auto name = command.name;
        if (!prefix.empty()) {
            if (!name.starts_with(std::string(prefix) + " ")) continue;
            name.remove_prefix(prefix.size() + 1);
        }
        words.emplace(name.substr(0, name.find(' ')));
    }
    return words;
}

/// All beginnings of commands that further words may follow.
std::set<std::string> prefixes() {
    std::set<std::string> all = {""};
    for (const auto& command : commands())
        for (auto at = command.name.find(' '); at != std::string_view::npos;
             at = command.name.find(' ', at + 1))
            all.emplace(command.name.substr(0, at));
    return all;
}

std::string joined(const std::set<std::string>& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}

std::string flags_of(const Command& command) {
    std::set<std::string> flags;
    for (const auto& flag : command.flags) flags.emplace(flag.name);
    if (command.takes_common_flags)
        for (const auto& flag : common_flags()) flags.emplace(flag.name);
    return joined(flags);
}

/// Bash; zsh reads the same through bashcompinit.
std::string bash_script() {
    std::string out =
        "# Completion of claviger. Load with: source <(claviger completion bash)\n"
        "_claviger() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} name='' choices='' i\n"
        "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "    [[ ${COMP_WORDS[i]} == -* ]] && break\n"
        "    name+=\"${name:+ }${COMP_WORDS[i]}\"\n"
        "  done\n"
        "  case $name in\n";
    for (const auto& prefix : prefixes())
        if (find_command(prefix) == nullptr)
            out += "    '" + prefix + "') choices='" + joined(words_after(prefix)) + "' ;;\n";
    for (const auto& command : commands()) {
        const std::string name(command.name);
        const auto further = words_after(name);
        out += "    '" + name + "'" + (further.empty() ? "*" : "") + ") choices='" + flags_of(command) +
               (further.empty() ? "" : " " + joined(further)) + "' ;;\n";
    }
    out +=
        "  esac\n"
        "  if [[ ${COMP_WORDS[COMP_CWORD-1]} == --*file || ${COMP_WORDS[COMP_CWORD-1]} == --config ]]; then\n"
        "    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
        "  else\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$choices\" -- \"$word\")\n"
        "  fi\n"
        "}\n"
        "complete -o default -F _claviger claviger\n";
    return out;
}

std::string zsh_script() {
    auto script = bash_script();
    script.replace(
        0, script.find('\n') + 1,
        "#compdef claviger\n# Completion of claviger. Load with: source <(claviger completion zsh)\n"
        "autoload -U +X bashcompinit && bashcompinit\n");
    // zsh has no mapfile; words hold no spaces, so plain splitting does.
    for (const std::string_view kind : {"-f --", "-W \"$choices\" --"}) {
        const auto call = "compgen " + std::string(kind) + " \"$word\"";
        const auto from = "mapfile -t COMPREPLY < <(" + call + ")";
        if (const auto at = script.find(from); at != std::string::npos)
            script.replace(at, from.size(), "COMPREPLY=($(" + call + "))");
    }
    return script;
}

std::string shell_quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
    return out + "'";
}

std::string fish_script() {
    std::string out =
        "# Completion of claviger. Load with: claviger completion fish | source\n"
        "function __claviger_is\n"
        "  set -l words (commandline -opc)\n"
        "  set -l name\n"
        "  for word in $words[2..-1]\n"
        "    string match -q -- '-*' $word; and break\n"
        "    set -a name $word\n"
        "  end\n"
        "  test \"$name\" = \"$argv[1]\"; or test \"$argv[2]\" = flags -a \"$name\" != \"\" -a \\\n"
        "    (string sub -l (string length -- \"$argv[1]\") -- \"$name\") = \"$argv[1]\"\n"
        "end\n"
        "complete -c claviger -f\n";
    for (const auto& prefix : prefixes())
        for (const auto& word : words_after(prefix)) {
            const auto* command = find_command(prefix.empty() ? word : prefix + " " + word);
            out += "complete -c claviger -n \"__claviger_is '" + prefix + "'\" -a " + word +
                   (command != nullptr ? " -d " + shell_quoted(command->purpose) : "") + "\n";
        }
    for (const auto& command : commands())
        for (const auto& flag : command.flags)
            out += "complete -c claviger -n \"__claviger_is '" + std::string(command.name) + "' flags\" -l " +
                   std::string(flag.name.substr(2)) + (flag.value.empty() ? "" : " -r") +
                   (flag.name.ends_with("file") ? " -F" : "") + " -d " + shell_quoted(flag.help) + "\n";
    for (const auto& flag : common_flags())
        out += "complete -c claviger -l " + std::string(flag.name.substr(2)) +
               (flag.value.empty() ? "" : " -r") + (flag.name.ends_with("file") ? " -F" : "") + " -d " +
               shell_quoted(flag.help) + "\n";
    return out;
}

}  // namespace

std::optional<std::string> completion_script(std::string_view shell) {
    if (shell == "bash") return bash_script();
    if (shell == "zsh") return zsh_script();
    if (shell == "fish") return fish_script();
    return std::nullopt;
}

}  // namespace claviger::admin::cli
