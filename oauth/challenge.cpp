#include "oauth/challenge.h"

#include "base/bytes.h"
#include "net/token.h"
#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::oauth {
namespace {

constexpr std::size_t kMaxBytes = 32 * 1024;
constexpr std::size_t kMaxClaims = 4 * 1024;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool is_token68(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    return out;
}

/// One field value, read from front to back.
class FieldReader {
public:
    FieldReader(std::string_view text, std::vector<Challenge>& out) : text_(text), out_(out) {}

    void read() {
        while (true) {
            skip_separators();
            if (at_ == text_.size()) return;
            if (!read_item()) skip_to_comma();
        }
    }

private:
    void skip_blanks() {
        while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    }
    void skip_separators() {
        while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == ',')) ++at_;
    }

    /// Past what cannot be read. Parameters that follow belong to nobody: they might be another challenge's.
    void skip_to_comma() {
        open_ = false;
        bool quoted = false;
        for (; at_ < text_.size(); ++at_) {
            if (quoted && text_[at_] == '\\') {
                if (at_ + 1 < text_.size()) ++at_;
            } else if (text_[at_] == '"') {
                quoted = !quoted;
            } else if (text_[at_] == ',' && !quoted) {
                return;
            }
        }
    }

    std::string_view token() {
        const auto from = at_;
        while (at_ < text_.size() && net::is_token(text_[at_])) ++at_;
        return text_.substr(from, at_ - from);
    }

    /// A parameter of the open challenge, or a scheme that opens another.
    bool read_item() {
        const auto name = token();
        if (name.empty()) return false;
        const auto after_name = at_;
        skip_blanks();
        if (at_ < text_.size() && text_[at_] == '=') return read_parameter(name);
        at_ = after_name;
        if (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != ',') return false;
        out_.push_back({lower(name), {}});
        open_ = true;
        skip_blanks();
        read_token68();
        return true;
    }

    bool read_parameter(std::string_view name) {
        ++at_;  // '='
        skip_blanks();
        std::string value;
        const bool quoted = at_ < text_.size() && text_[at_] == '"';
        if (!(quoted ? read_quoted(value) : read_bare(value))) return false;
        if (open_) out_.back().parameters.push_back({lower(name), std::move(value)});
        return true;
    }

    bool read_quoted(std::string& value) {
        const auto from = at_;
        for (++at_; at_ < text_.size(); ++at_) {
            char c = text_[at_];
            if (c == '"') {
                ++at_;
                return true;
            }
            if (c == '\\') {
                if (++at_ == text_.size()) break;
                c = text_[at_];
            }
            if (net::is_control(c)) break;
            value += c;
        }
        at_ = from;  // so that the recovery sees the opening quote
        return false;
    }

    bool read_bare(std::string& value) {
        const auto from = at_;
        while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != ',') {
            if (net::is_control(text_[at_]) || text_[at_] == '"') return false;
            ++at_;
        }
        value = text_.substr(from, at_ - from);
        return true;
    }

    /// Only a run that fills its list element is a token68; "realm=x" begins like one.
    void read_token68() {
        auto end = at_;
        while (end < text_.size() && is_token68(text_[end])) ++end;
        if (end == at_) return;
        while (end < text_.size() && text_[end] == '=') ++end;
        auto rest = end;
        while (rest < text_.size() && is_blank(text_[rest])) ++rest;
        if (rest < text_.size() && text_[rest] != ',') return;
        out_.back().token68 = text_.substr(at_, end - at_);
        at_ = end;
        open_ = false;
    }

    std::string_view text_;
    std::vector<Challenge>& out_;
    std::size_t at_ = 0;
    bool open_ = false;  // out_.back() may take parameters
};

/// Base64 of a JSON object, as Entra sends it, or the object itself.
std::string claims_text(std::string_view value) {
    if (value.starts_with('{')) return parse_object(value) ? std::string(value) : std::string();
    auto decoded = base::from_base64(value);
    if (!decoded) decoded = base::from_base64url(value.substr(0, value.find('=')));
    if (!decoded || !parse_object(*decoded)) return {};
    return *std::move(decoded);
}

}  // namespace

std::optional<std::string_view> Challenge::find(std::string_view name) const {
    const auto found =
        std::find_if(parameters.begin(), parameters.end(), [&](const auto& one) { return one.name == name; });
    if (found == parameters.end()) return std::nullopt;
    return found->value;
}

base::Result<std::vector<Challenge>> parse_challenges(std::span<const std::string_view> fields) {
    std::size_t bytes = 0;
    for (const auto field : fields) bytes += field.size();
    if (bytes > kMaxBytes)
        return base::failure(base::ErrorKind::invalid_request, "challenge.too_large",
                             "The server's WWW-Authenticate header is larger than 32 KiB.",
                             "Look at what the server answers to a request without a token.");
    std::vector<Challenge> challenges;
    for (const auto field : fields) FieldReader(field, challenges).read();
    return challenges;
}

base::Result<std::vector<Challenge>> parse_challenges(const net::Headers& headers) {
    std::vector<std::string_view> fields;
    for (std::size_t i = 0; i < headers.size(); ++i)
        if (net::equal_ignoring_case(headers.at(i).name, "WWW-Authenticate"))
            fields.push_back(headers.at(i).value);
    return parse_challenges(fields);
}

TokenChallenge token_challenge(std::span<const Challenge> challenges) {
    TokenChallenge wanted;
    const auto take = [](const Challenge& from, std::string_view name, std::string& into) {
        if (const auto value = from.find(name); value && into.empty()) into = *value;
    };
    for (const auto& challenge : challenges) {
        if (challenge.scheme != "bearer" && challenge.scheme != "dpop") continue;
        wanted.offered = true;
        if (challenge.scheme == "dpop") wanted.dpop = true;
        take(challenge, "error", wanted.error);
        take(challenge, "resource_metadata", wanted.resource_metadata);
        if (const auto scope = challenge.find("scope"); scope && wanted.scopes.empty())
            wanted.scopes = split_scopes(*scope);
        if (const auto claims = challenge.find("claims"); claims && wanted.claims.empty())
            wanted.claims = claims_text(*claims);
    }
    return wanted;
}

std::optional<Scopes> insufficient_scope(unsigned status, const TokenChallenge& challenge) {
    if (status != 403 || challenge.error != "insufficient_scope") return std::nullopt;
    return challenge.scopes;
}

std::optional<std::string> insufficient_claims(unsigned status, const TokenChallenge& challenge) {
    if (status != 401 || challenge.error != "insufficient_claims") return std::nullopt;
    const auto object = parse_object(challenge.claims, {.bytes = kMaxClaims, .depth = 8});
    if (!object || object->empty()) return std::nullopt;
    auto text = object->dump(-1, ' ', true);
    if (text.size() > kMaxClaims) return std::nullopt;
    return text;
}

}  // namespace claviger::oauth
