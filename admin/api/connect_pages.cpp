#include "admin/api/connect_pages.h"

#include "admin/api/authenticate.h"
#include "admin/api/connect_page.h"
#include "admin/api/query.h"
#include "base/log.h"
#include "net/wiping.h"
#include "oauth/connect_finish.h"
#include "oauth/connect_start.h"
#include "oauth/web_url.h"

#include <algorithm>
#include <utility>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

unsigned status_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::not_found:
            return 404;
        case ErrorKind::denied:
        case ErrorKind::unauthenticated:
            return 403;
        case ErrorKind::conflict:
            return 409;
        case ErrorKind::unavailable:
            return 503;
        case ErrorKind::invalid_request:
            return 400;
        case ErrorKind::corrupt:
        case ErrorKind::internal:
            return 500;
    }
    return 500;
}

Page failure(std::string title, const base::Error& error) {
    return {.status = status_of(error.kind),
            .mood = Mood::bad,
            .title = std::move(title),
            .paragraphs = {error.message, error.hint},
            .code = std::string(error.code)};
}

Page unknown_link() {
    return {.status = 404,
            .mood = Mood::bad,
            .title = "This link is not known",
            .paragraphs = {"It was mistyped, cut off, or taken away.",
                           "Ask whoever sent it to you for a new one."},
            .code = "connect.unknown_link"};
}

/// What is said of a link that leads nowhere any more.
Page closed_link(const vault::ConnectFlow& flow, std::string_view status) {
    if (status == "connected")
        return {.mood = Mood::good,
                .title = "Already connected",
                .paragraphs = {"This link has done its work and cannot be used again.",
                               "You can close this window."}};
    if (status == "expired")
        return {.status = 410,
                .mood = Mood::bad,
                .title = "This link has expired",
                .paragraphs = {"Nothing was connected with it.", "Ask whoever sent it to you for a new one."},
                .code = "connect.expired"};
    Page page{.status = 410,
              .mood = Mood::bad,
              .title = "This link cannot be used any more",
              .paragraphs = {"Ask whoever sent it to you for a new one."},
              .code = "connect.ended"};
    if (flow.problem) page.paragraphs.insert(page.paragraphs.begin(), flow.problem->message);
    return page;
}

std::string host_of(const std::string& url) {
    const auto parsed = oauth::parse_web_url(url);
    return parsed ? parsed->host : url;
}

std::string vault_name(const oauth::ConnectWorld& world, const vault::ConnectFlow& flow) {
    const auto vault = world.records.catalog().find<vault::Vault>(flow.vault);
    return vault ? vault->display_name : std::string();
}

/// Asks, before anything happens: whoever got a link from somebody else must see what it is for.
Page question(const oauth::ConnectWorld& world, const vault::ConnectFlow& flow, std::string_view link) {
    const auto profile = oauth::profile_of(world, flow.wish);
    const auto host = host_of(flow.wish.server_url);
    const bool known = profile && profile->name != "mcp" && profile->name != "generic";
    const auto who = known ? profile->title : host;
    Page page{.title = "Connect " + who,
              .paragraphs = {"You are asked to let agents work with your account at " + who +
                                 ". Next you sign in there and decide what they may do.",
                             "The access is stored sealed. Neither agents nor administrators ever get to see "
                             "it."},
              .facts = {{"Server", flow.wish.server_url}, {"Stored in", "vault " + vault_name(world, flow)}},
              .button = "Continue",
              .leads_to = std::string(link) + "/start"};
    if (flow.wish.credential) {
        page.title = "Connect " + who + " again";
        page.facts.emplace_back("Replaces", "the access that " + flow.wish.credential->text() + " has now");
    }
    if (!flow.wish.scopes.empty())
        page.facts.emplace_back("Asks for", oauth::join_scopes(flow.wish.scopes, ", "));
    if (flow.problem)
        page.paragraphs.push_back("The last try did not work: " + flow.problem->message + " " +
                                  flow.problem->hint);
    page.paragraphs.push_back("If you did not expect this, close the window: nothing has happened yet.");
    return page;
}

vault::Actor actor_of(const Visit& visit, const vault::ConnectFlow& flow) {
    return {.kind = vault::ActorKind::system,
            .id = {},
            .workspace = flow.workspace.raw,
            .source = source_bytes(visit.request.peer)};
}

bool over_tls(const oauth::ConnectWorld& world) { return world.own.public_url.starts_with("https:"); }

/// Links of one browser that are followed at the same time have a cookie each.
std::string cookie_name(const oauth::ConnectWorld& world, const base::ConnectLinkId& id) {
    return (over_tls(world) ? "__Host-claviger_connect_" : "claviger_connect_") +
           base::to_base58(id.raw).substr(0, 8);
}

std::string cookie_rules(const oauth::ConnectWorld& world, long seconds) {
    return "; Path=/; Max-Age=" + std::to_string(seconds) + "; HttpOnly; SameSite=Lax" +
           (over_tls(world) ? "; Secure" : "");
}

crypto::Secret cookie_of(const net::Request& request, const std::string& name) {
    for (std::size_t i = 0; i < request.headers.size(); ++i) {
        const auto field = request.headers.at(i);
        if (!net::equal_ignoring_case(field.name, "cookie")) continue;
        auto rest = field.value;
        while (!rest.empty()) {
            const auto end = std::min(rest.find(';'), rest.size());
            auto pair = rest.substr(0, end);
            while (pair.starts_with(' ')) pair.remove_prefix(1);
            if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
                return crypto::Secret::copy_of(pair.substr(name.size() + 1));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return crypto::Secret::copy_of(std::string_view());
}

/// The one parameter of that name, decoded; nothing when there is none, or more than one: a browser that was
/// sent back properly never brings two.
std::optional<std::string> parameter(std::string_view query, std::string_view name) {
    std::optional<std::string> found;
    while (!query.empty()) {
        const auto end = std::min(query.find('&'), query.size());
        const auto pair = query.substr(0, end);
        const auto equals = std::min(pair.find('='), pair.size());
        if (pair.substr(0, equals) == name) {
            if (found) return std::nullopt;
            found = percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
            if (!found) return std::nullopt;
        }
        query.remove_prefix(std::min(end + 1, query.size()));
    }
    return found;
}

/// A link from elsewhere must not set things going; our own page, or a typed address, may.
bool came_from_elsewhere(const net::Request& request) {
    const auto site = request.headers.find("Sec-Fetch-Site").value_or("");
    return site == "cross-site" || site == "same-site";
}

net::awaitable<net::Response> follow(const Visit& visit, const oauth::ConnectWorld& world,
                                     vault::Ref<vault::ConnectFlow> flow) {
    if (came_from_elsewhere(visit.request)) {
        const base::Error error{ErrorKind::denied, "connect.from_elsewhere",
                                "This step has to be taken from the page that the connect link shows.",
                                "Open the connect link itself."};
        co_return rendered(failure("This did not start here", error));
    }
    const auto out = oauth::outbound_of(world, visit.worker, visit.pool_of(visit.worker), *flow);
    auto departure = co_await oauth::depart(world, out, actor_of(visit, *flow), flow->id);
    if (!departure) co_return rendered(failure("The connection could not be started", departure.error()));

    net::Response response;
    response.status = 303;
    response.headers.add("location", departure->location);
    departure->cookie.expose([&](std::span<const std::byte> bytes) {
        auto cookie = cookie_name(world, flow->id) + "=";
        cookie.append(base::as_view(bytes)).append(cookie_rules(world, 600));
        response.headers.add("set-cookie", cookie);
        net::wipe_and_clear(cookie);
    });
    response.headers.add("cache-control", "no-store");
    response.headers.add("referrer-policy", "no-referrer");
    net::wipe_and_clear(departure->location);
    co_return response;
}

net::awaitable<net::Response> look_at_link(const Visit& visit, const oauth::ConnectWorld& world,
                                           std::string_view rest) {
    constexpr std::string_view kStart = "/start";
    const bool start = rest.ends_with(kStart);
    if (start) rest.remove_suffix(kStart.size());
    const auto flow = oauth::flow_by_link(world.records.catalog(), rest);
    if (!flow) co_return rendered(unknown_link());
    const auto now = world.records.clock().now();
    // A person who went back from the provider's page may go there once more.
    if (!oauth::is_open(*flow, now)) co_return rendered(closed_link(*flow, oauth::status_of(*flow, now)));
    if (start) co_return co_await follow(visit, world, flow);
    co_return rendered(question(world, *flow, rest));
}

Page done_page(const oauth::ConnectWorld& world, const vault::ConnectFlow& flow) {
    return {
        .mood = Mood::good,
        .title = "Connected",
        .paragraphs = {"Agents that use this vault can now work with " + host_of(flow.wish.server_url) + ".",
                       "You can close this window. To end the access later, tell whoever sent you the "
                       "link, or take it back at the provider."},
        .facts = {{"Server", flow.wish.server_url}, {"Stored in", "vault " + vault_name(world, flow)}}};
}

net::awaitable<net::Response> come_back(const Visit& visit, const oauth::ConnectWorld& world) {
    const auto query = visit.request.query();
    oauth::Arrival arrival;
    auto state = parameter(query, "state").value_or("");
    arrival.state = state;
    const auto flow = oauth::flow_of_arrival(world, state);
    std::string code_name = "code";
    std::string name;
    if (flow) {
        if (const auto profile = oauth::profile_of(world, flow->wish))
            code_name = profile->authorization.code_parameter;
        name = cookie_name(world, flow->id);
        arrival.cookie = cookie_of(visit.request, name);
    }
    if (auto code = parameter(query, code_name)) {
        arrival.code = crypto::Secret::copy_of(std::string_view(*code));
        net::wipe_and_clear(*code);
    }
    if (auto issuer = parameter(query, "iss")) {
        arrival.issuer = std::move(*issuer);
        arrival.has_issuer = true;
    }
    arrival.error = parameter(query, "error").value_or("");

    const auto out = flow ? oauth::outbound_of(world, visit.worker, visit.pool_of(visit.worker), *flow)
                          : oauth::Outbound{.worker = visit.worker,
                                            .pool = visit.pool_of(visit.worker),
                                            .clock = world.records.clock(),
                                            .reach = {}};
    const auto actor = flow ? actor_of(visit, *flow) : vault::Actor{};
    const auto finished = co_await oauth::arrive(world, out, actor, arrival);
    auto response = finished ? rendered(done_page(world, *flow))
                             : rendered(failure("Nothing was connected", finished.error()));
    const bool another_browser = !finished && finished.error().code == "connect.other_browser";
    if (flow && !another_browser) response.headers.add("set-cookie", name + "=" + cookie_rules(world, 0));
    co_return response;
}

net::Response metadata_document(const oauth::ConnectWorld& world) {
    if (world.own.document_url().empty()) {
        return rendered(
            {.status = 404,
             .mood = Mood::bad,
             .title = "There is no such page",
             .paragraphs = {"Claviger describes itself here only when admin.public_url is an https "
                            "address that others can reach."},
             .code = "request.not_found"});
    }
    net::Response response;
    response.headers.add("content-type", "application/json");
    response.headers.add("cache-control", "public, max-age=3600");
    response.headers.add("x-content-type-options", "nosniff");
    response.body = oauth::client_metadata_document(world.own);
    return response;
}

/// From "/connect/" or "/oauth/" on, whatever the page is mounted under.
std::string_view below(std::string_view path) {
    for (const std::string_view room : {"/connect/", "/oauth/"})
        if (const auto at = path.find(room); at != std::string_view::npos) return path.substr(at);
    return {};
}

}  // namespace

bool is_for_people(std::string_view path) {
    return path.find("/v1/") == std::string_view::npos && !below(path).empty();
}

net::awaitable<net::Response> visit(const Visit& visit) {
    if (visit.request.method != "GET") {
        auto response = rendered({.status = 405,
                                  .mood = Mood::bad,
                                  .title = "This page can only be looked at",
                                  .paragraphs = {"Open it in a browser."},
                                  .code = "request.method"});
        response.headers.add("allow", "GET");
        co_return response;
    }
    if (visit.world == nullptr)
        co_return rendered({.status = 503,
                            .mood = Mood::bad,
                            .title = "Claviger is sealed",
                            .paragraphs = {"It has to be unsealed by an operator first.", "Try again later."},
                            .code = "store.sealed"});
    const auto path = below(visit.request.path());
    constexpr std::string_view kConnect = "/connect/";
    if (path.starts_with(kConnect))
        co_return co_await look_at_link(visit, *visit.world, path.substr(kConnect.size()));
    if (path == "/oauth/callback") co_return co_await come_back(visit, *visit.world);
    if (path == "/oauth/client.json") co_return metadata_document(*visit.world);
    co_return rendered({.status = 404,
                        .mood = Mood::bad,
                        .title = "There is no such page",
                        .paragraphs = {"Check the address."},
                        .code = "request.not_found"});
}

}  // namespace claviger::admin::api
