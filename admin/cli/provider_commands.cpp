#include "admin/cli/objects.h"
#include "oauth/provider_catalog.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;
using oauth::ProviderCatalog;
using oauth::ProviderProfile;

base::Result<ProviderCatalog> catalog_of(const Context& context) {
    const auto folder = context.arguments.value("--folder");
    return folder ? ProviderCatalog::with_folder(*folder) : ProviderCatalog::built_in();
}

base::Result<const ProviderProfile*> find_in(const ProviderCatalog& catalog, const std::string& name) {
    if (const auto* profile = catalog.find(name)) return profile;
    std::string close;
    for (const auto& entry : catalog.list())
        if (entry.profile.name.contains(name) || name.contains(entry.profile.name))
            close += (close.empty() ? "" : ", ") + entry.profile.name;
    return base::failure(
        base::ErrorKind::not_found, "provider.not_found", "No provider profile is called '" + name + "'.",
        close.empty() ? "`claviger provider list` shows all of them." : "These come close: " + close + ".");
}

base::Status list(Context& context) {
    const auto catalog = catalog_of(context);
    if (!catalog) return std::unexpected(catalog.error());
    json page = {{"data", json::array()}};
    for (const auto& [profile, own] : catalog->list()) {
        json grants = json::array();
        for (const auto grant : profile.grants) grants.push_back(oauth::word_of(grant));
        page["data"].push_back({{"name", profile.name},
                                {"title", profile.title},
                                {"grants", std::move(grants)},
                                {"endpoints_from", oauth::word_of(profile.endpoints_from)},
                                {"server_urls", profile.server_urls},
                                {"source", own ? "folder" : "built in"}});
    }
    context.screen.list(page,
                        {{"NAME", "/name"},
                         {"TITLE", "/title"},
                         {"SOURCE", "/source"},
                         {"GRANTS", "/grants"},
                         {"SERVER URLS", "/server_urls"}},
                        "There are no provider profiles.");
    return {};
}

/// What the profile says beyond the defaults, member by member, with how sure that is.
void add_claims(const json& value, const json& defaults, const std::string& place,
                const ProviderProfile& profile, json& out) {
    if (value.is_object() && !value.empty()) {
        for (const auto& [name, inner] : value.items())
            add_claims(inner, defaults.is_object() && defaults.contains(name) ? defaults.at(name) : json(),
                       place.empty() ? name : place + "." + name, profile, out);
        return;
    }
    const auto evidence = oauth::evidence_for(profile, place);
    const bool stated = profile.evidence.contains(place);
    if (value == defaults && !stated) return;
    auto says = evidence.source;
    if (!evidence.note.empty()) says += (says.empty() ? "" : "; ") + evidence.note;
    out.push_back({{"member", place},
                   {"value", value},
                   {"evidence", oauth::word_of(evidence.status)},
                   {"says", std::move(says)}});
}

json claims_of(const ProviderProfile& profile) {
    auto document = to_json(profile);
    for (const auto* identity : {"format", "name", "title", "documentation", "notes", "evidence"})
        document.erase(identity);
    json claims = json::array();
    add_claims(document, to_json(ProviderProfile{}), "", profile, claims);
    return claims;
}

base::Status show(Context& context) {
    const auto catalog = catalog_of(context);
    if (!catalog) return std::unexpected(catalog.error());
    const auto profile = find_in(*catalog, context.arguments.operands()[0]);
    if (!profile) return std::unexpected(profile.error());
    if (context.screen.json()) {
        context.screen.document(to_json(**profile));
        return {};
    }
    context.screen.line((*profile)->name + ": " + (*profile)->title);
    if (!(*profile)->documentation.empty()) context.screen.line((*profile)->documentation);
    for (const auto& note : (*profile)->notes) context.screen.line("* " + note);
    context.screen.line("");
    context.screen.list(
        {{"data", claims_of(**profile)}},
        {{"MEMBER", "/member"}, {"VALUE", "/value"}, {"EVIDENCE", "/evidence"}, {"WHO SAYS SO", "/says"}},
        "This profile says nothing beyond the rules of MCP.");
    context.screen.line("\nEverything else follows the rules of MCP: `claviger provider show mcp`.");
    return {};
}

base::Status report(Context& context, const ProviderProfile& profile) {
    json unverified = json::array();
    for (const auto& claim : claims_of(profile))
        if (claim.at("evidence") == oauth::word_of(oauth::EvidenceStatus::unverified))
            unverified.push_back(claim.at("member"));
    std::string sentence = "The profile '" + profile.name + "' is good.";
    if (!unverified.empty())
        sentence +=
            "\nNot verified, and so worth a look when something fails: " + cell_text(unverified) + ".";
    context.screen.done({{"name", profile.name},
                         {"valid", true},
                         {"problems", json::array()},
                         {"unverified", std::move(unverified)}},
                        sentence);
    return {};
}

base::Status refusal(Context& context, const std::string& file,
                     const std::vector<oauth::ProfileProblem>& problems) {
    json listed = json::array();
    for (const auto& [member, message] : problems) {
        listed.push_back({{"member", member}, {"message", message}});
        if (!context.screen.json())
            context.screen.err() << file << ": " << (member.empty() ? "the file" : member) << " " << message
                                 << "\n";
    }
    const auto message = file + (problems.size() == 1 ? " has a problem and would not be loaded."
                                                      : " has " + std::to_string(problems.size()) +
                                                            " problems and would not be loaded.");
    const std::string hint = "docs/provider_profiles.md describes every member.";
    const json document = {{"type", "error"},
                           {"error",
                            {{"type", "provider.invalid"},
                             {"message", message},
                             {"hint", hint},
                             {"problems", std::move(listed)}}}};
    return base::failure(base::ErrorKind::invalid_request, "provider.invalid", message, hint,
                         document.dump(-1, ' ', false, json::error_handler_t::replace));
}

base::Status test(Context& context) {
    const auto& wanted = context.arguments.operands()[0];
    if (!wanted.contains('/') && !wanted.ends_with(".json")) {
        const auto catalog = catalog_of(context);
        if (!catalog) return std::unexpected(catalog.error());
        const auto profile = find_in(*catalog, wanted);
        return profile ? report(context, **profile) : std::unexpected(profile.error());
    }
    const std::filesystem::path file(wanted);
    const auto text = oauth::read_profile_file(file);
    if (!text) return std::unexpected(text.error());
    const auto name = file.stem().string();
    if (const auto problems = oauth::problems_in(*text, name); !problems.empty())
        return refusal(context, file.filename().string(), problems);
    return report(context, *oauth::parse_profile(*text, name));
}

}  // namespace

std::vector<Command> provider_commands() {
    const Flag folder{"--folder", "DIR", "also the profiles in this folder, which go before built-in ones"};
    const Flag as_json{"--json", "", "print JSON instead of text"};
    return {
        {"provider list",
         "List the OAuth providers that Claviger knows; needs no server.",
         {},
         {folder, as_json},
         "claviger provider list --folder /etc/claviger/providers",
         list,
         false},
        {"provider show",
         "Show what a provider profile says and how sure it is. With --json: as a file to start your own "
         "from.",
         {{"NAME", "name of the profile, such as github"}},
         {folder, as_json},
         "claviger provider show linear",
         show,
         false},
        {"provider test",
         "Read a profile file strictly and explain every problem; needs no server.",
         {{"FILE", "the file, or the name of a profile"}},
         {folder, as_json},
         "claviger provider test ./providers/acme.json",
         test,
         false},
    };
}

}  // namespace claviger::admin::cli
