// What a parsed body consists of; for body.cpp and fields.cpp only.
#pragma once

#include "admin/api/body.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace claviger::admin::api {

/// A string that stands at a secret's place. In the tree a binary value whose subtype is its index here
/// stands for it; no JSON text can produce one.
struct SecretText {
    std::optional<crypto::Secret> bytes;
    bool too_long = false;  // longer than anything that may be stored, and so not kept
};

struct Body::State {
    std::unique_ptr<nlohmann::json> tree;
    std::vector<SecretText> secrets;
    std::optional<base::Error> fault;            // the first one
    std::set<const nlohmann::json*> read;        // members that were asked for
    std::set<const nlohmann::json*> read_whole;  // with everything in them
};

}  // namespace claviger::admin::api
