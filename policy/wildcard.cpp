#include "policy/wildcard.h"

namespace claviger::policy {

// Each piece between stars is taken at its first place, which never spoils a later piece: no backtracking, so
// an agent cannot make a long argument expensive.
bool wildcard_matches(std::string_view pattern, std::string_view text) {
    const auto first_star = pattern.find('*');
    if (first_star == std::string_view::npos) return pattern == text;
    if (!text.starts_with(pattern.substr(0, first_star))) return false;
    text.remove_prefix(first_star);
    pattern.remove_prefix(first_star + 1);
    for (auto star = pattern.find('*'); star != std::string_view::npos; star = pattern.find('*')) {
        const auto piece = pattern.substr(0, star);
        const auto at = text.find(piece);
        if (at == std::string_view::npos) return false;
        text.remove_prefix(at + piece.size());
        pattern.remove_prefix(star + 1);
    }
    return text.ends_with(pattern);
}

}  // namespace claviger::policy
