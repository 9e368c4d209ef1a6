#include "admin/api/fields.h"

#include "admin/api/body_state.h"
#include "base/bytes.h"
#include "policy/quote.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using nlohmann::json;

constexpr std::size_t kMostMetadata = 16, kMetadataKey = 64, kMetadataValue = 512;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string range(std::size_t least, std::size_t most) {
    return std::to_string(least) + " to " + std::to_string(most);
}

/// A member's name in a message: short and without control characters.
std::string tame(std::string_view name) {
    const auto quoted = policy::in_quotes(name);
    return quoted.substr(1, quoted.size() - 2);
}

std::string_view fault_of(base::ByteView secret, std::size_t most, SecretForm form) {
    if (secret.empty()) return "must not be empty";
    if (characters(secret) > most) return "is too long";
    if (secret.find('\0') != std::string_view::npos) return "must not contain a NUL character";
    if (form == SecretForm::any_text) return {};
    if (secret.front() == ' ' || secret.back() == ' ') return "must not begin or end with a space";
    if (!std::ranges::all_of(secret, [](char c) { return c >= 0x20 && c < 0x7f; }))
        return "must be printable ASCII, because it is sent in a header; check for a line break at its end";
    return {};
}

}  // namespace

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Fields::Fields(Body& body) : Fields(*body.state_, body.state_->tree.get(), "") {}
Fields::Fields(Body::State& body, const json* object, std::string path)
    : body_(&body), object_(object), path_(std::move(path)) {}

const json* Fields::peek(std::string_view name) const {
    if (object_ == nullptr) return nullptr;
    const auto found = object_->find(std::string(name));
    return found == object_->end() ? nullptr : &*found;
}

const json* Fields::member(std::string_view name) {
    const auto* found = peek(name);
    if (found == nullptr) return nullptr;
    body_->read.insert(found);
    return found->is_null() ? nullptr : found;
}

bool Fields::has(std::string_view name) const { return peek(name) != nullptr; }
bool Fields::has_value(std::string_view name) {
    const auto* found = peek(name);
    if (found == nullptr) return false;
    if (found->is_null()) body_->read.insert(found);
    return !found->is_null();
}
bool Fields::is_text(std::string_view name) const {
    const auto* found = peek(name);
    return found != nullptr && found->is_string();
}
bool Fields::is_object(std::string_view name) const {
    const auto* found = peek(name);
    return found != nullptr && found->is_object();
}

std::string Fields::path_of(std::string_view name) const {
    if (path_.empty()) return std::string(name);
    if (name.empty()) return path_;
    return path_ + "." + std::string(name);
}

void Fields::refuse(std::string_view name, std::string_view why, std::string_view code) {
    if (body_->fault) return;
    body_->fault =
        base::Error{base::ErrorKind::invalid_request, code, path_of(name) + ": " + std::string(why)};
}

void Fields::refuse(std::string_view name, const base::Error& error) {
    if (body_->fault) return;
    body_->fault = error;
    body_->fault->message = path_of(name) + ": " + error.message;
}

void Fields::check_text(std::string_view name, std::string_view text, TextLimits limits) {
    const auto size = characters(text);
    if (size < limits.least || size > limits.most) {
        refuse(name, "must have " + range(limits.least, limits.most) + " characters");
    } else if (limits.lines == Lines::one ? std::ranges::any_of(text, is_control)
                                          : text.find('\0') != std::string_view::npos) {
        refuse(name, "must not contain control characters");
    }
}

std::optional<std::string> Fields::text_if_any(std::string_view name, TextLimits limits) {
    const auto* found = member(name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_string()) {
        refuse(name, "must be a string");
        return std::nullopt;
    }
    const auto& text = found->get_ref<const std::string&>();
    check_text(name, text, limits);
    return text;
}

std::string Fields::text(std::string_view name, TextLimits limits) {
    auto found = text_if_any(name, limits);
    if (!found) refuse(name, "is required, a string of " + range(limits.least, limits.most) + " characters");
    return std::move(found).value_or("");
}

bool Fields::flag(std::string_view name, bool otherwise) {
    const auto* found = member(name);
    if (found == nullptr) return otherwise;
    if (!found->is_boolean()) refuse(name, "must be true or false");
    return found->is_boolean() ? found->get<bool>() : otherwise;
}

std::optional<std::uint64_t> Fields::number_if_any(std::string_view name, std::uint64_t least,
                                                   std::uint64_t most) {
    const auto* found = member(name);
    if (found == nullptr) return std::nullopt;
    const bool whole = found->is_number_unsigned() || (found->is_number_integer() && *found >= 0);
    if (!whole || *found < least || *found > most) {
        refuse(name, "must be a whole number from " + range(least, most));
        return std::nullopt;
    }
    return found->get<std::uint64_t>();
}

std::optional<base::Time> Fields::time_if_any(std::string_view name) {
    const auto* found = member(name);
    if (found == nullptr) return std::nullopt;
    const auto time =
        found->is_string() ? base::from_rfc3339(found->get_ref<const std::string&>()) : std::nullopt;
    if (!time) refuse(name, "must be an RFC 3339 time such as 2026-11-21T10:00:00Z");
    return time;
}

std::size_t Fields::word(std::string_view name, const std::vector<std::string_view>& words) {
    const auto* found = member(name);
    if (found != nullptr && found->is_string()) {
        const auto at = std::ranges::find(words, std::string_view(found->get_ref<const std::string&>()));
        if (at != words.end()) return static_cast<std::size_t>(at - words.begin());
    }
    std::string list;
    for (const auto known : words) list += (list.empty() ? "" : ", ") + std::string(known);
    refuse(name,
           (found == nullptr ? "is required, " : "must be ") + (words.size() > 1 ? "one of " + list : list));
    return 0;
}

std::vector<std::string> Fields::texts(std::string_view name, std::size_t most, TextLimits limits) {
    const auto* found = member(name);
    std::vector<std::string> texts;
    if (found == nullptr) return texts;
    if (!found->is_array()) {
        refuse(name, "must be a list of strings");
        return texts;
    }
    if (found->size() > most) refuse(name, "must have at most " + std::to_string(most) + " entries");
    for (std::size_t i = 0; i < found->size(); ++i) {
        const auto& entry = (*found)[i];
        const auto place = std::string(name) + "[" + std::to_string(i) + "]";
        if (!entry.is_string()) {
            refuse(place, "must be a string");
            return texts;
        }
        texts.push_back(entry.get<std::string>());
        check_text(place, texts.back(), limits);
    }
    return texts;
}

void Fields::update(std::string_view name, std::optional<std::string>& text, TextLimits limits) {
    if (has(name)) text = text_if_any(name, limits);
}

void Fields::update(std::string_view name, std::string& text, TextLimits limits) {
    if (auto given = text_if_any(name, limits)) text = std::move(*given);
}

void Fields::update_metadata(std::string_view name, vault::Metadata& metadata, MetadataIs is) {
    constexpr std::string_view code = "invalid_metadata";
    const auto* found = member(name);
    if (found == nullptr) return;
    body_->read_whole.insert(found);
    if (!found->is_object()) return refuse(name, "must be an object of strings", code);
    for (const auto& [key, value] : found->items()) {
        const auto place = std::string(name) + "." + tame(key);
        if (key.empty() || characters(key) > kMetadataKey || std::ranges::any_of(key, is_control))
            return refuse(place, "keys must have " + range(1, kMetadataKey) + " characters", code);
        if (value.is_null() && is != MetadataIs::whole) {
            metadata.erase(key);
            continue;
        }
        if (!value.is_string()) return refuse(place, "must be a string", code);
        const auto& text = value.get_ref<const std::string&>();
        if (characters(text) > kMetadataValue)
            return refuse(place, "must have at most " + std::to_string(kMetadataValue) + " characters", code);
        if (text.empty() && is == MetadataIs::patch_where_empty_deletes) {
            metadata.erase(key);
        } else {
            metadata[key] = text;
        }
    }
    if (metadata.size() > kMostMetadata)
        refuse(name, "must have at most " + std::to_string(kMostMetadata) + " entries in all", code);
}

Fields Fields::object(std::string_view name) {
    const auto* found = member(name);
    if (found != nullptr && !found->is_object()) refuse(name, "must be an object");
    return {*body_, found != nullptr && found->is_object() ? found : nullptr, path_of(name)};
}

std::vector<Fields> Fields::objects(std::string_view name, std::size_t most) {
    const auto* found = member(name);
    std::vector<Fields> objects;
    if (found == nullptr) return objects;
    if (!found->is_array()) {
        refuse(name, "must be a list");
        return objects;
    }
    if (found->size() > most) {
        refuse(name, "must have at most " + std::to_string(most) + " entries");
        return objects;
    }
    for (std::size_t i = 0; i < found->size(); ++i) {
        const auto place = std::string(name) + "[" + std::to_string(i) + "]";
        if (!(*found)[i].is_object()) refuse(place, "must be an object");
        objects.push_back(Fields(*body_, (*found)[i].is_object() ? &(*found)[i] : nullptr, path_of(place)));
    }
    return objects;
}

std::string Fields::raw(std::string_view name) {
    const auto* found = member(name);
    if (found == nullptr) return "null";
    body_->read_whole.insert(found);
    return found->dump();
}

std::optional<crypto::Secret> Fields::secret_if_any(std::string_view name, std::size_t most,
                                                    SecretForm form) {
    const auto* found = member(name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_binary()) {
        refuse(name, "must be a string");
        return std::nullopt;
    }
    auto& text = body_->secrets[found->get_binary().subtype()];
    const auto fault = text.too_long ? "is too long"
                       : text.bytes  ? text.bytes->expose([&](std::span<const std::byte> bytes) {
                             return fault_of(base::as_view(bytes), most, form);
                         })
                                     : "was read twice";
    if (!fault.empty()) {
        refuse(name, std::string(fault) +
                         (fault == "is too long" ? "; at most " + std::to_string(most) + " characters" : ""));
        return std::nullopt;
    }
    return std::exchange(text.bytes, std::nullopt);
}

crypto::Secret Fields::secret(std::string_view name, std::size_t most, SecretForm form) {
    auto found = secret_if_any(name, most, form);
    if (found) return std::move(*found);
    refuse(name, "is required, a string of " + range(1, most) + " characters");
    return crypto::Secret::copy_of(std::string_view("?"));
}

void Fields::must_be_empty(std::string_view name, std::string_view why) {
    const auto* found = member(name);
    if (found == nullptr) return;
    body_->read_whole.insert(found);
    const bool is_empty = (found->is_string() && found->get_ref<const std::string&>().empty()) ||
                          (found->is_structured() && found->empty());
    if (!is_empty) refuse(name, why);
}

}  // namespace claviger::admin::api
