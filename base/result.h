// The one way a failure travels: a Result that holds a value or an Error.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace claviger::base {

enum class ErrorKind {
    invalid_request,
    unauthenticated,
    denied,
    not_found,
    conflict,
    unavailable,
    corrupt,
    internal
};

struct Error {
    ErrorKind kind;
    std::string_view code;    // stable and greppable, a literal: "credential.not_found"
    std::string message;      // for the caller: one sentence, no secret, no path
    std::string hint = {};    // for the caller: what to do next; may be empty
    std::string detail = {};  // for our log only; never crosses the wire
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// Shortens `return std::unexpected(Error{...})`.
[[nodiscard]] inline std::unexpected<Error> failure(ErrorKind kind, std::string_view code,
                                                    std::string message, std::string hint = {},
                                                    std::string detail = {}) {
    return std::unexpected(Error{kind, code, std::move(message), std::move(hint), std::move(detail)});
}

}  // namespace claviger::base
