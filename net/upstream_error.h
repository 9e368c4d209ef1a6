// What callers are told when an upstream fails them: never a word of the upstream's own.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <utility>

namespace claviger::net {

inline std::unexpected<base::Error> upstream_failure(std::string_view code, std::string message,
                                                     std::string hint, std::string detail = {}) {
    return base::failure(base::ErrorKind::unavailable, code, std::move(message), std::move(hint),
                         std::move(detail));
}

inline std::unexpected<base::Error> unreachable_failure(std::string detail) {
    return upstream_failure(
        "upstream.unreachable", "The upstream server could not be reached; nothing was sent to it.",
        "Try again. If it goes on, ask the operator to check the server's address and the network.",
        std::move(detail));
}

inline std::unexpected<base::Error> cancelled_failure() {
    return upstream_failure("upstream.cancelled", "The call to the upstream server was cancelled.", {});
}

inline std::unexpected<base::Error> timeout_failure() {
    return upstream_failure("upstream.timeout", "The upstream server did not answer in time.",
                            "It may have acted on the request. Check before you repeat it.");
}

inline std::unexpected<base::Error> closed_failure(std::string detail) {
    return upstream_failure(
        "upstream.closed", "The upstream server ended the connection before its answer was complete.",
        "It may have acted on the request. Check before you repeat it.", std::move(detail));
}

inline std::unexpected<base::Error> invalid_failure(std::string_view fault) {
    return upstream_failure("upstream.invalid", "The upstream server's answer is not valid HTTP.",
                            "Ask the operator to check what answers at this address.",
                            "the answer has " + std::string(fault));
}

}  // namespace claviger::net
