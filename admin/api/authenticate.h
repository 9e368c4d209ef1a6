// Who is asking, and may they: API key, role, workspace, version and beta headers.
#pragma once

#include "admin/api/reply.h"
#include "admin/api/routes.h"

#include <expected>

namespace claviger::admin::api {

/// The Host of the request is a loopback name, a numeric address, or one that was configured: a web page that
/// lets its own name point here gets nothing.
bool host_is_ours(const net::Headers& headers, const std::vector<std::string>& allowed);

/// unauthenticated "api_key.missing", "api_key.ambiguous", "api_key.unknown".
base::Result<vault::Ref<vault::ApiKey>> authenticate(const net::Headers& headers,
                                                     const vault::Catalog& catalog);

/// anthropic-version, anthropic-workspace-id and, for hosted routes, anthropic-beta.
base::Status check_headers(const net::Headers& headers, const Route& route, const vault::ApiKey& key);

/// IPv4 as ::ffff:a.b.c.d; zeros for a peer without a numeric address.
std::array<unsigned char, 16> source_bytes(std::string_view peer);

}  // namespace claviger::admin::api
