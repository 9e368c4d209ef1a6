#include "oauth/answer_body.h"

#include "crypto/secret.h"
#include "net/http.h"
#include "oauth/json_document.h"
#include "oauth/visible.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr std::size_t kMaxFormFields = 100;

std::unexpected<base::Error> refusal(std::string_view code, std::string message) {
    return base::failure(ErrorKind::invalid_request, code, std::move(message),
                         "Look at what the authorization server answers at this address.");
}

std::string_view trimmed(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    constexpr std::string_view kSpace = " \t\r\n";
    const auto from = text.find_first_not_of(kSpace);
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(kSpace) - from + 1);
}

bool is_form_type(std::string_view content_type) {
    const auto type = trimmed(content_type.substr(0, content_type.find(';')));
    return net::equal_ignoring_case(type, "application/x-www-form-urlencoded") ||
           net::equal_ignoring_case(type, "text/plain") || type.empty();
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Decodes into `out`, whose capacity is enough, so that no copy of it is left behind. Only ASCII: no
/// parameter of an OAuth answer needs more, and JSON could not carry broken UTF-8.
bool decode_form(std::string_view text, std::string& out) {
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        char c = text[at];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (at + 2 >= text.size()) return false;
            const int high = hex_digit(text[at + 1]), low = hex_digit(text[at + 2]);
            if (high < 0 || low < 0) return false;
            c = static_cast<char>(high * 16 + low);
            at += 2;
        }
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
        out.push_back(c);
    }
    return true;
}

/// Fills `object` with the pairs of a form. False for anything that is not one: names are tokens, no name
/// comes twice (RFC 6749 3.2), every pair has a '='.
bool read_form(std::string_view text, json& object) {
    std::size_t fields = 0;
    while (!text.empty()) {
        const auto end = std::min(text.find('&'), text.size());
        const auto pair = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (pair.empty()) continue;
        const auto equals = pair.find('=');
        if (equals == 0 || equals == std::string_view::npos || ++fields > kMaxFormFields) return false;
        std::string name;
        if (!decode_form(pair.substr(0, equals), name) || !is_visible(name)) return false;
        auto [place, added] = object.emplace(name, "");
        if (!added || !decode_form(pair.substr(equals + 1), place->get_ref<std::string&>())) return false;
    }
    return fields > 0;
}

}  // namespace

void wipe_strings(json& value) {
    if (value.is_string()) {
        crypto::wipe(std::span<char>(value.get_ref<std::string&>()));
    } else if (value.is_structured()) {
        for (auto& child : value) wipe_strings(child);
    }
}

AnswerBody::AnswerBody(std::unique_ptr<json> fields) : fields_(std::move(fields)) {}
AnswerBody::AnswerBody(AnswerBody&&) noexcept = default;
AnswerBody& AnswerBody::operator=(AnswerBody&& other) noexcept {
    std::swap(fields_, other.fields_);  // what was here is wiped with the other
    return *this;
}
AnswerBody::~AnswerBody() {
    if (fields_) wipe_strings(*fields_);
}

base::Result<AnswerBody> AnswerBody::parse_json(std::string_view text) {
    auto parsed = parse_object(text, {.bytes = kMaxAnswer});
    if (!parsed) return std::unexpected(std::move(parsed).error());
    return AnswerBody(std::make_unique<json>(*std::move(parsed)));
}

base::Result<AnswerBody> AnswerBody::parse(std::string_view content_type, std::string_view text) {
    if (text.size() > kMaxAnswer)
        return refusal("answer.too_large", "The authorization server's answer is larger than 64 KiB.");
    text = trimmed(text);
    if (text.empty()) return refusal("answer.empty", "The authorization server's answer is empty.");
    if (text.front() == '{') return parse_json(text);
    if (is_form_type(content_type) || text.find_first_of(" \t\r\n<>\"") == std::string_view::npos) {
        AnswerBody form(std::make_unique<json>(json::object()));
        if (read_form(text, form.fields())) return form;
    }
    return refusal("answer.unreadable",
                   "The authorization server's answer is neither a JSON object nor a form.");
}

SecretField secret_in(const json& object, const std::string& name, Alphabet alphabet) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null()) return {};
    if (!found->is_string()) return {.unusable = true};
    const std::string_view text = found->get_ref<const std::string&>();
    if (text.empty()) return {};
    const auto first = alphabet == Alphabet::visible ? 0x21 : 0x20;
    if (!std::all_of(text.begin(), text.end(), [&](char c) { return c >= first && c < 0x7f; }))
        return {.unusable = true};
    return {.text = text};
}

}  // namespace claviger::oauth
