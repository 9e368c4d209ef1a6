#include "oauth/provider_profile.h"

#include "oauth/profile_forms.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

const json* step(const json& from, std::string_view name) {
    if (from.is_object()) {
        const auto found = from.find(name);
        return found == from.end() ? nullptr : &*found;
    }
    if (!from.is_array() || name.empty()) return nullptr;
    std::size_t place = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), place);
    if (error != std::errc{} || end != name.data() + name.size() || place >= from.size()) return nullptr;
    return &from[place];
}

base::Status check_values(const ProviderProfile& profile, const WordMap& values) {
    for (const auto& [name, value] : values) {
        const auto variable = profile.variables.find(name);
        if (variable == profile.variables.end())
            return base::failure(ErrorKind::invalid_request, "provider.variable_unknown",
                                 "Provider '" + profile.name + "' has no variable of that name.",
                                 "`claviger provider show " + profile.name + "` lists its variables.");
        if (const auto fault = variable_fault(variable->second.kind, value); !fault.empty())
            return base::failure(
                ErrorKind::invalid_request, "provider.variable_invalid",
                "The variable '" + name + "' of provider '" + profile.name + "' " + fault + ".",
                variable->second.description);
    }
    return {};
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

}  // namespace

base::Result<ProviderProfile> with_variables(ProviderProfile profile, const WordMap& values) {
    if (auto good = check_values(profile, values); !good) return std::unexpected(std::move(good).error());
    for (const auto& [name, variable] : profile.variables) {
        const auto given = values.find(name);
        const auto& value = given != values.end() ? given->second : variable.fallback;
        if (value.empty())
            return base::failure(ErrorKind::invalid_request, "provider.variable_missing",
                                 "Provider '" + profile.name + "' needs the variable '" + name + "'.",
                                 variable.description);
        for (auto* text : templates_of(profile)) replace_all(*text, "{" + name + "}", value);
    }
    profile.variables.clear();
    for (const auto* text : templates_of(profile))
        if (!text->empty() && !fault_of(TextForm::url, *text).empty())
            return base::failure(ErrorKind::invalid_request, "provider.variable_invalid",
                                 "The variables given for provider '" + profile.name + "' make no valid URL.",
                                 "Names of hosts are lower case letters, digits, '-' and dots.");
    return profile;
}

std::vector<std::string*> templates_of(ProviderProfile& profile) {
    auto& urls = profile.endpoints;
    return {&profile.issuer,  &urls.authorization,        &urls.token,         &urls.refresh,
            &urls.revocation, &urls.device_authorization, &urls.introspection, &profile.resource.value};
}

std::vector<TokenShape> token_shapes(const ResponseRule& rule) {
    std::vector<TokenShape> shapes;
    for (const auto& object : rule.token_objects) {
        shapes.push_back(rule.shape);
        if (object != ".") shapes.back().nested = object;
    }
    return shapes;
}

const json* at_path(const json& document, std::string_view path) {
    const json* at = &document;
    while (at != nullptr) {
        const auto dot = path.find('.');
        at = step(*at, path.substr(0, dot));
        if (dot == std::string_view::npos) return at;
        path.remove_prefix(dot + 1);
    }
    return nullptr;
}

bool rejects_token(const UpstreamRule& rule, std::uint32_t status, const json& body) {
    return std::ranges::any_of(rule.rejections, [&](const TokenRejection& rejection) {
        if (rejection.status != 0 && rejection.status != status) return false;
        const auto* found = at_path(body, rejection.path);
        return found != nullptr && found->is_string() &&
               std::ranges::find(rejection.values, found->get_ref<const std::string&>()) !=
                   rejection.values.end();
    });
}

ProfileEvidence evidence_for(const ProviderProfile& profile, std::string_view member) {
    for (;;) {
        if (const auto found = profile.evidence.find(member); found != profile.evidence.end())
            return found->second;
        const auto dot = member.rfind('.');
        if (dot == std::string_view::npos) return {};
        member = member.substr(0, dot);
    }
}

}  // namespace claviger::oauth
