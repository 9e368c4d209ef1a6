#include "admin/api/session_tokens.h"

#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

constexpr std::uint64_t kLongestLifetime = 365ULL * 86'400;

Json shown_token(const vault::SessionToken& token) {
    return {{"id", token.id.text()},
            {"type", "session_token"},
            {"session_id", token.session.text()},
            {"created_at", shown(token.created)},
            {"expires_at", shown(token.expires)},
            {"revoked_at", shown(token.revoked)}};
}

base::Result<vault::Ref<vault::SessionToken>> find_token(const Call& call, const vault::Catalog& catalog) {
    const auto session = find<vault::Session>(catalog, call.workspace(), call.ids[0]);
    if (!session) return std::unexpected(session.error());
    auto token = find<vault::SessionToken>(catalog, call.workspace(), call.ids[1]);
    if (token && (*token)->session != (*session)->id)
        return base::failure(ErrorKind::not_found, "session_token.not_found",
                             "Session token not found in session " + call.ids[0] + ": " + call.ids[1]);
    return token;
}

}  // namespace

NewToken new_session_token(const Call& call, const base::SessionId& session, std::chrono::seconds lifetime) {
    auto text = crypto::random_token_text("clv_session_");
    vault::SessionToken stored{.id = crypto::random_id<base::SessionTokenId>(),
                               .workspace = call.workspace(),
                               .session = session,
                               .hash = vault::token_hash(text),
                               .expires = {},
                               .revoked = {}};
    NewToken token{std::move(stored), crypto::Secret::copy_of(std::string_view(text)), lifetime};
    crypto::wipe(std::span(text.data(), text.size()));
    return token;
}

std::chrono::seconds read_lifetime(Fields& in, std::string_view name, const ApiSettings& settings) {
    const auto given = in.number_if_any(name, 1, kLongestLifetime);
    return given ? std::chrono::seconds(*given) : settings.session_token_lifetime;
}

base::Status store(vault::Change& change, NewToken& token) {
    token.stored.created = change.now();
    token.stored.expires = change.now() + token.lifetime;
    change.note(EntryKind::write, Action::create, ObjectKind::session_token, token.stored.id.raw);
    return change.store(token.stored);
}

net::awaitable<Answered> create_session_token(Call& call) {
    const auto session = find<vault::Session>(call.catalog(), call.workspace(), call.ids[0]);
    if (!session) co_return std::unexpected(session.error());
    Fields in(call.body);
    const auto lifetime = read_lifetime(in, "expires_in", call.settings);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    auto token = new_session_token(call, (*session)->id, lifetime);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Session>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        if ((*found)->archived)
            return base::failure(ErrorKind::invalid_request, "session.archived",
                                 "Session " + call.ids[0] + " is archived and gets no more tokens.",
                                 "Create a new session.");
        return store(change, token);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer(shown_token(token.stored));
    made.shown_once = std::move(token.text);
    made.shown_as = "token";
    co_return made;
}

net::awaitable<Answered> list_session_tokens(Call& call) {
    const auto session = find<vault::Session>(call.catalog(), call.workspace(), call.ids[0]);
    if (!session) co_return std::unexpected(session.error());
    const auto page = page_of<vault::SessionToken>(call, {.name = {"session_tokens", (*session)->id.raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& token : page->objects) data.push_back(shown_token(*token));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> revoke_session_token(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_token(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        auto token = **found;
        if (token.revoked) return {};
        token.revoked = change.now();
        change.note(EntryKind::write, Action::revoke, ObjectKind::session_token, token.id.raw);
        return change.store(token);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[1]}, {"type", "session_token_revoked"}});
}

}  // namespace claviger::admin::api
