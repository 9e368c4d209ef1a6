// What a request says about an environment, and what an answer shows of one.
#pragma once

#include "admin/api/call.h"
#include "admin/api/fields.h"

namespace claviger::admin::api {

enum class EnvironmentIs { made, updated };

/// Everything but the name; faults are in the body. Absent members keep what the environment has.
void read_environment(Fields& in, vault::Environment& environment, EnvironmentIs is);

/// Vaults that were bound before may stay whatever became of them; new ones must exist and be active. The
/// agents of rules must exist. not_found or invalid_request, naming the field.
base::Status check_references(const vault::Catalog& catalog, const vault::Environment& environment,
                              const std::vector<base::VaultId>& bound_before);

Json shown(const vault::Environment& environment);

}  // namespace claviger::admin::api
