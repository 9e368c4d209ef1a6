#include "oauth/json_document.h"
#include "oauth/profile_forms.h"
#include "oauth/provider_profile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace claviger::oauth {
namespace {

using nlohmann::json;

/// Notes what does not fit together in a profile whose members are good one by one.
class Consistency {
public:
    Consistency(ProviderProfile& profile, const json& document, std::vector<ProfileProblem>& problems)
        : profile_(profile), document_(document), problems_(problems) {}

    void check() {
        endpoints();
        variables();
        values();
        response();
        for (const auto& [member, evidence] : profile_.evidence) {
            if (claim(member) == nullptr)
                fault("evidence." + member,
                      "must name a member that this file has, such as \"endpoints.token\"");
            if (evidence.status != EvidenceStatus::unverified && evidence.source.empty())
                fault("evidence." + member + ".source",
                      "is missing; it is needed unless status is \"unverified\"");
        }
    }

private:
    void fault(std::string member, std::string message) {
        problems_.push_back({std::move(member), std::move(message)});
    }

    bool has(GrantType grant) const {
        return std::ranges::find(profile_.grants, grant) != profile_.grants.end();
    }

    void need(const std::string& member, const std::string& value, const std::string& why) {
        if (value.empty()) fault(member, "is missing; it is needed because " + why);
    }

    void endpoints() {
        const auto& urls = profile_.endpoints;
        const auto from = profile_.endpoints_from;
        if (from == EndpointsFrom::issuer) need("issuer", profile_.issuer, "endpoints_from is \"issuer\"");
        if (from != EndpointsFrom::profile) return;
        const std::string why = "endpoints_from is \"profile\"";
        need("issuer", profile_.issuer, why);
        need("endpoints.token", urls.token, why);
        if (has(GrantType::authorization_code))
            need("endpoints.authorization", urls.authorization, "grants has \"authorization_code\"");
        if (has(GrantType::device_code))
            need("endpoints.device_authorization", urls.device_authorization, "grants has \"device_code\"");
        if (profile_.revocation != RevocationStyle::none)
            need("endpoints.revocation", urls.revocation, "revocation is not \"none\"");
    }

    void variables() {
        std::set<std::string, std::less<>> used;
        for (const auto* text : templates_of(profile_)) {
            const auto names = variables_in(*text).value_or(Words{});
            used.insert(names.begin(), names.end());
        }
        for (const auto& name : used)
            if (!profile_.variables.contains(name))
                fault("variables." + name, "is missing; a URL of this file has {" + name + "}");
        for (const auto& [name, variable] : profile_.variables) {
            if (!used.contains(name))
                fault("variables." + name, "is used by no URL of this file as {" + name + "}");
            if (variable.fallback.empty()) continue;
            if (auto wrong = variable_fault(variable.kind, variable.fallback); !wrong.empty())
                fault("variables." + name + ".default", std::move(wrong));
        }
        if (problems_.empty()) defaults();
    }

    /// A default may be good by itself and yet not where it stands: "a_b" in a host name.
    void defaults() {
        auto filled = profile_;
        for (auto& [name, variable] : filled.variables)
            if (variable.fallback.empty()) variable.fallback = "v";
        if (!with_variables(std::move(filled), {}))
            fault("variables", "have defaults that make no valid URL where they stand");
    }

    /// A value that is needed exactly when another member says so.
    void paired(bool asked, bool given, const std::string& member, const std::string& when) {
        if (asked && !given) fault(member, "is missing; it is needed because " + when);
        if (!asked && given) fault(member, "has no effect unless " + when);
    }

    void values() {
        paired(profile_.resource.use == ResourceUse::fixed, !profile_.resource.value.empty(),
               "resource.value", "resource.use is \"fixed\"");
        paired(profile_.refresh_token.reuse == RefreshTokenReuse::grace,
               profile_.refresh_token.grace.has_value(), "refresh_token.grace_seconds",
               "refresh_token.reuse is \"grace\"");
        if (profile_.templated_issuer && profile_.endpoints_from == EndpointsFrom::credential)
            fault("templated_issuer", "has no effect when endpoints_from is \"credential\"");
    }

    void response() {
        for (std::size_t i = 0; i < profile_.response.account.size(); ++i)
            if (!profile_.response.captured.contains(profile_.response.account[i]))
                fault("response.account." + std::to_string(i), "must be a name in response.captured");
        if (profile_.response.token_objects.empty())
            fault("response.token_objects", "must not be empty; \".\" is the whole response");
    }

    const json* claim(std::string_view member) const {
        if (member.starts_with("evidence") || member == ".") return nullptr;
        return at_path(document_, member);
    }

    ProviderProfile& profile_;
    const json& document_;
    std::vector<ProfileProblem>& problems_;
};

}  // namespace

void check_consistency(ProviderProfile& profile, const json& document,
                       std::vector<ProfileProblem>& problems) {
    Consistency(profile, document, problems).check();
}

}  // namespace claviger::oauth
