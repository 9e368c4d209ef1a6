// A live probe with a stored secret, on record like every use: mcp_oauth_validate, and rotations.
#pragma once

#include "admin/api/call.h"
#include "admin/api/probe.h"

namespace claviger::admin::api {

net::awaitable<Answered> validate_credential(Call& call);

/// One use of the credential, or of a value that it keeps (vault::as_of), with its entries. Errors: what
/// cannot be noted or opened is not sent.
net::awaitable<base::Result<Probe>> probe_on_record(Call& call, const vault::Credential& credential);

std::string_view status_of(Probe::Verdict verdict);  // "valid", "invalid", "unknown"
/// What was asked and what was answered; null for what is valid.
Json shown(const Probe& probe);

}  // namespace claviger::admin::api
