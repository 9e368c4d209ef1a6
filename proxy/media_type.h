// What an answer of a server says that it is.
#pragma once

#include "net/client.h"

namespace claviger::proxy {

/// `other` also when the answer names no type, several, or a charset other than UTF-8, which no part of this
/// program reads.
enum class MediaType { json, event_stream, other };
MediaType media_type(const net::ResponseHead& head);

}  // namespace claviger::proxy
