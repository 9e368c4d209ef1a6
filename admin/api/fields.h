// Reading one JSON object field by field, with errors that name the field.
#pragma once

#include "admin/api/body.h"
#include "base/clock.h"
#include "vault/model.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::api {

enum class Lines { one, many };

/// Characters are Unicode code points.
struct TextLimits {
    std::size_t least = 1, most = 255;
    Lines lines = Lines::one;  // one: no control characters at all
};

enum class SecretForm { header_value, any_text };
enum class MetadataIs { whole, patch, patch_where_empty_deletes };

/// Members are read by name. The first fault is kept in the body, as "auth.mcp_server_url: must be ...", and
/// after it whatever is read has no meaning: ask Body::finish() before using anything. Absent and null are
/// the same except where it says otherwise. Lives as long as the body.
class Fields {
public:
    explicit Fields(Body& body);

    bool has(std::string_view name) const;  // present, also as null
    bool has_value(std::string_view name);  // present and not null; a null counts as read

    std::string text(std::string_view name, TextLimits limits);  // required
    std::optional<std::string> text_if_any(std::string_view name, TextLimits limits);
    bool flag(std::string_view name, bool otherwise);
    std::optional<std::uint64_t> number_if_any(std::string_view name, std::uint64_t least,
                                               std::uint64_t most);
    std::optional<base::Time> time_if_any(std::string_view name);
    /// Required: one of `words`; its index.
    std::size_t word(std::string_view name, const std::vector<std::string_view>& words);
    std::vector<std::string> texts(std::string_view name, std::size_t most, TextLimits limits);

    /// Updates: an absent member keeps what there is; null clears where there may be nothing, else keeps.
    void update(std::string_view name, std::optional<std::string>& text, TextLimits limits);
    void update(std::string_view name, std::string& text, TextLimits limits);
    void update_metadata(std::string_view name, vault::Metadata& metadata, MetadataIs is);

    /// The member as an object; when it is none, an empty one, and a fault unless it is absent or null.
    Fields object(std::string_view name);
    std::vector<Fields> objects(std::string_view name, std::size_t most);
    bool is_text(std::string_view name) const;
    bool is_object(std::string_view name) const;
    /// Compact JSON of the member with everything in it. Nothing for secrets can be read this way.
    std::string raw(std::string_view name);

    std::optional<crypto::Secret> secret_if_any(std::string_view name, std::size_t most, SecretForm form);
    crypto::Secret secret(std::string_view name, std::size_t most, SecretForm form);  // required

    /// Takes a member that is allowed to be there but means nothing unless it is empty: null, "", [], {}.
    void must_be_empty(std::string_view name, std::string_view why);
    /// Refuses the member with this text, the object itself when `name` is empty.
    void refuse(std::string_view name, std::string_view why, std::string_view code = "request.invalid");
    void refuse(std::string_view name, const base::Error& error);
    std::string path_of(std::string_view name) const;

private:
    Fields(Body::State& body, const nlohmann::json* object, std::string path);
    const nlohmann::json* member(std::string_view name);  // marks it as read; null for absent and null
    const nlohmann::json* peek(std::string_view name) const;
    void check_text(std::string_view name, std::string_view text, TextLimits limits);

    Body::State* body_;
    const nlohmann::json* object_;  // null: no such object
    std::string path_;
};

/// Unicode code points of valid UTF-8.
std::size_t characters(std::string_view text);

}  // namespace claviger::admin::api
