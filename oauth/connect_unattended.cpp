#include "oauth/connect_unattended.h"

#include "base/log.h"
#include "oauth/mint.h"
#include "oauth/refresh_attempt.h"
#include "oauth/subject_token.h"
#include "oauth/token_call.h"

#include <memory>
#include <utility>
#include <vector>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;
using vault::ConnectState;

bool is_running(const vault::ConnectFlow& flow) {
    return is_unspent(flow) || flow.state == ConnectState::exchanging;
}

awaitable<base::Status> usable(const ConnectWorld& world, net::Worker& worker, const base::CredentialId& id) {
    if (world.grants == nullptr) co_return base::Status();  // nothing is refreshed: it is as good as it is
    co_return co_await world.grants->make_usable(worker, id);
}

/// What the tokens are exchanged for; nothing for grants that exchange none. Puts into `proofs` what is kept
/// of it, and into `refused` the other credential's token that the identity provider refused.
/// Errors: invalid_request "connect.no_subject".
awaitable<base::Result<std::optional<ExchangedTokens>>> exchanged_for(
    const ConnectWorld& world, const Outbound& out, const vault::ConnectFlow& flow,
    const vault::Refresh& block, std::string_view issuer, Proofs& proofs, std::vector<LentToken>& refused) {
    if (!block.exchange) co_return std::nullopt;
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) co_return std::unexpected(std::move(secrets).error());
    proofs.subject_token = std::move(secrets->subject_token);
    const SubjectMeans means{
        .records = world.records,
        .providers = world.providers,
        .out = out,
        .make_usable = [&](const base::CredentialId& id) { return usable(world, out.worker, id); }};
    auto tokens =
        co_await fetch_exchanged(means, {.block = block,
                                         .workspace = flow.workspace,
                                         .vault = flow.vault,
                                         .given = proofs.subject_token ? &*proofs.subject_token : nullptr,
                                         .issuer = issuer});
    if (!tokens) {
        const auto& why = tokens.error();
        if (why.refused) refused = {*why.refused};
        const bool later = why.kind == AnswerClass::not_sent || why.kind == AnswerClass::transient;
        co_return base::failure(later ? ErrorKind::unavailable : ErrorKind::invalid_request,
                                "connect.no_subject", "There is no token to exchange (" + why.code + ").",
                                later ? "Try again later."
                                      : "Check the subject token and the actor's, where they come from, and "
                                        "the client there.",
                                why.description);
    }
    proofs.good_until = tokens->good_until();
    co_return std::move(*tokens);
}

/// What the connect asks for, and of whom. Borrowed.
struct Asking {
    const ConnectWorld& world;
    const Outbound& out;
    const vault::Actor& actor;
    const vault::ConnectFlow& flow;
    const vault::Refresh& block;
    const Negotiated& settled;
};

/// One request to the token endpoint, with what is exchanged there. `refused` as in exchanged_for, or those
/// of which the token endpoint itself refused one.
awaitable<base::Result<ExchangeAnswer>> ask_once(const Asking& asking, Proofs& proofs,
                                                 std::vector<LentToken>& refused) {
    const auto& [world, out, actor, flow, block, settled] = asking;
    const auto& issuer = settled.terms.issuer;
    const auto tokens = co_await exchanged_for(world, out, flow, block, issuer, proofs, refused);
    if (!tokens) co_return std::unexpected(tokens.error());
    const TokenCall call{
        .url = block.token_endpoint, .profile = settled.profile, .key = proofs.key, .make = [&] {
            return mint_request(block, proofs.client_secret ? &*proofs.client_secret : nullptr,
                                settled.profile, issuer, out.clock.now(),
                                *tokens ? (*tokens)->presented() : PresentedTokens());
        }};
    auto answer = co_await call_token_endpoint(out, call);
    if (!answer || !*tokens || minting_grant(block) != GrantType::token_exchange) co_return answer;
    const auto read = read_refresh_answer(
        answer->token_answer(), {.sent_at = answer->sent_at, .has_dpop_key = proofs.key.has_value()},
        settled.profile, {});
    if (!read.tokens && may_refuse_subject(read.classification)) refused = (*tokens)->lent();
    co_return answer;
}

/// The same, and once more when other credentials' tokens were refused and there is a newer one: one may have
/// died without anybody knowing.
awaitable<base::Result<ExchangeAnswer>> ask_for_tokens(const Asking& asking, Proofs& proofs) {
    const auto& [world, out, actor, flow, block, settled] = asking;
    std::vector<LentToken> refused;
    auto answer = co_await ask_once(asking, proofs, refused);
    if (world.grants == nullptr) co_return answer;
    bool newer = false;
    for (const auto& [credential, version] : refused)
        newer |= (co_await world.grants->replace_refused(out.worker, credential, version)).has_value();
    if (!newer) co_return answer;
    const auto noted = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        note_exchange(change, block);
        return base::Status();
    });
    if (!noted) co_return std::unexpected(noted.error());
    co_return co_await ask_once(asking, proofs, refused);
}

}  // namespace

base::Status store_terms(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id,
                         const SettledStep& step) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || found->state != ConnectState::waiting)
        return base::failure(ErrorKind::conflict, "connect.ended",
                             "This connect link was taken away in the meantime.", "Make a new one.");
    auto flow = *found;
    flow.secrets = seal_secrets(world.records.keys(), flow.id.raw, step.secrets);
    flow.terms = step.settled.terms;
    flow.state = step.state;
    flow.starts += 1;
    flow.device = step.device;
    flow.step_until = step.until;
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::start, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

awaitable<std::unexpected<base::Error>> end_unattended(const ConnectWorld& world, net::Worker& worker,
                                                       const vault::Actor& actor, base::ConnectLinkId id,
                                                       base::Error error, std::string_view reason) {
    const auto closed = co_await close_flow(world, worker, actor, id, is_running, problem_of(error), reason);
    if (!closed) base::log_error("connect.not_closed", closed.error());
    co_return std::unexpected(std::move(error));
}

awaitable<base::Result<Unattended>> settle_unattended(const ConnectWorld& world, const Outbound& out,
                                                      const vault::Actor& actor, base::ConnectLinkId id) {
    auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow)
        co_return base::failure(ErrorKind::conflict, "connect.ended", "This connect link is gone.",
                                "Make a new one.");
    auto settled = co_await negotiate(world, out, actor, *flow);
    if (!settled)
        co_return co_await end_unattended(world, out.worker, actor, id, std::move(settled).error(),
                                          "connect.discovery");
    co_return Unattended{.flow = std::move(flow), .settled = std::move(*settled)};
}

awaitable<base::Result<Finished>> connect_unattended(const ConnectWorld& world, const Outbound& out,
                                                     const vault::Actor& actor, base::ConnectLinkId id) {
    auto begun = co_await settle_unattended(world, out, actor, id);
    if (!begun) co_return std::unexpected(std::move(begun).error());
    auto& [flow, settled] = *begun;
    const auto block = refresh_block(flow->wish, settled.terms, settled.profile);
    const auto stored = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        note_exchange(change, block);
        return store_terms(world, change, id,
                           {.settled = settled,
                            .secrets = {},
                            .state = ConnectState::exchanging,
                            .device = {},
                            .until = change.now() + kStepTakes});
    });
    if (!stored) co_return std::unexpected(stored.error());
    Proofs proofs{.client_secret = std::move(settled.client_secret), .key = std::move(settled.key)};
    const auto answer = co_await ask_for_tokens(
        {.world = world, .out = out, .actor = actor, .flow = *flow, .block = block, .settled = settled},
        proofs);
    if (!answer)
        co_return co_await end_unattended(
            world, out.worker, actor, id, answer.error(),
            answer.error().code == "connect.no_subject" ? "connect.refused" : "connect.client_refused");
    auto as_settled = std::make_shared<vault::ConnectFlow>(*flow);  // the row may be gone, the tokens are not
    as_settled->terms = settled.terms;
    co_return co_await take_answer(world, out, actor, std::move(as_settled),
                                   {.answer = *answer, .proofs = proofs});
}

}  // namespace claviger::oauth
