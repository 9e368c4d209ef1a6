#include "oauth/connect_finish.h"

#include "base/bytes.h"
#include "base/log.h"
#include "oauth/client_users.h"
#include "oauth/connect_journal.h"
#include "oauth/connect_store.h"
#include "oauth/device_authorization.h"
#include "oauth/grant_client.h"
#include "oauth/identity.h"
#include "oauth/pkce.h"
#include "oauth/refresh_attempt.h"
#include "oauth/token_call.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;
using vault::ConnectState;

constexpr std::string_view kStartAgain = "Ask whoever sent you the link for a new one, and start again.";

std::unexpected<base::Error> ended() {
    return base::failure(ErrorKind::conflict, "connect.ended",
                         "This way back was used already, or it took too long.", std::string(kStartAgain));
}

/// Names of errors are the provider's; ours are made of harmless characters only.
std::string harmless(std::string_view code) {
    std::string out;
    for (const char c : code.substr(0, 64))
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') out += c;
    return out;
}

/// The error that ends this flow, and the word for it in the log.
struct End {
    base::Error error;
    std::string_view reason;
};

End end_of(ErrorKind kind, std::string_view code, std::string message, std::string hint,
           std::string detail = {}) {
    return {{kind, code, std::move(message), std::move(hint), std::move(detail)}, code};
}

/// RFC 9207, byte by byte; of an issuer for many tenants any of them. An error of somebody else is not even
/// shown.
std::optional<End> check_issuer(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                                const Arrival& arrival) {
    if (arrival.has_issuer && arrival.issuer != terms.issuer &&
        !(leaves_tenant_open(profile, terms.issuer) && tenant_of(terms.issuer, arrival.issuer)))
        return end_of(ErrorKind::denied, "connect.wrong_issuer",
                      "The answer came from another authorization server than the one you were sent to.",
                      "Somebody may be trying to mix up two servers. Tell whoever runs this Claviger.");
    if (!arrival.has_issuer && terms.names_issuer)
        return end_of(ErrorKind::denied, "connect.no_issuer",
                      "The answer does not say which authorization server it comes from, though that server "
                      "always says so.",
                      "Somebody may be trying to mix up two servers. Tell whoever runs this Claviger.");
    return std::nullopt;
}

std::optional<End> check_error(const Arrival& arrival) {
    if (arrival.error.empty()) return std::nullopt;
    if (arrival.error == "access_denied")
        return end_of(ErrorKind::denied, "connect.denied", "Access was denied at the provider.",
                      "Nothing was connected. " + std::string(kStartAgain));
    return end_of(ErrorKind::invalid_request, "connect.refused",
                  "The provider refused: " + harmless(arrival.error) + ".",
                  arrival.error == "invalid_scope" ? "Ask for other scopes."
                                                   : "Check the client and the scopes, then start again.");
}

/// Closes the flow with it and gives the error back.
awaitable<std::unexpected<base::Error>> end(const ConnectWorld& world, net::Worker& worker,
                                            const vault::Actor& actor, base::ConnectLinkId id,
                                            StillThere still_there, End with) {
    if (with.error.kind == ErrorKind::unavailable || with.error.kind == ErrorKind::internal ||
        with.error.kind == ErrorKind::corrupt)
        base::log_error("connect.failed", with.error);
    else  // somebody's decision, or a setting: no fault of this machine
        base::log(base::LogLevel::info, "connect.failed",
                  {{"connect_link", id.text()}, {"code", with.error.code}, {"detail", with.error.detail}});
    const auto closed = co_await close_flow(world, worker, actor, id, std::move(still_there),
                                            problem_of(with.error), with.reason);
    if (!closed) base::log_error("connect.not_closed", closed.error());
    co_return std::unexpected(std::move(with.error));
}

/// The token endpoint is being asked, or has answered, for this flow.
bool being_answered(const vault::ConnectFlow& flow) {
    return flow.state == ConnectState::exchanging || (flow.state == ConnectState::started && flow.device);
}

/// From here on this code belongs to us; whoever comes second finds the flow exchanging.
base::Status consume(vault::Change& change, const base::ConnectLinkId& id, const crypto::Digest& state,
                     const Arrival& arrival) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || found->state != ConnectState::started || found->state_digest != state ||
        !is_open(*found, change.now()))
        return ended();
    auto flow = *found;
    flow.state = ConnectState::exchanging;
    if (arrival.has_issuer && arrival.issuer != flow.terms->issuer) flow.terms->answered_by = arrival.issuer;
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

/// ID tokens answer to the state that went out (OpenID Connect Core 3.1.2.1).
std::optional<std::string> nonce_of(const vault::ConnectFlow& flow) {
    if (flow.device || !contains_all(flow.terms->scopes, {"openid"})) return std::nullopt;
    return base::to_hex(crypto::view(flow.state_digest));
}

struct Sent {
    ExchangeAnswer answer;
    Proofs proofs;
    Kept kept = Kept::nowhere;
};

/// The code goes out.
awaitable<base::Result<Sent>> send_code(const ConnectWorld& world, const Outbound& out,
                                        const vault::ConnectFlow& flow, const crypto::Secret& code) {
    const auto profile = profile_of(world, flow.wish);
    if (!profile) co_return std::unexpected(profile.error());
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) co_return std::unexpected(std::move(secrets).error());
    if (!secrets->verifier) co_return ended();
    const auto& terms = *flow.terms;
    auto block = refresh_block(flow.wish, terms, *profile);
    block.token_endpoint = terms.token_endpoint;
    Wanted wanted;
    if (!terms.resource.empty()) wanted.resources = {terms.resource};
    const crypto::Secret none = crypto::Secret::copy_of(std::string_view());
    const bool with_pkce = profile->authorization.pkce == PkceUse::s256;
    auto proofs = proofs_of(*secrets);
    if (!proofs) co_return std::unexpected(std::move(proofs).error());
    Sent sent{.answer = {}, .proofs = std::move(*proofs)};
    const auto client = client_of(block, sent.proofs.client_secret ? &*sent.proofs.client_secret : nullptr,
                                  *profile, terms.issuer);
    if (!client) co_return std::unexpected(client.error());
    const auto journal = journal_of(world, out.worker, flow, sent.kept);
    const TokenCall call{.url = terms.token_endpoint,
                         .profile = *profile,
                         .key = sent.proofs.key,
                         .make =
                             [&] {
                                 return token_request(
                                     authorization_code_grant(code, terms.redirect_uri,
                                                              with_pkce ? *secrets->verifier : none, wanted),
                                     *client, *profile, out.clock.now());
                             },
                         .journal = &journal};
    auto answer = co_await call_token_endpoint(out, call);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    sent.answer = std::move(*answer);
    co_return std::move(sent);
}

End end_without_tokens(const Classification& said, const vault::ConnectTerms& terms) {
    auto detail = said.code + " " + said.sub_code + " " + said.description;
    switch (said.kind) {
        case AnswerClass::client_dead:
            return end_of(ErrorKind::invalid_request, "connect.client_refused",
                          "The provider does not accept Claviger's client (" + said.code + ").",
                          terms.client_from == "dynamic"
                              ? "It has forgotten the registration; a new link registers anew."
                              : "Check client_id, client secret and how the client proves itself.",
                          std::move(detail));
        case AnswerClass::unknown_outcome:
            return end_of(ErrorKind::unavailable, "connect.outcome_unknown",
                          "The provider may have granted access, but its answer did not arrive whole.",
                          "A code must never be sent twice. " + std::string(kStartAgain), std::move(detail));
        case AnswerClass::not_sent:
        case AnswerClass::transient:
        case AnswerClass::dpop_nonce:
            return end_of(ErrorKind::unavailable, "connect.outcome_unknown",
                          "The provider did not exchange the code (" + said.code + ").",
                          "A code must never be sent twice. " + std::string(kStartAgain), std::move(detail));
        case AnswerClass::success:
        case AnswerClass::grant_dead:
        case AnswerClass::scope:
        case AnswerClass::target:
        case AnswerClass::bug:
            break;
    }
    return end_of(ErrorKind::invalid_request, "connect.refused",
                  "The provider refused to exchange the code (" + said.code + ").",
                  "Check the client, its redirect URI and the scopes, then start again.", std::move(detail));
}

/// A dynamic client that its server has forgotten must not be used by the next link.
awaitable<void> forget(const ConnectWorld& world, net::Worker& worker, const vault::Actor& actor,
                       const vault::ConnectTerms& terms) {
    if (terms.client_from != "dynamic" || !terms.client) co_return;
    const auto forgotten = co_await commit(worker, world.records, actor, [&](vault::Change& change) {
        return forget_client(change, *terms.client);
    });
    if (!forgotten) base::log_error("connect.client_not_forgotten", forgotten.error());
}

/// Tokens that nobody will use are given back, once; what comes of it changes nothing. Many servers end all
/// that a person granted to a client when one of its tokens is revoked: where another credential may be such
/// a grant, and the profile does not know each consent to be one of its own, they are left to run out.
awaitable<void> give_back(const ConnectWorld& world, const Outbound& out, const vault::ConnectFlow& flow,
                          const ProviderProfile& profile, const TokenSet& tokens,
                          const std::optional<crypto::Secret>& client_secret) {
    const auto& terms = *flow.terms;
    if (terms.revocation_endpoint.empty() || profile.revocation != RevocationStyle::rfc7009) co_return;
    const auto block = refresh_block(flow.wish, terms, profile);
    if (profile.refresh_token.on_reconnect != OnReconnect::revoke &&
        !users_of_client(world.records.catalog(), block, {}).empty()) {
        base::log(base::LogLevel::info, "connect.not_given_back", {{"connect_link", flow.id.text()}});
        co_return;
    }
    const auto client = client_of(block, client_secret ? &*client_secret : nullptr, profile, terms.issuer);
    if (!client) co_return;
    const bool has_refresh = tokens.refresh_token.has_value();
    const auto request = token_request(revocation(has_refresh ? *tokens.refresh_token : tokens.access_token,
                                                  has_refresh ? "refresh_token" : "access_token"),
                                       *client, profile, out.clock.now());
    if (!request) co_return;
    const auto answer = co_await ask(out, {.method = "POST",
                                           .url = terms.revocation_endpoint,
                                           .payload = &*request,
                                           .timeout = std::chrono::seconds(10)});
    base::log(base::LogLevel::info, "connect.gave_back", {{"status", answer.status}});
}

awaitable<base::Status> take_room(const ConnectWorld& world, net::Worker& worker,
                                  const base::ConnectLinkId& id) {
    if (world.journal == nullptr) co_return base::Status();
    co_return co_await world.journal->take_room(worker, id);
}

awaitable<void> keep(const ConnectWorld& world, net::Worker& worker, const vault::ConnectFlow& flow,
                     const ExchangeAnswer& answer, Kept& kept) {
    const bool may_hold_tokens = answer.status >= 200 && answer.status <= 299;
    if (world.journal == nullptr) co_return;
    if (!may_hold_tokens) co_return co_await world.journal->drop(worker, flow.id);  // its room
    const auto written = co_await world.journal->keep(worker, flow, answer);
    if (written)
        kept = Kept::on_disk;
    else
        base::log_error("connect.not_journalled", written.error());
}

awaitable<void> drop(const ConnectWorld& world, net::Worker& worker, const base::ConnectLinkId& id,
                     Kept& kept) {
    if (world.journal == nullptr || kept == Kept::not_needed) co_return;
    co_await world.journal->drop(worker, id);  // the room for it, too
    kept = Kept::nowhere;
}

constexpr std::string_view kStoreDelayed = "connect.store_delayed";

std::unexpected<base::Error> store_delayed() {
    return base::failure(ErrorKind::unavailable, kStoreDelayed,
                         "Access was granted, but it cannot be stored right now.",
                         "Nothing is lost: it is stored as soon as the disk takes it. Nothing has to be done "
                         "again; the status of the link says when it is done.");
}

/// A full disk does not cost anybody their consent: the answer stays in the journal, or is tried for a minute
/// when the journal could not take it either.
awaitable<base::Status> store_answer(const ConnectWorld& world, const Outbound& out,
                                     const vault::Actor& actor, const vault::ConnectFlow& flow,
                                     TakenAnswer& taken,
                                     const std::function<base::Status(vault::Change&)>& apply) {
    constexpr int kTries = 60;
    for (int tried = 1;; ++tried) {
        auto stored = co_await commit(out.worker, world.records, actor, apply);
        if (stored || stored.error().kind != ErrorKind::unavailable || taken.kept == Kept::not_needed)
            co_return stored;
        if (taken.kept == Kept::nowhere) co_await keep(world, out.worker, flow, taken.answer, taken.kept);
        if (taken.kept == Kept::on_disk) {
            world.journal->leave(flow.id);
            co_return store_delayed();
        }
        if (tried == kTries) co_return stored;
        co_await pause(out.worker, std::chrono::seconds(1));
    }
}

/// A device's poll that came too early may be answered with success and an error inside: the next poll asks
/// again, and this answer ends nothing.
bool is_early_poll(const ConnectWorld& world, const vault::ConnectFlow& flow, const ExchangeAnswer& answer) {
    const auto profile = profile_of(world, flow.wish);
    if (!flow.device || !profile) return false;
    const auto read = read_refresh_answer(answer.token_answer(), {.sent_at = answer.sent_at}, *profile, {});
    return polls_again(device_poll(read.classification));
}

/// What `taken` brings, to its end; what is in the journal stays there.
awaitable<base::Result<Finished>> settle(const ConnectWorld& world, const Outbound& out,
                                         const vault::Actor& actor, vault::Ref<vault::ConnectFlow> flow,
                                         TakenAnswer& taken) {
    const auto id = flow->id;
    const auto& terms = *flow->terms;
    const auto& answer = taken.answer;
    const auto profile = profile_of(world, flow->wish);
    if (!profile)
        co_return co_await end(world, out.worker, actor, id, being_answered,
                               {profile.error(), "connect.unusable_answer"});
    auto read = read_refresh_answer(answer.token_answer(),
                                    {.sent_at = answer.sent_at, .has_dpop_key = taken.proofs.key.has_value()},
                                    *profile, {});
    if (!read.tokens) {
        if (read.classification.kind == AnswerClass::client_dead)
            co_await forget(world, out.worker, actor, terms);
        if (!answer.complete() && read.classification.description.empty())
            read.classification.description = answer.error.message;
        co_return co_await end(world, out.worker, actor, id, being_answered,
                               end_without_tokens(read.classification, terms));
    }
    if (auto known = co_await check_identity(out, terms, *profile, *read.tokens, taken.nonce, answer.came_at);
        !known) {
        co_await give_back(world, out, *flow, *profile, *read.tokens, taken.proofs.client_secret);
        co_return co_await end(world, out.worker, actor, id, being_answered,
                               {std::move(known).error(), "connect.unusable_answer"});
    }
    auto lifetime = read.lifetime;
    const auto& good_until = taken.proofs.good_until;
    if (good_until && (!lifetime.expires_at || *good_until < *lifetime.expires_at))
        lifetime.expires_at = good_until;
    Finished finished{.credential = {}, .server_url = flow->wish.server_url};
    const Connected connected{.tokens = *read.tokens,
                              .lifetime = lifetime,
                              .client_secret = taken.proofs.client_secret,
                              .subject_token = taken.proofs.subject_token,
                              .key = taken.proofs.key,
                              .account = account_of(*profile, terms.issuer, *read.tokens),
                              .act_chain = std::move(read.act_chain)};
    auto stored = co_await store_answer(world, out, actor, *flow, taken, [&](vault::Change& change) {
        const auto kept = store_connected(world, change, id, *profile, connected);
        if (kept) finished.credential = *kept;
        return kept ? base::Status() : base::Status(std::unexpected(kept.error()));
    });
    if (stored) {
        if (world.grants != nullptr) {
            world.grants->touched(finished.credential);
            co_await world.grants->learn_lifetime(out.worker, finished.credential);
        }
        co_return finished;
    }
    if (stored.error().code == kStoreDelayed) {
        base::log_error("connect.delayed", stored.error());
        co_return std::unexpected(std::move(stored).error());
    }
    co_await give_back(world, out, *flow, *profile, *read.tokens, taken.proofs.client_secret);
    const bool named = vault::reason_number(stored.error().code) != 0;
    const std::string_view reason = named ? stored.error().code : "connect.target_gone";
    co_return co_await end(world, out.worker, actor, id, being_answered, {std::move(stored).error(), reason});
}

}  // namespace

base::Result<Proofs> proofs_of(ConnectSecrets& secrets) {
    Proofs proofs{.client_secret = std::move(secrets.client_secret)};
    if (!secrets.dpop_key) return proofs;
    auto key = DpopKey::import(*secrets.dpop_key);
    if (!key) return std::unexpected(std::move(key).error());
    proofs.key = std::move(*key);
    return proofs;
}

AttemptJournal journal_of(const ConnectWorld& world, net::Worker& worker, const vault::ConnectFlow& flow,
                          Kept& kept) {
    return {.before_sending = [&] { return take_room(world, worker, flow.id); },
            .before_reading =
                [&](const ExchangeAnswer& answer) { return keep(world, worker, flow, answer, kept); },
            .before_repeating = [&] { return drop(world, worker, flow.id, kept); }};
}

vault::Ref<vault::ConnectFlow> flow_of_arrival(const ConnectWorld& world, std::string_view state) {
    return flow_by_state(world.records.catalog(), state);
}

awaitable<base::Result<Finished>> take_answer(const ConnectWorld& world, const Outbound& out,
                                              const vault::Actor& actor, vault::Ref<vault::ConnectFlow> flow,
                                              TakenAnswer taken) {
    auto finished = co_await settle(world, out, actor, flow, taken);
    const bool waits = !finished && finished.error().code == kStoreDelayed;
    if (!waits) co_await drop(world, out.worker, flow->id, taken.kept);
    co_return finished;
}

awaitable<bool> take_up_answer(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id) {
    const auto answer = co_await world.journal->read(out.worker, id);
    if (!answer) {
        base::log_error("connect.journal_refused", answer.error());
        if (answer.error().kind == ErrorKind::unavailable) co_return false;
        world.journal->give_up(id);  // what does not open never will; the file stays for an inquiry
        co_return true;
    }
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    const bool nobody_waits = !*answer || !flow || !flow->terms || !being_answered(*flow);
    if (nobody_waits || is_early_poll(world, *flow, **answer)) {
        co_await world.journal->drop(out.worker, id);
        co_return true;
    }
    const vault::Actor on_behalf{.workspace = flow->workspace.raw};
    auto secrets = open_secrets(world.records.keys(), flow->id.raw, flow->secrets);
    auto proofs =
        secrets ? proofs_of(*secrets) : base::Result<Proofs>(std::unexpected(std::move(secrets).error()));
    if (!proofs) {
        co_await end(world, out.worker, on_behalf, id, being_answered,
                     {std::move(proofs).error(), "connect.unusable_answer"});
        co_await world.journal->drop(out.worker, id);
        co_return true;
    }
    const auto finished = co_await take_answer(
        world, out, on_behalf, flow,
        {.answer = **answer, .proofs = *proofs, .nonce = nonce_of(*flow), .kept = Kept::on_disk});
    base::log(base::LogLevel::info, "connect.taken_up",
              {{"connect_link", id.text()}, {"connected", finished.has_value()}});
    co_return finished || finished.error().code != kStoreDelayed;
}

awaitable<base::Result<Finished>> arrive(const ConnectWorld& world, const Outbound& out,
                                         const vault::Actor& actor, const Arrival& arrival) {
    const auto flow = flow_of_arrival(world, arrival.state);
    if (!flow || !flow->terms)
        co_return base::failure(ErrorKind::not_found, "connect.unknown_state",
                                "Nobody was sent to a provider with this address.",
                                "Open the connect link again, and do not use addresses from a history.");
    const auto id = flow->id;
    const auto state = flow->state_digest;
    if (flow->state != ConnectState::started || !is_open(*flow, out.clock.now())) co_return ended();
    const auto browser = arrival.cookie.expose(
        [](std::span<const std::byte> bytes) { return state_digest(base::as_view(bytes)); });
    if (!crypto::equal(crypto::view(browser), crypto::view(flow->browser)))
        co_return base::failure(
            ErrorKind::denied, "connect.other_browser",
            "You come back with another browser than the one in which the connect link was opened.",
            "Open the link in the browser in which you are signed in at the provider, and stay in it.");
    // Whoever went out again, or came back first, goes on: this way back ends only its own step.
    const StillThere on_the_way = [state](const vault::ConnectFlow& now) {
        return now.state == ConnectState::started && now.state_digest == state;
    };
    const auto profile = profile_of(world, flow->wish);
    if (!profile)
        co_return co_await end(world, out.worker, actor, id, on_the_way,
                               {profile.error(), "connect.refused"});
    if (auto wrong = check_issuer(*flow->terms, *profile, arrival))
        co_return co_await end(world, out.worker, actor, id, on_the_way, std::move(*wrong));
    if (auto refused = check_error(arrival))
        co_return co_await end(world, out.worker, actor, id, on_the_way, std::move(*refused));
    if (arrival.code.size() == 0)
        co_return co_await end(world, out.worker, actor, id, on_the_way,
                               {{ErrorKind::invalid_request, "connect.no_code",
                                 "The provider sent you back without a code.", std::string(kStartAgain)},
                                "connect.unusable_answer"});

    // Before the code is spent: whoever comes back later, by the same way, finds it good.
    if (world.journal != nullptr)
        if (auto room = co_await world.journal->take_room(out.worker, id); !room)
            co_return std::unexpected(std::move(room).error());
    const auto consumed = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        return consume(change, id, state, arrival);
    });
    if (!consumed) co_return std::unexpected(consumed.error());
    auto sent = co_await send_code(world, out, *flow, arrival.code);
    if (!sent)
        co_return co_await end(world, out.worker, actor, id, being_answered,
                               {std::move(sent).error(), "connect.refused"});
    const auto spent = world.records.catalog().find<vault::ConnectFlow>(id);
    // Whose link was taken away meanwhile has its tokens given back by the terms of before.
    co_return co_await take_answer(
        world, out, actor, spent && spent->terms ? spent : flow,
        {.answer = sent->answer, .proofs = sent->proofs, .nonce = nonce_of(*flow), .kept = sent->kept});
}

}  // namespace claviger::oauth
