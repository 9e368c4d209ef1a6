// What reading a whole store found, as people and programs read it: of `fsck` and `backup verify`.
#pragma once

#include "base/result.h"
#include "server/wiring.h"
#include "vault/store_examination.h"

#include <nlohmann/json_fwd.hpp>

namespace claviger::server {

nlohmann::json examination_json(const vault::StoreExamination& found);
void print_examination(const vault::StoreExamination& found);
/// On standard error, when that is a terminal and people read the rest.
vault::ExaminationProgress examination_progress(Output output);
/// corrupt "store.faults" unless the store is sound.
base::Status verdict_on(const vault::StoreExamination& found);

}  // namespace claviger::server
