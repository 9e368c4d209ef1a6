#include "admin/api/environment_fields.h"

#include "admin/api/shown.h"
#include "policy/network_rules.h"
#include "policy/rule_check.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace claviger::admin::api {
namespace {

using base::ArgumentCondition;
using base::RuleEffect;
using vault::EnvironmentType;

constexpr std::size_t kHosts = 500, kBindings = 200, kRules = 200, kAgents = 100, kConditions = 32;
constexpr std::array<const char*, 6> kPackageManagers{"apt", "cargo", "gem", "go", "npm", "pip"};

void read_networking(Fields& in, base::NetworkRules& network) {
    if (!in.has_value("networking")) return;
    auto given = in.object("networking");
    const bool limited = given.word("type", {"unrestricted", "limited"}) == 1;
    if (!limited || !network.limited) network = {};
    network.limited = limited;
    if (!limited) return;
    network.allow_mcp_servers = given.flag("allow_mcp_servers", network.allow_mcp_servers);
    network.allow_package_managers = given.flag("allow_package_managers", network.allow_package_managers);
    if (!given.has_value("allowed_hosts")) return;
    network.allowed_hosts.clear();
    const auto hosts = given.texts("allowed_hosts", kHosts, {1, 255});
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        auto host = policy::normalise_allowed_host(hosts[i]);
        if (!host)
            given.refuse("allowed_hosts[" + std::to_string(i) + "]", host.error());
        else
            network.allowed_hosts.push_back(std::move(*host));
    }
}

void read_packages(Fields& in) {
    if (!in.has_value("packages")) return;
    auto packages = in.object("packages");
    packages.text_if_any("type", {1, 64});
    for (const auto* manager : kPackageManagers)
        packages.must_be_empty(manager, "Claviger installs no packages; leave the list empty");
}

void read_config(Fields& in, vault::Environment& environment, EnvironmentIs is) {
    if (!in.has_value("config")) return;
    auto config = in.object("config");
    const auto type = config.word("type", {"cloud", "self_hosted"}) == 0 ? EnvironmentType::cloud
                                                                         : EnvironmentType::self_hosted;
    if (is == EnvironmentIs::updated && type != environment.type)
        config.refuse("type", "cannot change; create another environment", "invalid_config_type_change");
    environment.type = type;
    if (type == EnvironmentType::self_hosted) return;
    read_networking(config, environment.network);
    read_packages(config);
}

ArgumentCondition read_condition(Fields& in) {
    ArgumentCondition condition;
    condition.pointer = in.text("argument", {0, 1024});
    using enum ArgumentCondition::Test;
    constexpr std::array<std::pair<const char*, ArgumentCondition::Test>, 3> tests{
        {{"equals", equals}, {"not_equals", not_equals}, {"matches", matches}}};
    int found = 0;
    for (const auto& [name, test] : tests) {
        if (!in.has(name)) continue;
        ++found;
        condition.test = test;
        condition.value = in.is_text(name) ? in.text(name, {0, 1024, Lines::many}) : in.raw(name);
    }
    if (found != 1) in.refuse("", "needs exactly one of equals, not_equals and matches");
    return condition;
}

base::ToolRule read_rule(Fields& in) {
    base::ToolRule rule;
    rule.name = in.text("name", {1, 255});
    constexpr std::array effects{RuleEffect::allow, RuleEffect::deny, RuleEffect::ask};
    rule.effect = effects[in.word("effect", {"allow", "deny", "ask"})];
    rule.server = in.text_if_any("server", {1, 255}).value_or("*");
    rule.tool = in.text_if_any("tool", {1, 128}).value_or("*");
    rule.agents = in.texts("agents", kAgents, {1, 64});
    for (auto& entry : in.objects("when", kConditions)) rule.when.push_back(read_condition(entry));
    return rule;
}

void read_bindings(Fields& in, std::vector<base::VaultId>& bindings) {
    if (!in.has_value("vault_bindings")) return;
    bindings.clear();
    const auto ids = in.texts("vault_bindings", kBindings, {1, 64});
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto place = "vault_bindings[" + std::to_string(i) + "]";
        const auto id = base::VaultId::parse(ids[i]);
        if (!id)
            in.refuse(place, "is not a vault id");
        else if (std::ranges::find(bindings, *id) != bindings.end())
            in.refuse(place, "names the same vault twice");
        else
            bindings.push_back(*id);
    }
}

Json shown_config(const vault::Environment& environment) {
    if (environment.type == EnvironmentType::self_hosted) return {{"type", "self_hosted"}};
    const auto& network = environment.network;
    Json packages{{"type", "packages"}};
    for (const auto* manager : kPackageManagers) packages[manager] = Json::array();
    Json networking{{"type", network.limited ? "limited" : "unrestricted"}};
    if (network.limited) {
        networking["allowed_hosts"] = network.allowed_hosts;
        networking["allow_mcp_servers"] = network.allow_mcp_servers;
        networking["allow_package_managers"] = network.allow_package_managers;
    }
    return {{"type", "cloud"}, {"networking", std::move(networking)}, {"packages", std::move(packages)}};
}

}  // namespace

void read_environment(Fields& in, vault::Environment& environment, EnvironmentIs is) {
    in.update("description", environment.description, {0, 2048, Lines::many});
    in.update_metadata("metadata", environment.metadata,
                       is == EnvironmentIs::made ? MetadataIs::whole : MetadataIs::patch_where_empty_deletes);
    if (in.has_value("scope")) {
        in.word("scope", {"organization"});
    }
    read_config(in, environment, is);
    read_bindings(in, environment.vault_bindings);
    if (in.has_value("tool_rules")) {
        environment.tool_rules.clear();
        for (auto& entry : in.objects("tool_rules", kRules))
            environment.tool_rules.push_back(read_rule(entry));
        if (const auto fine = policy::check_rules(environment.tool_rules); !fine)
            in.refuse("tool_rules", fine.error());
    }
}

base::Status check_references(const vault::Catalog& catalog, const vault::Environment& environment,
                              const std::vector<base::VaultId>& bound_before) {
    for (const auto& id : environment.vault_bindings) {
        if (std::ranges::find(bound_before, id) != bound_before.end()) continue;
        auto vault = find<vault::Vault>(catalog, environment.workspace, id.text());
        if (!vault) {
            vault.error().message = "vault_bindings: " + vault.error().message;
            return std::unexpected(std::move(vault).error());
        }
        if ((*vault)->archived)
            return base::failure(base::ErrorKind::invalid_request, "vault.archived",
                                 "vault_bindings: vault " + id.text() + " is archived");
    }
    for (const auto& rule : environment.tool_rules)
        for (const auto& agent : rule.agents)
            if (!find<vault::Agent>(catalog, environment.workspace, agent))
                return base::failure(base::ErrorKind::invalid_request, "tool_rule.invalid",
                                     "tool_rules: rule " + policy::in_quotes(rule.name) + " names agent " +
                                         agent + ", which does not exist, so it can never match");
    return {};
}

Json shown(const vault::Environment& environment) {
    auto bindings = Json::array();
    for (const auto& id : environment.vault_bindings) bindings.push_back(id.text());
    auto rules = Json::array();
    for (const auto& rule : environment.tool_rules) rules.push_back(shown(rule));
    return {{"id", environment.id.text()},
            {"type", "environment"},
            {"name", environment.name},
            {"description", shown(environment.description)},
            {"metadata", shown(environment.metadata)},
            {"scope", "organization"},
            {"config", shown_config(environment)},
            {"vault_bindings", std::move(bindings)},
            {"tool_rules", std::move(rules)},
            {"created_at", shown(environment.created)},
            {"updated_at", shown(environment.updated)},
            {"archived_at", shown(environment.archived)}};
}

}  // namespace claviger::admin::api
