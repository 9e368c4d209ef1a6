#include "admin/api/stale_credentials.h"

#include "admin/api/beside.h"
#include "admin/api/shown.h"
#include "oauth/stored_grant.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using std::chrono::days;

constexpr std::size_t kVaultsAtOnce = 1'000, kCredentialsOfVault = 1'000;

/// What counts as stale, in whole days.
struct Limits {
    days unused{90}, unrotated{180}, expiring{14};
    std::size_t most = 100;
};

struct Finding {
    std::string_view code;  // "unused"
    std::optional<base::Time> since_or_at;
};

base::Result<days> read_days(const Query& query, std::string_view name, days otherwise) {
    const auto number = query.number(name);
    if (!number) return std::unexpected(number.error());
    if (*number && (**number < 1 || **number > 3'650))
        return base::failure(ErrorKind::invalid_request, "query.invalid",
                             std::string(name) + ": must be a number of days from 1 to 3650");
    return *number ? days(static_cast<int>(**number)) : otherwise;
}

base::Result<Limits> read_limits(const Query& query) {
    Limits limits;
    for (const auto& [name, limit] : {std::pair{"unused_days", &limits.unused},
                                      {"unrotated_days", &limits.unrotated},
                                      {"expiring_days", &limits.expiring}}) {
        const auto read = read_days(query, name, *limit);
        if (!read) return std::unexpected(read.error());
        *limit = *read;
    }
    const auto most = query.limit(limits.most, 1'000);
    if (!most) return std::unexpected(most.error());
    limits.most = *most;
    return limits;
}

void look_at_use(const Call& call, const vault::Credential& credential, const Limits& limits, base::Time now,
                 std::vector<Finding>& found) {
    const auto use = call.records.access_log().use_of(credential.id.raw);
    if (use.count == 0 && credential.created <= now - limits.unused)
        found.push_back({"never_used", credential.created});
    if (use.count != 0 && use.last <= now - limits.unused) found.push_back({"unused", use.last});
}

/// Values that somebody has to replace. Tokens of OAuth grants are renewed by themselves.
void look_at_age(const Call& call, const vault::Credential& credential, const Limits& limits, base::Time now,
                 std::vector<Finding>& found) {
    const auto rotation = call.catalog().find<vault::Rotation>(credential.id);
    if (rotation && rotation->rotate_by) {
        if (*rotation->rotate_by <= now)
            found.push_back({"rotation_overdue", rotation->rotate_by});
        else if (*rotation->rotate_by <= now + limits.expiring)
            found.push_back({"rotation_due", rotation->rotate_by});
    }
    if (rotation)
        if (const auto* staged = rotation->find(vault::ValueState::staged);
            staged != nullptr && staged->created <= now - days(1))
            found.push_back({"left_staged", staged->created});
    if (credential.type != vault::AuthType::mcp_oauth && credential.value_created <= now - limits.unrotated)
        found.push_back(
            {credential.version == 1 ? "never_rotated" : "not_rotated", credential.value_created});
}

void look_at_grant(const Call& call, const vault::Credential& credential, const Limits& limits,
                   base::Time now, std::vector<Finding>& found) {
    if (credential.type != vault::AuthType::mcp_oauth) return;
    if (const auto grant = oauth::grant_of(call.catalog(), credential);
        !grant || !oauth::serves_tokens(grant->facts.state, std::nullopt, now))
        found.push_back({"failing", std::nullopt});
    // What is renewed in time does not matter; what nobody can renew ends for good.
    if (oauth::can_refresh(credential) || !credential.expires) return;
    if (*credential.expires <= now)
        found.push_back({"expired", credential.expires});
    else if (*credential.expires <= now + limits.expiring)
        found.push_back({"expiring", credential.expires});
}

Json shown_stale(const vault::Vault& vault, const vault::Credential& credential,
                 const std::vector<Finding>& findings) {
    auto list = Json::array();
    for (const auto& finding : findings)
        list.push_back({{"code", finding.code}, {"at", shown(finding.since_or_at)}});
    return {{"type", "stale_credential"},
            {"credential_id", credential.id.text()},
            {"display_name", shown(credential.display_name)},
            {"vault_id", vault.id.text()},
            {"vault_name", vault.display_name},
            {"auth_type", vault::name_of(credential.type)},
            {"findings", std::move(list)}};
}

/// Goes through every active credential of the workspace; blocks for as long as that takes, a second or so
/// for a million.
Json report(const Call& call, const Limits& limits) {
    const auto now = call.records.clock().now();
    auto data = Json::array();
    std::uint64_t examined = 0, stale = 0;
    vault::PageQuery<vault::Vault> vaults{.scope = call.workspace().raw, .limit = kVaultsAtOnce};
    vaults.wanted = [](const vault::Vault& vault) { return !vault.archived; };
    for (bool more = true; more;) {
        auto page = call.catalog().page(vaults);
        more = page.size() > kVaultsAtOnce;
        if (more) page.pop_back();
        for (const auto& vault : page) {
            vaults.after = vault->created_seq;
            const auto credentials = call.catalog().page<vault::Credential>(
                {.scope = vault->id.raw, .limit = kCredentialsOfVault, .wanted = [](const auto& credential) {
                     return !credential.archived;
                 }});
            for (const auto& credential : credentials) {
                ++examined;
                std::vector<Finding> findings;
                look_at_grant(call, *credential, limits, now, findings);
                look_at_age(call, *credential, limits, now, findings);
                look_at_use(call, *credential, limits, now, findings);
                if (findings.empty()) continue;
                if (++stale <= limits.most) data.push_back(shown_stale(*vault, *credential, findings));
            }
        }
    }
    return {{"type", "stale_credentials"}, {"as_of", shown(now)},
            {"examined", examined},        {"stale", stale},
            {"data", std::move(data)},     {"has_more", stale > limits.most},
            {"next_page", nullptr}};
}

}  // namespace

net::awaitable<Answered> list_stale_credentials(Call& call) {
    const auto limits = read_limits(call.query);
    if (!limits) co_return std::unexpected(limits.error());
    co_return co_await beside<Answered>(call, [&] { return answer(report(call, *limits)); });
}

}  // namespace claviger::admin::api
