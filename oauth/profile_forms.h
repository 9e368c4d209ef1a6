// What provider profiles may hold: the forms of their strings, and what one member asks of another.
#pragma once

#include "oauth/provider_profile.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

enum class TextForm {
    name,               // a-z, 0-9 and '-': of profiles
    identifier,         // a-z, 0-9 and '_': of variables, captured members and reasons
    sentence,           // one line for people
    url,                // https, or http to loopback; {variables} and a query are allowed
    issuer,             // the same without a query
    plain_url,          // the same without {variables}
    server_url,         // an MCP server in the spelling in which Claviger compares them
    path,               // "a.b.0"
    member,             // name of a member of an answer
    member_or_root,     // the same, or "."
    parameter,          // name of a request parameter that Claviger does not set itself
    name_of_parameter,  // name of any request parameter
    value,              // printable text
    header,             // name of a request header that may carry a token
    scheme,             // of an Authorization header; may be empty
    extra_header,       // name of a request header that Claviger does not set itself
    separator,          // of scopes
    scope,
    scope_or_none,
};

/// Empty when the text has the form; otherwise what it must be: "must be an https URL".
std::string fault_of(TextForm form, std::string_view text);
/// The same for the value of a variable: "must be a host name".
std::string variable_fault(VariableKind kind, std::string_view value);
/// Names of the {variables} in a text; nothing when its braces do not match.
std::optional<Words> variables_in(std::string_view text);
/// Notes what does not fit together in a profile whose members are good one by one.
void check_consistency(ProviderProfile& profile, const nlohmann::json& document,
                       std::vector<ProfileProblem>& problems);
/// The members that may hold {variables}.
std::vector<std::string*> templates_of(ProviderProfile& profile);

}  // namespace claviger::oauth
