#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

std::unexpected<base::Error> invalid() {
    return base::failure(ErrorKind::invalid_request, "json.invalid", "The document is not valid JSON.",
                         "Look at what the server answers at this address.");
}

}  // namespace

base::Result<json> parse_object(std::string_view text, const JsonLimits& limits) {
    if (text.size() > limits.bytes)
        return base::failure(ErrorKind::invalid_request, "json.too_large",
                             "The document is larger than " + std::to_string(limits.bytes) + " bytes.",
                             "Look at what the server answers at this address.");
    bool acceptable = true;
    std::vector<std::set<std::string>> names;  // of the objects that are open
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::object_start) {
            names.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            names.pop_back();
        } else if (event == json::parse_event_t::key) {
            if (!names.back().insert(value.get_ref<const std::string&>()).second) acceptable = false;
        }
        if (depth > limits.depth) acceptable = false;
        return acceptable;
    };
    json parsed = json::parse(text.begin(), text.end(), watch, false);
    if (!acceptable || parsed.is_discarded()) return invalid();
    if (!parsed.is_object())
        return base::failure(ErrorKind::invalid_request, "json.not_an_object",
                             "The document is JSON but not an object.",
                             "Look at what the server answers at this address.");
    return parsed;
}

std::optional<std::string> string_in(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string()) return std::nullopt;
    return found->get_ref<const std::string&>();
}

std::optional<bool> bool_in(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_boolean()) return std::nullopt;
    return found->get<bool>();
}

std::optional<std::int64_t> integer_in(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number_integer()) return std::nullopt;
    if (found->is_number_unsigned() && found->get<std::uint64_t>() > INT64_MAX) return std::nullopt;
    return found->get<std::int64_t>();
}

std::optional<std::vector<std::string>> strings_in(const json& object, const char* name) {
    std::vector<std::string> strings;
    const auto found = object.find(name);
    if (found == object.end()) return strings;
    if (!found->is_array()) return std::nullopt;
    for (const auto& one : *found) {
        if (!one.is_string()) return std::nullopt;
        strings.push_back(one.get_ref<const std::string&>());
    }
    return strings;
}

}  // namespace claviger::oauth
