#include "oauth/scopes.h"

#include <algorithm>

namespace claviger::oauth {
namespace {

bool contains(const Scopes& scopes, std::string_view name) {
    return std::find(scopes.begin(), scopes.end(), name) != scopes.end();
}

}  // namespace

Scopes split_scopes(std::string_view text, std::string_view separators) {
    Scopes scopes;
    while (!text.empty()) {
        const auto end = std::min(text.find_first_of(separators), text.size());
        const auto name = text.substr(0, end);
        if (!name.empty() && !contains(scopes, name)) scopes.emplace_back(name);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return scopes;
}

std::string join_scopes(const Scopes& scopes, std::string_view separator) {
    std::string text;
    for (const auto& name : scopes) {
        if (!text.empty()) text += separator;
        text += name;
    }
    return text;
}

Scopes united(const Scopes& held, const Scopes& added) {
    Scopes all;
    for (const auto* list : {&held, &added})
        for (const auto& name : *list)
            if (!contains(all, name)) all.push_back(name);
    return all;
}

bool contains_all(const Scopes& whole, const Scopes& part) {
    return std::all_of(part.begin(), part.end(), [&](const auto& name) { return contains(whole, name); });
}

}  // namespace claviger::oauth
