#include "proxy/session_ids.h"

#include "crypto/sealed_text.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

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
                            const ServerContext& server, std::string_view upstream_id) {
    return crypto::seal_text(keys.derived(crypto::Purpose::session_ids), binding(context, server),
                             upstream_id);
}

std::optional<std::string> open_session_id(const vault::KeyRing& keys, const SessionContext& context,
                                           const ServerContext& server, std::string_view agent_id) {
    return crypto::open_text(keys.derived(crypto::Purpose::session_ids), binding(context, server), agent_id);
}

}  // namespace claviger::proxy
