#include "admin/api/validate.h"

#include "admin/api/credentials.h"
#include "admin/api/probe.h"
#include "admin/api/reach.h"
#include "admin/api/scrub.h"
#include "admin/api/shown.h"
#include "oauth/stored_grant.h"

#include <nlohmann/json.hpp>

#include <chrono>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;

/// Private addresses may be probed where calls may go to them: everywhere, or because an environment that
/// uses this vault names the host.
net::PrivateAddresses private_addresses(const Call& call, const vault::Credential& credential) {
    if (call.settings.private_upstreams == net::PrivateAddresses::allow) return net::PrivateAddresses::allow;
    return reach_of(call.catalog(), credential, credential.mcp_server_url);
}

vault::LogEntry entry_of(const Call& call, const vault::Credential& credential) {
    vault::LogEntry entry;
    entry.kind = vault::EntryKind::use_intent;
    entry.action = vault::Action::validate;
    entry.verdict = vault::Verdict::allowed;
    entry.actor = call.actor.kind;
    entry.actor_id = call.actor.id;
    entry.workspace = call.workspace().raw;
    entry.vault = credential.vault.raw;
    entry.credential = credential.id.raw;
    entry.credential_version = credential.version;
    entry.method = call.records.access_log().fingerprint("method", Probe::kFirstMethod);
    entry.source = call.actor.source;
    return entry;
}

net::awaitable<base::Result<std::uint64_t>> note(Call& call, const vault::LogEntry& entry) {
    const std::array<vault::NamedFingerprint, 3> names{{{entry.method, Probe::kFirstMethod}, {}, {}}};
    co_return co_await net::await_callback<base::Result<std::uint64_t>>(
        call.worker,
        [&](vault::Appended appended) { call.records.ledger().append(entry, names, std::move(appended)); });
}

struct Verdict {
    std::string_view status;
    Json refresh = nullptr;
};

/// What the authorization server said, and what it means for the credential (managed agents API, 3.7).
Verdict verdict_of(const oauth::RefreshReport& report, const vault::SecretParts& secrets) {
    if (report.sent && report.kind == oauth::AnswerClass::success)
        return {"unknown", {{"status", "succeeded"}, {"http_response", nullptr}}};
    if (!report.body) return {"unknown", {{"status", "connect_error"}, {"http_response", nullptr}}};
    const bool final =
        report.status >= 400 && report.status < 500 && report.status != 408 && report.status != 429;
    auto shown = report.body->expose([&](std::span<const std::byte> body) {
        return shown_body(std::string(base::as_view(body)), secrets);
    });
    return {final || report.kind == oauth::AnswerClass::grant_dead ? "invalid" : "unknown",
            {{"status", "failed"},
             {"http_response",
              {{"status_code", report.status},
               {"content_type", scrubbed(report.content_type.substr(0, 200), secrets)},
               {"body", std::move(shown.text)},
               {"body_truncated", shown.truncated}}}}};
}

Json shown(const Call& call, const vault::Credential& credential, base::Time at, const Probe& probe,
           Verdict verdict) {
    return {{"type", "vault_credential_validation"},
            {"credential_id", credential.id.text()},
            {"vault_id", call.ids[0]},
            {"validated_at", admin::api::shown(at)},
            {"has_refresh_token", oauth::can_refresh(credential)},
            {"status", verdict.status},
            {"mcp_probe", admin::api::shown(probe)},
            {"refresh", std::move(verdict.refresh)}};
}

}  // namespace

std::string_view status_of(Probe::Verdict verdict) {
    using enum Probe::Verdict;
    return verdict == valid ? "valid" : verdict == unknown ? "unknown" : "invalid";
}

Json shown(const Probe& probe) {
    if (probe.verdict == Probe::Verdict::valid) return nullptr;
    Json response = nullptr;
    if (probe.answer)
        response = {{"status_code", probe.answer->status},
                    {"content_type", probe.answer->content_type},
                    {"body", probe.answer->body},
                    {"body_truncated", probe.answer->body_truncated}};
    return {{"method", probe.method}, {"http_response", std::move(response)}};
}

net::awaitable<base::Result<Probe>> probe_on_record(Call& call, const vault::Credential& credential) {
    const auto started = std::chrono::steady_clock::now();
    // Before the wait for the disk: a rotation meanwhile takes this version's rows away.
    const auto sealed = call.records.sealed_secret(credential);
    if (!sealed) co_return std::unexpected(sealed.error());
    auto entry = entry_of(call, credential);
    const auto position = co_await note(call, entry);  // what cannot be noted does not happen
    if (!position) co_return std::unexpected(position.error());

    Probe done;
    {
        const auto secrets = call.records.open_parts(*sealed);
        if (!secrets) co_return std::unexpected(secrets.error());
        done = co_await probe(call, credential, *secrets, private_addresses(call, credential));
    }
    entry.kind = vault::EntryKind::use_outcome;
    entry.intent = *position + 1;
    entry.reason = vault::reason_number(done.failure);
    entry.status = done.answer ? static_cast<std::uint16_t>(done.answer->status) : 0;
    entry.response_bytes = done.response_bytes;
    entry.duration_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started)
            .count());
    call.records.ledger().append(entry, {}, nullptr);
    co_return done;
}

net::awaitable<Answered> validate_credential(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    auto found = find_credential(call, call.catalog());
    if (!found) co_return std::unexpected(found.error());
    auto credential = *found;
    if (credential->type != vault::AuthType::mcp_oauth)
        co_return base::failure(ErrorKind::invalid_request, "credential.not_oauth",
                                "Credential " + call.ids[1] + " is of type " +
                                    std::string(vault::name_of(credential->type)) +
                                    "; only mcp_oauth credentials can be validated.");
    if (credential->archived)
        co_return base::failure(ErrorKind::invalid_request, "credential.archived",
                                "Credential " + call.ids[1] + " is archived and holds no secret any more.");
    if (const auto grant = oauth::grant_of(call.catalog(), *credential);
        grant && grant->facts.state == oauth::GrantState::suspended)
        co_return base::failure(ErrorKind::conflict, "grant.suspended",
                                "Credential " + call.ids[1] + " is on hold, so its token goes nowhere.",
                                "Resume it first.");
    const auto at = call.records.clock().now();
    auto done = co_await probe_on_record(call, *credential);
    if (!done) co_return std::unexpected(std::move(done).error());
    Verdict verdict{status_of(done->verdict)};
    if (done->verdict != Probe::Verdict::refused)
        co_return answer(shown(call, *credential, at, *done, std::move(verdict)));
    if (!oauth::can_refresh(*credential)) {
        verdict.refresh = {{"status", "no_refresh_token"}, {"http_response", nullptr}};
        if (call.grants != nullptr)  // what comes of it stands in the grant
            co_await call.grants->refused_again(call.worker, credential->id, credential->version);
    } else if (call.grants != nullptr) {
        const auto report = co_await call.grants->force(call.worker, credential->id);
        const auto current = call.records.current_secret(credential->id);
        if (!current) co_return std::unexpected(current.error());
        credential = current->credential;
        const auto secrets = call.records.open_parts(current->sealed);
        if (!secrets) co_return std::unexpected(secrets.error());
        verdict = verdict_of(report, *secrets);
        if (verdict.refresh["status"] == "succeeded") {  // the new token has to prove itself
            done = co_await probe_on_record(call, *credential);
            if (!done) co_return std::unexpected(std::move(done).error());
            verdict.status = status_of(done->verdict);
            if (done->verdict == Probe::Verdict::refused)
                co_await call.grants->refused_again(call.worker, credential->id, credential->version);
        }
    }
    co_return answer(shown(call, *credential, at, *done, std::move(verdict)));
}

}  // namespace claviger::admin::api
