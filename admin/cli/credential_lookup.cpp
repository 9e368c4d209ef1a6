#include "admin/cli/credential_lookup.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr Kind kCredentials{"credential", "", "vcrd_", "display_name"};

base::Result<std::vector<std::string>> vaults_to_search(Context& context) {
    if (const auto name = context.arguments.value("--vault")) return ids_of(context.api, kVaults, {*name});
    Query also_archived;
    also_archived.add("include_archived", "true");
    const auto all = list_objects(context.api, "/v1/vaults", also_archived, 0);
    if (!all) return std::unexpected(all.error());
    std::vector<std::string> ids;
    for (const auto& vault : all->at("data")) ids.push_back(vault.at("id").get<std::string>());
    return ids;
}

}  // namespace

std::string credentials_of(const std::string& vault) { return "/v1/vaults/" + vault + "/credentials"; }

base::Result<json> find_credential(Context& context) {
    const auto& wanted = context.arguments.operands()[0];
    const auto vaults = vaults_to_search(context);
    if (!vaults) return std::unexpected(vaults.error());
    Query filters;
    if (wanted.starts_with("vcrd_01")) filters.add("include_archived", "true");
    json candidates = json::array();
    for (const auto& vault : *vaults) {
        auto page = list_objects(context.api, credentials_of(vault), filters, 0);
        if (!page) return page;
        for (auto& each : (*page)["data"]) candidates.push_back(std::move(each));
    }
    return choose(candidates, kCredentials, wanted);
}

std::string path_of_credential(const json& credential) {
    return credentials_of(credential.at("vault_id").get<std::string>()) + "/" +
           credential.at("id").get<std::string>();
}

base::Result<std::string> path_of_credential(Context& context) {
    const auto found = find_credential(context);
    if (!found) return std::unexpected(found.error());
    return path_of_credential(*found);
}

}  // namespace claviger::admin::cli
