// Operations: work that takes more than one commit, seen and steered while it goes on.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

/// Whether keys are rotated now. conflict "fence.not_released": a restored store does nothing of itself
/// before an operator has looked at it.
base::Status can_rotate(const Call& call);

Json shown_operation(const Call& call, const vault::Operation& operation);

net::awaitable<Answered> list_operations(Call& call);
net::awaitable<Answered> retrieve_operation(Call& call);
/// The following answer with the operation as it then is; conflict "operation.not_possible", and for all but
/// a pause those of can_rotate().
net::awaitable<Answered> pause_operation(Call& call);
net::awaitable<Answered> resume_operation(Call& call);
net::awaitable<Answered> roll_back_operation(Call& call);
net::awaitable<Answered> retire_operation(Call& call);

}  // namespace claviger::admin::api
