// JSON from strangers: authorization servers, providers, profile files. Strict, with limits, without
// exceptions.
#pragma once

#include "base/result.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

struct JsonLimits {
    std::size_t bytes = 64 * 1024;
    int depth = 16;
};

/// The text as one JSON object (RFC 8259, UTF-8, no repeated names). Errors: invalid_request
/// "json.too_large", "json.invalid", "json.not_an_object"; none of them quotes the text, which may hold
/// secrets.
base::Result<nlohmann::json> parse_object(std::string_view text, const JsonLimits& limits = {});

/// The member's string; nothing when it is absent or of another type.
std::optional<std::string> string_in(const nlohmann::json& object, const char* name);
std::optional<bool> bool_in(const nlohmann::json& object, const char* name);
std::optional<std::int64_t> integer_in(const nlohmann::json& object, const char* name);
/// The member's strings; empty when it is absent, nothing when it is no array of strings.
std::optional<std::vector<std::string>> strings_in(const nlohmann::json& object, const char* name);

}  // namespace claviger::oauth
