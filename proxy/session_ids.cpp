#include "proxy/session_ids.h"

#include "crypto/sealed_text.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

constexpr char kBetween = ' ';  // never in an upstream's id

/// Fixed-width ids first, so that no server name can imitate another pair.
std::string binding(const SessionContext& context, const ServerContext& server) {
    std::string text = "mcp-session-id";
    text += context.session->id.key();
    text += server.credential->id.key();
    text += server.name;
    return text;
}

}  // namespace

bool valid_session_id(std::string_view upstream_id) {
    constexpr std::size_t most = 2'048;  // sealed, it still fits into any header
    return !upstream_id.empty() && upstream_id.size() <= most &&
           std::ranges::all_of(upstream_id, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string seal_session_id(const vault::KeyRing& keys, const SessionContext& context,
                            const ServerContext& server, std::string_view upstream_id,
                            std::string_view revision) {
    constexpr std::size_t most = 32;
    std::string plain;
    if (!revision.empty() && revision.size() <= most && revision.find(kBetween) == revision.npos)
        (plain += revision) += kBetween;
    plain += upstream_id;
    return crypto::seal_text(keys.derived(crypto::Purpose::session_ids), binding(context, server), plain);
}

std::optional<OpenedSession> open_session_id(const vault::KeyRing& keys, const SessionContext& context,
                                             const ServerContext& server, std::string_view agent_id) {
    const auto plain =
        crypto::open_text(keys.derived(crypto::Purpose::session_ids), binding(context, server), agent_id);
    if (!plain) return std::nullopt;
    const auto between = plain->find(kBetween);
    if (between == plain->npos) return OpenedSession{*plain, {}};
    return OpenedSession{plain->substr(between + 1), plain->substr(0, between)};
}

}  // namespace claviger::proxy
