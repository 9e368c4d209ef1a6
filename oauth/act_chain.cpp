#include "oauth/act_chain.h"

#include "base/bytes.h"
#include "oauth/jose.h"
#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::oauth {
namespace {

std::string shown_name(std::string name) {
    if (name.empty()) return "?";
    if (name.size() > kLongestActorName) name.resize(kLongestActorName);
    std::ranges::replace_if(name, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
    return name;
}

const nlohmann::json* actor_in(const nlohmann::json& claims) {
    const auto found = claims.find("act");
    return found != claims.end() && found->is_object() ? &*found : nullptr;
}

}  // namespace

std::vector<std::string> act_chain_of(const crypto::Secret& access_token) {
    std::vector<std::string> chain;
    const auto claims = access_token.expose(
        [](std::span<const std::byte> bytes) { return unverified_claims(base::as_view(bytes)); });
    if (!claims) return chain;
    for (const auto* actor = actor_in(*claims); actor != nullptr && chain.size() < kMostActors;
         actor = actor_in(*actor))
        chain.push_back(shown_name(string_in(*actor, "sub").value_or("")));
    return chain;
}

}  // namespace claviger::oauth
