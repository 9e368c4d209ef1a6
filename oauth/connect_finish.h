// The second half of a connect: from the provider's answer, through the one exchange of the code, to the
// stored grant.
#pragma once

#include "oauth/connect_secrets.h"
#include "oauth/connect_terms.h"
#include "oauth/dpop.h"
#include "oauth/exchange.h"

#include <functional>
#include <optional>
#include <string>

namespace claviger::oauth {

/// What came back with the browser; every member is a stranger's word.
struct Arrival {
    std::string state, issuer, error;
    bool has_issuer = false;
    crypto::Secret code = crypto::Secret::copy_of(std::string_view());
    crypto::Secret cookie = crypto::Secret::copy_of(std::string_view());  // of this browser; may be empty
};

/// The flow that a returning browser belongs to, before anything is done with what it brings: null when the
/// state is unknown. The name of the cookie and the parameter of the code depend on it.
vault::Ref<vault::ConnectFlow> flow_of_arrival(const ConnectWorld& world, std::string_view state);

struct Finished {
    base::CredentialId credential;
    std::string server_url;
};

/// In this order (oauth.md 1.2): state, browser, issuer (RFC 9207), then the provider's error, then the flow
/// is on record as exchanging, and only then the code is sent, once and never again. Errors: not_found
/// "connect.unknown_state"; conflict "connect.ended"; denied "connect.other_browser",
/// "connect.wrong_issuer", "connect.no_issuer", "connect.denied"; invalid_request "connect.refused",
/// "connect.no_code", "connect.client_refused", "connect.unusable_answer"; unavailable
/// "connect.outcome_unknown", "journal.no_room" (the code is not sent, and good for another try);
/// unauthenticated "id_token.…"; and those of store_connected. All but the first three and "journal.no_room"
/// close the flow.
net::awaitable<base::Result<Finished>> arrive(const ConnectWorld& world, const Outbound& out,
                                              const vault::Actor& actor, const Arrival& arrival);

/// What the request for the tokens was proven with. Move only.
struct Proofs {
    std::optional<crypto::Secret> client_secret = {};
    std::optional<DpopKey> key = {};
    std::optional<crypto::Secret> subject_token = {};  // that was given to be exchanged
    std::optional<base::Time> good_until = {};         // the tokens are not used for longer
};

/// As they were sealed with the flow. Errors: those of DpopKey::import.
base::Result<Proofs> proofs_of(ConnectSecrets& secrets);

/// Where an answer lies besides memory.
enum class Kept {
    not_needed,  // it can be had again
    nowhere,     // the disk did not take it, or nothing came
    on_disk
};
/// For the one request whose answer cannot be had twice. Answers that hold no tokens are told by their status
/// alone. `kept` hears of it; everything is borrowed until the answer is there.
AttemptJournal journal_of(const ConnectWorld& world, net::Worker& worker, const vault::ConnectFlow& flow,
                          Kept& kept);

/// A token endpoint's answer, and what belongs to it. Borrowed.
struct TakenAnswer {
    const ExchangeAnswer& answer;
    const Proofs& proofs;
    std::optional<std::string> nonce = {};  // as sent, when an ID token is expected
    Kept kept = Kept::not_needed;
};

/// From the answer to the stored grant, or to the closed flow; also for grants without a person. `flow` has
/// its terms; tokens that find no place any more are given back by them. What cannot be stored for the moment
/// stays in the journal and is taken up again: unavailable "connect.store_delayed".
net::awaitable<base::Result<Finished>> take_answer(const ConnectWorld& world, const Outbound& out,
                                                   const vault::Actor& actor,
                                                   vault::Ref<vault::ConnectFlow> flow, TakenAnswer taken);

/// Goes on with an answer that was left in the journal, by this process or by one that died. True when
/// nothing of it is left to do.
net::awaitable<bool> take_up_answer(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id);

}  // namespace claviger::oauth
