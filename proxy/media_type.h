// What an answer of a server says that it is.
#pragma once

#include "net/client.h"

#include <string_view>

namespace claviger::proxy {

/// The media type without its parameters; empty when there is none, when there are several, and when the
/// charset is another than UTF-8, which no part of this program reads.
std::string_view media_type(const net::ResponseHead& head);
bool is_json(const net::ResponseHead& head);
bool is_event_stream(const net::ResponseHead& head);

}  // namespace claviger::proxy
