// The body of an authorization server's answer, read once and wiped when done.
#pragma once

#include "base/result.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace claviger::oauth {

inline constexpr std::size_t kMaxAnswer = 64 * 1024;

/// The fields of an answer. Owns ordinary memory that may hold tokens: every string in it is wiped when the
/// object dies. Copies that the JSON parser made on its way cannot be reached.
class AnswerBody {
public:
    /// JSON object or form, whatever the content type claims: the text decides, the content type only where
    /// the text could be either. The caller wipes `text`. Errors: invalid_request "json.*",
    /// "answer.too_large" above 64 KiB, "answer.empty", "answer.unreadable".
    static base::Result<AnswerBody> parse(std::string_view content_type, std::string_view text);
    /// A JSON object alone.
    static base::Result<AnswerBody> parse_json(std::string_view text);

    AnswerBody(AnswerBody&&) noexcept;
    AnswerBody& operator=(AnswerBody&&) noexcept;
    AnswerBody(const AnswerBody&) = delete;
    AnswerBody& operator=(const AnswerBody&) = delete;
    ~AnswerBody();

    const nlohmann::json& fields() const { return *fields_; }
    nlohmann::json& fields() { return *fields_; }

private:
    explicit AnswerBody(std::unique_ptr<nlohmann::json> fields);

    std::unique_ptr<nlohmann::json> fields_;
};

/// Overwrites every string in the value, at any depth.
void wipe_strings(nlohmann::json& value);

/// visible: 0x21 to 0x7e, for what goes into a header; printable: also the space, for what goes into a form.
enum class Alphabet { visible, printable };

/// A secret member, still in the answer's memory.
struct SecretField {
    std::string_view text = {};  // lives as long as the answer; empty when the member is absent, null or ""
    bool unusable = false;       // it is there, but not a string of the alphabet
};
SecretField secret_in(const nlohmann::json& object, const std::string& name, Alphabet alphabet);

}  // namespace claviger::oauth
