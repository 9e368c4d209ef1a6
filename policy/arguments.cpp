#include "policy/arguments.h"

#include "policy/quote.h"
#include "policy/wildcard.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace claviger::policy {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 64;

std::unexpected<base::Error> refuse(std::string fault) {
    return base::failure(base::ErrorKind::invalid_request, "policy.arguments_invalid", std::move(fault));
}

/// Go's JSON reader, for one, matches names this way: ASCII case, and the two other characters that fold to
/// ASCII.
std::string folded(std::string_view name) {
    std::string result;
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (name.substr(i).starts_with("\u017f")) {  // long s
            result += 's';
            i += 1;
        } else if (name.substr(i).starts_with("\u212a")) {  // Kelvin sign
            result += 'k';
            i += 2;
        } else {
            result += name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
        }
    }
    return result;
}

/// 100.0 and 1e2 become 100, at every depth.
void make_integers_plain(Json& value) {
    constexpr double kExact = 9007199254740992.0;  // 2^53: up to here every integer is its own double
    if (value.is_number_float()) {
        const double number = value.get<double>();
        if (std::trunc(number) == number && std::abs(number) <= kExact)
            value = static_cast<std::int64_t>(number);
    }
    if (value.is_structured())
        for (auto& member : value) make_integers_plain(member);
}

std::string text_of(const Json& value) {
    if (value.is_string()) return value.get_ref<const std::string&>();
    return value.dump();  // compact, members in the order of their names
}

std::vector<std::string> tokens_of(std::string_view pointer) {
    std::vector<std::string> tokens;
    while (!pointer.empty()) {
        pointer.remove_prefix(1);  // '/', checked when the rule was stored
        const auto raw = pointer.substr(0, pointer.find('/'));
        std::string token;
        for (std::size_t i = 0; i < raw.size(); ++i) {
            if (raw[i] == '~' && i + 1 < raw.size()) {
                token += raw[++i] == '0' ? '~' : '/';
            } else {
                token += raw[i];
            }
        }
        tokens.push_back(std::move(token));
        pointer.remove_prefix(raw.size());
    }
    return tokens;
}

const Json* element(const Json& array, const std::string& token) {
    if (token.empty() || token.size() > 9 || (token.size() > 1 && token[0] == '0')) return nullptr;
    if (token.find_first_not_of("0123456789") != std::string::npos) return nullptr;
    const auto index = static_cast<std::size_t>(std::stoul(token));
    return index < array.size() ? &array[index] : nullptr;
}

base::Result<const Json*> member(const Json& object, const std::string& token) {
    const auto wanted = folded(token);
    const Json* found = nullptr;
    for (const auto& [name, value] : object.items()) {
        if (name == token) {
            found = &value;
        } else if (folded(name) == wanted) {
            return refuse("argument " + in_quotes(name) + " differs only by case from " + in_quotes(token) +
                          ", which a rule looks at");
        }
    }
    return found;
}

/// Null when the arguments hold nothing there.
base::Result<const Json*> find(const Json& root, std::string_view pointer) {
    const Json* at = &root;
    for (const auto& token : tokens_of(pointer)) {
        if (at->is_array()) {
            at = element(*at, token);
        } else if (at->is_object()) {
            auto next = member(*at, token);
            if (!next) return next;
            at = *next;
        } else {
            return nullptr;
        }
        if (at == nullptr) return nullptr;
    }
    return at;
}

}  // namespace

struct Arguments::Tree {
    Json root;
};

Arguments::Arguments(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
Arguments::Arguments(Arguments&&) noexcept = default;
Arguments& Arguments::operator=(Arguments&&) noexcept = default;
Arguments::~Arguments() = default;

base::Result<Arguments> Arguments::parse(std::string_view json) {
    if (json.empty()) return Arguments(std::make_unique<Tree>(Tree{Json::object()}));

    std::vector<std::set<std::string>> open;  // the names seen so far in each object that is being read
    std::string fault;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
        if (depth > kDeepest && fault.empty()) fault = "the arguments are nested deeper than 64 levels";
        if (event == Json::parse_event_t::object_start) open.emplace_back();
        if (event == Json::parse_event_t::object_end) open.pop_back();
        if (event == Json::parse_event_t::key) {
            const auto& name = parsed.get_ref<const std::string&>();
            if (!open.back().insert(name).second && fault.empty())
                fault = "the arguments have the name " + in_quotes(name) + " twice";
        }
        return true;
    };
    auto root = Json::parse(json, watch, /*allow_exceptions=*/false);
    if (!fault.empty()) return refuse(std::move(fault));
    if (root.is_discarded()) return refuse("the arguments are not valid JSON");
    if (!root.is_object()) return refuse("the arguments are not a JSON object");
    make_integers_plain(root);
    return Arguments(std::make_unique<Tree>(Tree{std::move(root)}));
}

std::string comparable_text(std::string_view value) {
    auto parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded() || parsed.is_string()) return std::string(value);
    make_integers_plain(parsed);
    return parsed.dump();
}

base::Result<bool> Arguments::fulfil(const base::ArgumentCondition& condition) const {
    const auto found = find(tree_->root, condition.pointer);
    if (!found) return std::unexpected(found.error());
    const Json* value = *found;
    using enum base::ArgumentCondition::Test;
    if (condition.test == matches)
        return value != nullptr && wildcard_matches(condition.value, text_of(*value));
    const bool equal =
        value != nullptr && (value->is_string() ? text_of(*value) == condition.value
                                                : text_of(*value) == comparable_text(condition.value));
    return condition.test == equals ? equal : !equal;
}

}  // namespace claviger::policy
