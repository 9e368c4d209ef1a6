// The outside of an answer: status, headers, and the error envelope of the wire format.
#pragma once

#include "admin/api/call.h"
#include "base/id.h"

namespace claviger::admin::api {

/// An error with what only some of them need.
struct Refusal {
    base::Error error;
    unsigned status = 0;              // 0: follows from the kind
    std::string_view allow;           // of a 405
    std::string_view retry_after_ms;  // only when trying again soon helps
};

/// Whether the SDK's automatic retry could help: not for what would end the same way again.
net::Response error_reply(const Refusal& refusal, const base::RequestId& id);
/// A text that is shown once stands in the response only; wipe() it when it is sent.
net::Response reply(const Answer& answer, const base::RequestId& id, const base::WorkspaceId& workspace);
void wipe(net::Response& response);

}  // namespace claviger::admin::api
