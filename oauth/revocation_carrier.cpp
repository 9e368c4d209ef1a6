#include "oauth/revocation_carrier.h"

#include "notify/event.h"
#include "oauth/discovery.h"
#include "oauth/exchange.h"
#include "oauth/grant_client.h"
#include "oauth/grant_notice.h"
#include "oauth/grant_server.h"
#include "oauth/json_document.h"
#include "oauth/token_request.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace claviger::oauth {
namespace {

using End = notify::Attempt::End;
using notify::Attempt;
using notify::Fate;

constexpr std::string_view kIncomplete = "grant.revocation_incomplete";
constexpr std::string_view kRefused = "grant.revocation_refused";
constexpr std::string_view kNoEndpoint = "grant.revocation_unknown_endpoint";
constexpr std::string_view kUnsupported = "grant.revocation_unsupported";

/// One request that revokes one token.
struct Call {
    std::string_view method = "POST";
    std::string url = {};  // HubSpot's has the token in it: wiped
    TokenRequest request;
    std::string_view accept = "application/json";

    Call(std::string_view m, std::string u, TokenRequest r)
        : method(m), url(std::move(u)), request(std::move(r)) {}
    Call(Call&&) = default;
    Call& operator=(Call&&) = delete;
    ~Call() { crypto::wipe(std::span<char>(url)); }
};

/// What a job is revoked with.
struct Means {
    const RevocationJob& job;
    ProviderProfile profile;
    std::string endpoint;
};

base::Result<TokenRequest> proven(RequestFields fields, const Means& means, BodyFormat format,
                                  base::Time now) {
    const auto& secret = means.job.parts.client_secret;
    const auto client = client_of(*means.job.credential.refresh, secret ? &*secret : nullptr, means.profile,
                                  means.job.grant.issuer);
    if (!client) return std::unexpected(client.error());
    return authenticated(std::move(fields), client->identity, format, now);
}

TokenRequest bare(crypto::Secret body, std::string_view content_type = "application/x-www-form-urlencoded") {
    return {.content_type = content_type, .body = std::move(body), .headers = {}};
}

crypto::Secret joined(std::string_view head, const crypto::Secret& tail) {
    return crypto::Secret::filled(head.size() + tail.size(), [&](std::span<std::byte> out) {
        std::ranges::copy(base::as_span(head), out.begin());
        tail.expose([&](std::span<const std::byte> bytes) {
            std::ranges::copy(bytes, out.begin() + static_cast<std::ptrdiff_t>(head.size()));
        });
    });
}

/// Basic with client id and secret, whatever the token endpoint wants: GitHub's API asks for it.
base::Result<TokenRequest> github_request(const Means& means, const crypto::Secret& token, base::Time now) {
    RequestFields fields;
    fields.add("access_token", token);
    ClientIdentity client{.client_id = means.job.credential.refresh->client_id,
                          .method = ClientAuthMethod::client_secret_basic,
                          .secret = means.job.parts.client_secret ? &*means.job.parts.client_secret : nullptr,
                          .basic_encoding = BasicEncoding::raw};
    return authenticated(std::move(fields), client, BodyFormat::json, now);
}

/// The URL with the token as its last segment. Nothing when the token has characters that URLs do not.
std::optional<std::string> with_segment(std::string_view endpoint, const crypto::Secret& token) {
    std::string url(endpoint);
    url.reserve(endpoint.size() + 1 + token.size());  // so that no copy of the token is left behind
    url += '/';
    const bool fits = token.expose([&](std::span<const std::byte> bytes) {
        const auto text = base::as_view(bytes);
        url += text;
        return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                   c == '_' || c == '.' || c == '~';
        });
    });
    if (fits) return url;
    crypto::wipe(std::span<char>(url));
    return std::nullopt;
}

/// The requests in their order; an error when one cannot be written.
base::Result<std::vector<Call>> calls_of(const Means& means, base::Time now) {
    const auto& parts = means.job.parts;
    std::vector<Call> calls;
    switch (means.profile.revocation) {
        case RevocationStyle::none:
            break;
        case RevocationStyle::rfc7009:
            for (const auto& [token, hint] : {std::pair{&parts.refresh_token, "refresh_token"},
                                              std::pair{&parts.token, "access_token"}}) {
                if (!*token) continue;
                auto request = proven(revocation(**token, hint), means, BodyFormat::form, now);
                if (!request) return std::unexpected(std::move(request).error());
                calls.emplace_back("POST", means.endpoint, std::move(*request));
            }
            break;
        case RevocationStyle::google: {  // either token ends the whole grant; no client is asked for
            RequestFields fields;
            fields.add("token", parts.refresh_token ? *parts.refresh_token : *parts.token);
            calls.emplace_back("POST", means.endpoint, bare(fields.form()));
            break;
        }
        case RevocationStyle::github: {
            auto request = github_request(means, *parts.token, now);
            if (!request) return std::unexpected(std::move(request).error());
            calls.emplace_back("DELETE",
                               means.endpoint + "/" + means.job.credential.refresh->client_id + "/token",
                               std::move(*request));
            calls.back().accept = "application/vnd.github+json";
            break;
        }
        case RevocationStyle::slack: {
            auto request = bare(crypto::Secret::copy_of(std::string_view()));
            request.headers.push_back({"Authorization", joined("Bearer ", *parts.token)});
            calls.emplace_back("POST", means.endpoint, std::move(request));
            break;
        }
        case RevocationStyle::hubspot: {
            auto url =
                parts.refresh_token ? with_segment(means.endpoint, *parts.refresh_token) : std::nullopt;
            if (!url)
                return base::failure(base::ErrorKind::invalid_request, kRefused,
                                     "The refresh token cannot be part of a URL.");
            calls.emplace_back("DELETE", std::move(*url), bare(crypto::Secret::copy_of(std::string_view())));
            crypto::wipe(std::span<char>(*url));
            break;
        }
    }
    return calls;
}

std::optional<std::chrono::seconds> retry_after(const ExchangeAnswer& answer) {
    const auto text = answer.header("Retry-After");
    std::uint32_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return std::chrono::seconds(seconds);
}

/// The server's error code, in a body like {"error":"…"}; Slack's too.
std::string error_of(const ExchangeAnswer& answer) {
    const auto body = parse_object(answer.body);
    return body ? string_in(*body, "error").value_or("") : std::string();
}

bool is_unknown_to_slack(std::string_view error) {
    constexpr std::array<std::string_view, 5> gone{"token_revoked", "token_expired", "invalid_auth",
                                                   "account_inactive", "not_authed"};
    return std::ranges::find(gone, error) != gone.end();
}

/// What the answer to one request means for the item.
Attempt meaning(const ExchangeAnswer& answer, RevocationStyle style) {
    Attempt attempt{.status = static_cast<std::uint16_t>(answer.status), .retry_after = retry_after(answer)};
    const auto as = [&](End end, std::string_view reason = {}) {
        attempt.end = end;
        attempt.reason = reason;
        return attempt;
    };
    if (answer.delivery == Delivery::not_sent || answer.delivery == Delivery::no_answer) {
        const bool hopeless =
            answer.error.code == "network.private_address" || answer.error.code == "upstream.request_invalid";
        return as(hopeless ? End::dropped : End::again, answer.error.code);
    }
    const auto error = error_of(answer);
    if (answer.status >= 200 && answer.status < 300) {
        if (style != RevocationStyle::slack || error.empty() || is_unknown_to_slack(error))
            return as(End::done);
        return as(error == "ratelimited" || error == "internal_error" ? End::again : End::dropped, kRefused);
    }
    if (answer.status == 429 || answer.status == 408 || answer.status >= 500)
        return as(End::again, "grant.transient");
    if (style == RevocationStyle::rfc7009 && error == "invalid_token") return as(End::done);  // it has ended
    if (style == RevocationStyle::rfc7009 && error == "unsupported_token_type")
        return as(End::dropped, kUnsupported);
    const bool gone = answer.status == 404 || (style == RevocationStyle::github && answer.status == 422);
    if (gone && (style == RevocationStyle::github || style == RevocationStyle::hubspot)) return as(End::done);
    if (style == RevocationStyle::google && error == "invalid_token") return as(End::done);
    return as(End::dropped, kRefused);
}

Attempt ended(End end, std::string_view reason) { return {.end = end, .reason = reason}; }

}  // namespace

net::awaitable<Attempt> RevocationCarrier::carry(vault::Ref<vault::OutboxItem> item) {
    const auto started = std::chrono::steady_clock::now();
    auto job = read_job(records_.keys(), *item);
    if (!job || !job->credential.refresh) co_return ended(End::dropped, kIncomplete);
    const auto& credential = job->credential;
    Means means{*job, filled_profile(providers_, credential, job->grant), job->grant.revocation_endpoint};
    if (means.profile.revocation == RevocationStyle::none) co_return ended(End::dropped, kNoEndpoint);
    if (means.endpoint.empty()) means.endpoint = means.profile.endpoints.revocation;
    if (means.endpoint.empty() && means.profile.revocation == RevocationStyle::rfc7009) {
        const Outbound out{.worker = worker_,
                           .pool = pool_,
                           .clock = records_.clock(),
                           .reach = [&](std::string_view url) { return reach_(credential, url); },
                           .plain_loopback = reach_(credential, credential.refresh->token_endpoint) ==
                                                     net::PrivateAddresses::allow
                                                 ? PlainLoopback::allow
                                                 : PlainLoopback::refuse};
        const auto server = co_await server_of(out, credential, job->grant);
        if (server) means.endpoint = server->revocation_endpoint;
    }
    if (means.endpoint.empty() || means.endpoint.find('{') != std::string::npos)
        co_return ended(End::dropped, kNoEndpoint);
    const auto calls = calls_of(means, records_.clock().now());
    if (!calls) co_return ended(End::dropped, kRefused);

    Attempt worst{.end = End::done};
    bool first = true;
    for (const auto& call : *calls) {
        const ExchangeRequest request{.method = call.method,
                                      .url = call.url,
                                      .payload = &call.request,
                                      .accept = call.accept,
                                      .partition = "revocation",
                                      .private_addresses = reach_(credential, means.endpoint),
                                      .timeout = timeout_};
        const auto answer = co_await exchange(worker_, pool_, records_.clock(), request);
        const auto attempt = meaning(answer, means.profile.revocation);
        // The grant ends with its refresh token, which comes first; servers need not know more (RFC 7009 2).
        const bool ended_before = !std::exchange(first, false) && worst.end == End::done;
        if (attempt.reason == kUnsupported && ended_before) continue;
        if (attempt.end != End::done || worst.end == End::done) worst = attempt;
        if (attempt.end == End::again) break;  // the whole item comes again; revoking twice does no harm
    }
    worst.took =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started);
    co_return worst;
}

base::Status RevocationCarrier::settle(vault::Change& change, const vault::OutboxItem& item,
                                       const Attempt& attempt, Fate fate) {
    const auto job = read_job(change.keys(), item);
    vault::LogEntry entry;
    entry.kind = vault::EntryKind::grant;
    entry.action = vault::Action::revoke;
    entry.verdict = fate == Fate::done ? vault::Verdict::allowed : vault::Verdict::denied;
    entry.reason = vault::reason_number(fate == Fate::given_up && attempt.end == End::again ? kIncomplete
                                                                                            : attempt.reason);
    entry.object = vault::ObjectKind::credential;
    entry.object_id = entry.credential = item.about;
    if (job) entry.vault = job->credential.vault.raw;
    entry.status = attempt.status;
    entry.duration_us = static_cast<std::uint64_t>(attempt.took.count());
    change.note(entry);
    if (fate == Fate::postponed || !job || !job->ends_grant) return {};

    const RevocationEnded event{fate == Fate::done               ? RevocationEnd::done
                                : attempt.reason == kUnsupported ? RevocationEnd::unsupported
                                                                 : RevocationEnd::given_up};
    const auto kept = change.catalog().find<vault::Credential>(job->credential.id);
    auto grant = kept ? grant_of(change.catalog(), *kept) : base::Result<StoredGrant>(job->grant);
    if (!kept && grant) grant->facts.state = GrantState::revoking;  // as it would say if it were there
    if (!grant) return {};
    const auto transition = apply(grant->facts, event, change.now());
    if (!transition.taken()) return {};
    if (auto told = post_notice(change, job->credential, transition); !told) return told;
    if (!kept) return {};
    grant->facts = transition.facts;
    return store_grant(change, *kept, *grant);
}

}  // namespace claviger::oauth
