#include "oauth/token_call.h"

#include <string>
#include <utility>

namespace claviger::oauth {
namespace {

base::Result<TokenRequest> proven(const TokenCall& call, const std::string& nonce, base::Time now) {
    auto request = call.make();
    if (!request || !call.key) return request;
    if (auto added = add_proof(*request, *call.key, call.url, nonce, now); !added)
        return std::unexpected(std::move(added).error());
    return request;
}

}  // namespace

base::Status add_proof(TokenRequest& request, const DpopKey& key, std::string_view url,
                       std::string_view nonce, base::Time now) {
    DpopRequest about{.method = "POST", .url = url};
    if (!nonce.empty()) about.nonce = nonce;
    const auto proof = key.proof(about, now);
    if (!proof) return std::unexpected(proof.error());
    return add_header(request, "DPoP", *proof);
}

net::awaitable<base::Result<ExchangeAnswer>> call_token_endpoint(const Outbound& out, const TokenCall& call) {
    std::string nonce;
    for (;;) {
        const auto request = proven(call, nonce, out.clock.now());
        if (!request) co_return std::unexpected(request.error());
        if (call.journal != nullptr)
            if (auto room = co_await call.journal->before_sending(); !room)
                co_return std::unexpected(std::move(room).error());
        auto answer = co_await ask(out, {.method = "POST",
                                         .url = call.url,
                                         .payload = &*request,
                                         .accept = call.profile.token_request.accept,
                                         .partition = call.partition,
                                         .timeout = call.timeout});
        if (call.journal != nullptr && answer.complete()) co_await call.journal->before_reading(answer);
        if (!call.key || !nonce.empty()) co_return answer;
        const auto said = classify(answer.token_answer(), call.profile.errors, {});
        nonce = answer.header("DPoP-Nonce");
        if (said.kind != AnswerClass::dpop_nonce || nonce.empty()) co_return answer;
        if (call.journal != nullptr) co_await call.journal->before_repeating();
    }
}

}  // namespace claviger::oauth
