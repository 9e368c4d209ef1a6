#include "oauth/profile_forms.h"

#include <algorithm>
#include <array>
#include <optional>

namespace claviger::oauth {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz", kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                           kDigits = "0123456789";

/// Parameters whose values belong to one request or one client, never to a profile.
constexpr std::array<std::string_view, 29> kOwnParameters = {
    "access_token",
    "actor_token",
    "actor_token_type",
    "assertion",
    "client_assertion",
    "client_id",
    "client_assertion_type",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "dpop_jkt",
    "grant_type",
    "id_token_hint",
    "nonce",
    "password",
    "redirect_uri",
    "refresh_token",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "subject_token",
    "token",
};
/// Headers that frame or route the message, or that Claviger fills itself.
constexpr std::array<std::string_view, 20> kOwnHeaders = {
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
};

bool only(std::string_view text, std::initializer_list<std::string_view> sets) {
    return std::ranges::all_of(text, [&](char c) {
        return std::ranges::any_of(sets, [c](std::string_view set) { return set.contains(c); });
    });
}

bool printable_ascii(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool one_line(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

template <std::size_t N>
bool among(const std::array<std::string_view, N>& words, std::string_view word) {
    return std::ranges::find(words, word) != words.end();
}

bool host_and_port(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon != std::string_view::npos) {
        const auto port = text.substr(colon + 1);
        if (port.empty() || port.size() > 5 || !only(port, {kDigits})) return false;
        text = text.substr(0, colon);
    }
    if (text.empty() || text.size() > 253 || !only(text, {kLower, kDigits, "-."})) return false;
    for (std::size_t begin = 0; begin <= text.size();) {
        const auto end = std::min(text.find('.', begin), text.size());
        const auto label = text.substr(begin, end - begin);
        if (label.empty() || label.size() > 63 || label.starts_with('-') || label.ends_with('-'))
            return false;
        begin = end + 1;
    }
    return true;
}

/// The text with every {variable} replaced by what stands for it; nothing when braces do not match.
std::optional<std::string> with_samples(std::string_view text) {
    if (!variables_in(text)) return std::nullopt;
    std::string out;
    bool inside = false;
    for (const char c : text) {
        if (c == '{') out += 'v';
        inside = (inside || c == '{') && c != '}';
        if (!inside && c != '}') out += c;
    }
    return out;
}

bool is_loopback(std::string_view authority) {
    if (authority.starts_with("[::1]")) {
        const auto rest = authority.substr(5);
        return rest.empty() || host_and_port("x" + std::string(rest));
    }
    return host_and_port(authority) && (authority.substr(0, authority.find(':')) == "127.0.0.1" ||
                                        authority.substr(0, authority.find(':')) == "localhost");
}

std::string url_fault(std::string_view text, std::string_view forbidden) {
    const auto concrete = with_samples(text);
    std::string message =
        std::string(
            "must be an https URL (or http to 127.0.0.1, [::1] or localhost) in ASCII, its host in ") +
        "lower case, without user, fragment" + (forbidden.contains('?') ? ", query" : "") + " or spaces" +
        (forbidden.contains('{') ? ", and without {variables}" : "");
    if (!concrete || text.size() > 2047 || !printable_ascii(text)) return message;
    for (const char c : std::string_view(" \"<>\\^`|#"))
        if (text.contains(c)) return message;
    if (text.find_first_of(forbidden) != std::string_view::npos) return message;
    const bool tls = concrete->starts_with("https://");
    if (!tls && !concrete->starts_with("http://")) return message;
    auto rest = std::string_view(*concrete).substr(tls ? 8 : 7);
    const auto authority = rest.substr(0, rest.find_first_of("/?"));
    if (tls ? !host_and_port(authority) && !is_loopback(authority) : !is_loopback(authority)) return message;
    // http with a variable in its host could leave the machine.
    const auto written = text.substr(tls ? 8 : 7);
    if (!tls && written.substr(0, written.find_first_of("/?")).contains('{')) return message;
    return {};
}

std::string server_url_fault(std::string_view text) {
    if (auto fault = url_fault(text, "{}?"); !fault.empty()) return fault;
    const bool tls = text.starts_with("https://");
    const auto rest = text.substr(tls ? 8 : 7);
    const auto slash = rest.find('/');
    if (text.ends_with('/') || rest.substr(0, slash).ends_with(tls ? ":443" : ":80"))
        return "must not end with '/' or name the default port, for this is how server URLs are compared";
    return {};
}

std::string path_fault(std::string_view text) {
    std::string message =
        "must be member names joined by dots, such as \"team.id\", with a number for a place in a list";
    if (text.empty() || text.size() > 200 || !only(text, {kLower, kUpper, kDigits, "_-.:"})) return message;
    if (text.starts_with('.') || text.ends_with('.') || text.contains("..")) return message;
    return {};
}

std::string parameter_fault(std::string_view text) {
    if (text.empty() || text.size() > 64 || !only(text, {kLower, kUpper, kDigits, "_-."}))
        return "must be the name of a parameter: 1 to 64 letters, digits, '_', '-' or '.'";
    return {};
}

std::string header_fault(std::string_view text) {
    if (text.empty() || text.size() > 64 || !only(text, {kLower, kUpper, kDigits, "-_"}))
        return "must be the name of a header: 1 to 64 letters, digits, '-' or '_'";
    const auto name = lower(text);
    if (among(kOwnHeaders, name) || name.starts_with("mcp-"))
        return "must not be a header that frames the message or that Claviger sets itself";
    return {};
}

std::string when(bool good, std::string_view otherwise) {
    return good ? std::string() : std::string(otherwise);
}

}  // namespace

std::string fault_of(TextForm form, std::string_view text) {
    switch (form) {
        case TextForm::name:
            return when(!text.empty() && text.size() <= 64 && only(text, {kLower, kDigits, "-"}) &&
                            !text.starts_with('-') && !text.ends_with('-'),
                        "must be 1 to 64 of a-z, 0-9 and '-', and neither begin nor end with '-'");
        case TextForm::identifier:
            return when(!text.empty() && text.size() <= 64 && only(text, {kLower, kDigits, "_"}) &&
                            kLower.contains(text.front()),
                        "must be 1 to 64 of a-z, 0-9 and '_', and begin with a letter");
        case TextForm::sentence:
            return when(!text.empty() && text.size() <= 1000 && one_line(text),
                        "must be one line of 1 to 1000 bytes");
        case TextForm::url:
            return url_fault(text, "");
        case TextForm::issuer:
            return url_fault(text, "?");
        case TextForm::plain_url: {
            // Documents are linked with fragments.
            const auto hash = text.find('#');
            return url_fault(text.substr(0, hash), "{}");
        }
        case TextForm::server_url:
            return server_url_fault(text);
        case TextForm::path:
            return path_fault(text);
        case TextForm::member_or_root:
            return text == "." ? std::string() : fault_of(TextForm::member, text);
        case TextForm::member:
            return when(!text.empty() && text.size() <= 64 && only(text, {kLower, kUpper, kDigits, "_-:"}),
                        "must be the name of a member: 1 to 64 letters, digits, '_', '-' or ':'");
        case TextForm::parameter:
            if (among(kOwnParameters, text))
                return "must not be a parameter that Claviger sets itself, such as client_id or resource";
            return parameter_fault(text);
        case TextForm::name_of_parameter:
            return parameter_fault(text);
        case TextForm::value:
            return when(!text.empty() && text.size() <= 1000 && printable_ascii(text),
                        "must be 1 to 1000 printable ASCII characters");
        case TextForm::header:
            return header_fault(text);
        case TextForm::extra_header:
            if (lower(text) == "authorization") return "must not be Authorization; see client.authentication";
            return header_fault(text);
        case TextForm::scheme:
            return when(text.size() <= 32 && only(text, {kLower, kUpper, kDigits, "-._~"}),
                        "must be at most 32 letters, digits, '-', '.', '_' or '~', or empty for none");
        case TextForm::separator:
            return when(text == " " || text == "," || text == ";" || text == "+" || text == "|",
                        "must be one of \" \", \",\", \";\", \"+\", \"|\"");
        case TextForm::scope_or_none:
            return text.empty() ? std::string() : fault_of(TextForm::scope, text);
        case TextForm::scope:
            return when(!text.empty() && text.size() <= 500 && printable_ascii(text) && !text.contains(' ') &&
                            !text.contains('"') && !text.contains('\\'),
                        "must be one scope: printable ASCII without spaces, '\"' and '\\'");
    }
    return "is of no known form";
}

std::string variable_fault(VariableKind kind, std::string_view value) {
    switch (kind) {
        case VariableKind::host:
            return when(host_and_port(value), "must be a host name in lower case, with a port if needed");
        case VariableKind::segment:
            return when(
                !value.empty() && value.size() <= 128 && only(value, {kLower, kUpper, kDigits, "-_.~"}) &&
                    !value.contains("..") && !value.starts_with('.') && !value.ends_with('.'),
                "must be 1 to 128 letters, digits, '-', '_', '.' or '~', without a dot at either end");
    }
    return "is of no known kind";
}

std::optional<Words> variables_in(std::string_view text) {
    Words names;
    for (;;) {
        const auto open = text.find_first_of("{}");
        if (open == std::string_view::npos) return names;
        const auto close = text.find('}', open);
        if (text[open] == '}' || close == std::string_view::npos) return std::nullopt;
        const auto name = text.substr(open + 1, close - open - 1);
        if (!fault_of(TextForm::identifier, name).empty()) return std::nullopt;
        if (std::ranges::find(names, name) == names.end()) names.emplace_back(name);
        text.remove_prefix(close + 1);
    }
}

}  // namespace claviger::oauth
