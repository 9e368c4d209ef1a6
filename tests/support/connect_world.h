// A vault, a link for a scripted server, and the browser of the person who got it. For tests of connecting.
#pragma once

#include "base/bytes.h"
#include "oauth/connect_flow.h"
#include "oauth/stored_grant.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/oauth_scripted_server.h"
#include "tests/support/spec.h"

#include <functional>
#include <map>
#include <optional>
#include <string>

namespace claviger::test {

inline std::string path_of(const std::string& url) { return url.substr(url.find('/', url.find("//") + 2)); }

/// The browser of the person who got a link.
struct Browser {
    explicit Browser(ApiWorld& at) : world(at) {}

    ApiReply open(const std::string& target) {
        HeaderList headers;
        if (!cookie.empty()) headers.emplace_back("Cookie", "other=1; " + cookie);
        auto reply = world.raw("GET", target, "", headers);
        if (const auto set = reply.headers.find("set-cookie"); set != reply.headers.end())
            cookie = set->second.substr(0, set->second.find(';'));
        return reply;
    }
    /// Opens the link and its button; gives what the provider would be asked.
    std::map<std::string, std::string> leave(const std::string& url) {
        REQUIRE(open(path_of(url)).status == 200);
        const auto reply = open(path_of(url) + "/start");
        INFO(reply.text);
        REQUIRE(reply.status == 303);
        location = reply.headers.at("location");
        return form_fields(location.substr(location.find('?') + 1));
    }
    ApiReply come_back(const std::string& query) { return open("/oauth/callback?" + query); }

    ApiWorld& world;
    std::string cookie, location;
};

struct Connecting {
    explicit Connecting(json more = json::object()) : Connecting(net::PrivateAddresses::allow, more) {}
    Connecting(net::PrivateAddresses reach, json more) : world(reach) {
        vault = world.new_vault("Alice & <b>Bob</b>")["id"];
        link = make(std::move(more));
    }
    std::string links() const { return "/v1/vaults/" + vault + "/connect_links"; }
    json make(json more = json::object()) {
        json body{{"server_url", server.mcp_url()}};
        body.update(more);
        return world.post(links(), body);
    }
    json status() { return world.get(links() + "/" + link["id"].get<std::string>()); }
    /// The way to the provider and back, with a good answer.
    ApiReply connect(Browser& browser) {
        const auto asked = browser.leave(link["url"]);
        return browser.come_back("code=CANARY-code&state=" + asked.at("state") + "&iss=" + issuer());
    }
    std::string issuer() const { return "http%3A%2F%2F" + server.origin().substr(7); }
    json credential(const std::string& id) { return world.get("/v1/vaults/" + vault + "/credentials/" + id); }
    /// How often a code went out.
    std::size_t exchanges() {
        std::size_t found = 0;
        for (const auto& each : server.seen("/token"))
            found += form_fields(each.body)["grant_type"] == "authorization_code" ? 1 : 0;
        return found;
    }

    ScriptedServer server;
    ApiWorld world;
    std::string vault;
    json link;
};

inline oauth::StoredGrant grant_of(ApiWorld& world, const std::string& credential) {
    const auto found =
        world.records->catalog().find<vault::Credential>(*base::CredentialId::parse(credential));
    REQUIRE(found);
    const auto grant = oauth::grant_of(world.records->catalog(), *found);
    REQUIRE(grant);
    return *grant;
}

inline vault::SecretParts parts_of(ApiWorld& world, const std::string& credential) {
    const auto found =
        world.records->catalog().find<vault::Credential>(*base::CredentialId::parse(credential));
    REQUIRE(found);
    const auto sealed = world.records->sealed_secret(*found);
    REQUIRE(sealed);
    auto parts = world.records->open_parts(*sealed);
    REQUIRE(parts);
    return std::move(*parts);
}

inline std::string text_of(const std::optional<crypto::Secret>& secret) {
    if (!secret) return "(none)";
    return secret->expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// Changes the row of a flow, as nothing else would.
inline void change_flow(ApiWorld& world, const base::ConnectLinkId& id,
                        const std::function<void(vault::ConnectFlow&)>& with) {
    const auto stored = world.loop.await<base::Status>([&](net::Worker& worker) {
        return oauth::commit(worker, *world.records, {}, [&](vault::Change& change) {
            auto flow = *change.catalog().find<vault::ConnectFlow>(id);
            with(flow);
            change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link,
                        id.raw);
            return change.store(std::move(flow));
        });
    });
    REQUIRE(stored);
}

}  // namespace claviger::test
