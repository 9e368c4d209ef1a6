#include "proxy/json_rpc.h"

#include "proxy/json_span.h"

#include <boost/json/basic_parser_impl.hpp>

#include <array>
#include <span>

namespace claviger::proxy {
namespace {

using base::ErrorKind;
namespace json = boost::json;
using ErrorCode = boost::system::error_code;

constexpr std::string_view kVersionKey = "io.modelcontextprotocol/protocolVersion";
constexpr std::string_view kCapabilitiesKey = "io.modelcontextprotocol/clientCapabilities";
constexpr std::size_t kMaxText = 4'096;  // of a method, name or id: nothing longer can be meant

/// Which object the reader is in; everything deeper or elsewhere is `other` and only checked for being JSON.
enum class Level { outside, top, params, meta, other };

/// The keys that matter, in one list so that a set of bits can remember which were seen.
enum Key : unsigned {
    kJsonrpc,
    kMethod,
    kId,
    kParams,
    kResult,
    kError,  // top
    kName,
    kUri,
    kTaskId,
    kMeta,
    kArguments,
    kCursor,
    kRequestState,  // params
    kVersion,
    kCapabilities,
    kProgressToken,
    kRelatedTask,  // _meta
    kOtherKey
};

struct KnownKey {
    std::string_view text;
    Key key;
};
constexpr std::array kTopKeys{
    KnownKey{"jsonrpc", kJsonrpc}, KnownKey{"method", kMethod}, KnownKey{"id", kId},
    KnownKey{"params", kParams},   KnownKey{"result", kResult}, KnownKey{"error", kError},
};
constexpr std::array kParamsKeys{
    KnownKey{"name", kName},
    KnownKey{"uri", kUri},
    KnownKey{"taskId", kTaskId},
    KnownKey{"_meta", kMeta},
    KnownKey{"arguments", kArguments},
    KnownKey{"cursor", kCursor},
    KnownKey{"requestState", kRequestState},
};
constexpr std::array kMetaKeys{
    KnownKey{kVersionKey, kVersion},
    KnownKey{kCapabilitiesKey, kCapabilities},
    KnownKey{"progressToken", kProgressToken},
    KnownKey{kRelatedTaskKey, kRelatedTask},
};

std::span<const KnownKey> known_keys(Level level) {
    switch (level) {
        case Level::top:
            return kTopKeys;
        case Level::params:
            return kParamsKeys;
        case Level::meta:
            return kMetaKeys;
        default:
            return {};
    }
}

/// Whether spelled_alike() could hold, by the first bytes alone: letters that are others in ASCII are alike
/// only beyond it.
bool may_be_alike(std::string_view key, std::string_view known) {
    return !key.empty() && (((key[0] ^ known[0]) & 0xdf) == 0 || (key[0] & 0x80) != 0);
}

/// Receives the parser's events (Boost.JSON basic_parser). Keeps only the texts that are needed.
class Handler {
public:
    static constexpr std::size_t max_object_size = ~std::size_t{0};
    static constexpr std::size_t max_array_size = ~std::size_t{0};
    static constexpr std::size_t max_key_size = ~std::size_t{0};
    static constexpr std::size_t max_string_size = ~std::size_t{0};

    Message message;
    std::string version_text;  // "2.0"
    unsigned seen = 0;         // bits of Key
    bool top_is_object = false, top_is_array = false;
    bool duplicate = false, bad_id = false, bad_method = false, bad_params = false, bad_name = false;

    bool on_document_begin(ErrorCode&) { return true; }
    bool on_document_end(ErrorCode&) { return true; }

    bool on_object_begin(ErrorCode&) {
        if (depth_ == 0) top_is_object = true;
        if (level_ == Level::meta && key_ == kCapabilities) message.client_capabilities = true;
        if (level_ != Level::top || key_ != kParams) note_wrong_type();
        push(next_level());
        return true;
    }
    bool on_object_end(std::size_t, ErrorCode&) { return pop(); }
    bool on_array_begin(ErrorCode&) {
        if (depth_ == 0) top_is_array = true;
        note_wrong_type();
        push(Level::other);
        return true;
    }
    bool on_array_end(std::size_t, ErrorCode&) { return pop(); }

    bool on_key_part(json::string_view part, std::size_t, ErrorCode&) { return keep(part); }
    bool on_key(json::string_view part, std::size_t, ErrorCode&) {
        const auto text = whole(part);
        key_ = kOtherKey;
        for (const auto& known : known_keys(level_)) {
            if (!may_be_alike(text, known.text)) continue;
            if (known.text != text) {
                if ((level_ != Level::meta || known.key == kRelatedTask) && spelled_alike(text, known.text))
                    duplicate = true;
                continue;
            }
            key_ = known.key;
            if (seen & (1U << key_)) duplicate = true;
            seen |= 1U << key_;
            if (key_ == kVersion) message.modern = true;
            if (key_ == kArguments) message.has_arguments = true;
            if (key_ == kTaskId || key_ == kCursor || key_ == kRequestState || key_ == kRelatedTask)
                message.may_hold_handles = true;
        }
        text_.clear();
        return true;
    }

    bool on_string_part(json::string_view part, std::size_t, ErrorCode&) { return keep(part); }
    bool on_string(json::string_view part, std::size_t, ErrorCode&) {
        const auto text = whole(part);
        if (in_known_object()) {
            switch (key_) {
                case kJsonrpc:
                    version_text = text;
                    break;
                case kMethod:
                    message.method = text;
                    break;
                case kParams:
                    bad_params = true;
                    break;
                case kId:
                    message.id = json_string(text);
                    break;
                case kName:
                    message.name = text;
                    break;
                case kUri:
                    message.uri = text;
                    break;
                case kTaskId:
                    message.task_id = text;
                    break;
                case kVersion:
                    message.claimed_version = text;
                    break;
                case kProgressToken:
                    message.progress_token = json_string(text);
                    break;
                default:
                    break;
            }
        }
        text_.clear();
        return true;
    }

    bool on_number_part(json::string_view part, ErrorCode&) { return keep(part); }
    bool on_int64(std::int64_t, json::string_view part, ErrorCode&) { return number(part); }
    bool on_uint64(std::uint64_t, json::string_view part, ErrorCode&) { return number(part); }
    bool on_double(double, json::string_view part, ErrorCode&) { return number(part); }
    bool on_bool(bool, ErrorCode&) { return note_wrong_type(); }
    bool on_null(ErrorCode&) {  // some clients write "params":null for none
        return level_ == Level::top && key_ == kParams ? true : note_wrong_type();
    }
    bool on_comment_part(json::string_view, ErrorCode&) { return true; }
    bool on_comment(json::string_view, ErrorCode&) { return true; }

private:
    bool in_known_object() const {
        return level_ == Level::top || level_ == Level::params || level_ == Level::meta;
    }

    bool keep(json::string_view part) {
        if (in_known_object() && text_.size() <= kMaxText)
            text_.append(part.data(), std::min(part.size(), kMaxText + 1));
        return true;
    }

    /// What the parts kept so far and this last one say, up to the bound; text_ is to be cleared afterwards.
    std::string_view whole(json::string_view part) {
        if (text_.empty()) return {part.data(), std::min(part.size(), kMaxText + 1)};
        keep(part);
        return text_;
    }

    bool number(json::string_view part) {
        const auto text = whole(part);
        if (level_ == Level::top && key_ == kId) {
            // Fractions and exponents are no ids; the digits go back exactly as they came.
            if (text.find_first_of(".eE") != text.npos) bad_id = true;
            message.id = text;
        } else if (level_ == Level::meta && key_ == kProgressToken) {
            message.progress_token = text;
        } else {
            note_wrong_type();
        }
        text_.clear();
        return true;
    }

    bool note_wrong_type() {
        if (level_ == Level::params && (key_ == kName || key_ == kUri || key_ == kTaskId)) bad_name = true;
        if (level_ != Level::top) return true;
        if (key_ == kParams) bad_params = true;
        if (key_ == kId) bad_id = true;
        if (key_ == kMethod) bad_method = true;
        return true;
    }

    Level next_level() const {
        if (depth_ == 0) return Level::top;
        if (level_ == Level::top && key_ == kParams) return Level::params;
        if (level_ == Level::params && key_ == kMeta) return Level::meta;
        return Level::other;
    }
    void push(Level level) {
        if (depth_ < stack_.size()) stack_[depth_] = {level_, key_};
        ++depth_;
        level_ = level;
        key_ = kOtherKey;
    }
    bool pop() {
        --depth_;
        // Deeper than the stack everything is `other`, and so is what is returned to.
        if (depth_ < stack_.size()) {
            level_ = stack_[depth_].level;
            key_ = stack_[depth_].key;
        }
        return true;
    }

    struct Place {
        Level level = Level::outside;
        Key key = kOtherKey;
    };
    std::array<Place, 4> stack_{};
    std::size_t depth_ = 0;
    Level level_ = Level::outside;
    Key key_ = kOtherKey;
    std::string text_;
};

std::unexpected<base::Error> invalid(std::string message) {
    return base::failure(ErrorKind::invalid_request, "rpc.invalid", std::move(message));
}

}  // namespace

bool spelled_alike(std::string_view key, std::string_view known) {
    if (key.size() < known.size()) return false;
    std::size_t at = 0;
    for (const char wanted : known) {
        const char lower = static_cast<char>(wanted | 0x20);
        if (at < key.size() && (key[at] == wanted || ((key[at] | 0x20) == lower && wanted != '_'))) {
            ++at;
        } else if (lower == 's' && key.substr(at).starts_with("\u017f")) {
            at += 2;
        } else if (lower == 'k' && key.substr(at).starts_with("\u212a")) {
            at += 3;
        } else {
            return false;
        }
    }
    return at == key.size();
}

base::Result<Message> parse_message(std::string_view body, JsonLimits limits, std::string& id_if_known) {
    json::parse_options options;
    options.max_depth = limits.depth;
    json::basic_parser<Handler> parser(options);
    ErrorCode error;
    const auto used = parser.write_some(false, body.data(), body.size(), error);
    auto& found = parser.handler();
    if (!found.bad_id) id_if_known = found.message.id;
    if (error == json::error::too_deep)
        return base::failure(ErrorKind::invalid_request, "json.too_deep",
                             "The message nests deeper than " + std::to_string(limits.depth) + " levels.");
    if (error || used != body.size())
        return base::failure(ErrorKind::invalid_request, "json.invalid", "The body is not valid JSON.");

    if (found.top_is_array)
        return base::failure(ErrorKind::invalid_request, "rpc.batch",
                             "Batches are not accepted; send one message per request.");
    if (!found.top_is_object) return invalid("A JSON-RPC message is an object.");
    if (found.duplicate)
        return base::failure(ErrorKind::invalid_request, "rpc.duplicate_key",
                             "A key that decides what the message means appears twice, or in another "
                             "spelling.");
    const auto has = [&](Key key) { return (found.seen & (1U << key)) != 0; };
    if (found.version_text != "2.0") return invalid("The message is not JSON-RPC 2.0.");
    if (found.bad_id || (has(kId) && found.message.id.empty()))
        return invalid("The id must be a string or an integer.");
    if (found.bad_method) return invalid("The method must be a string.");
    if (found.bad_params) return invalid("The params must be an object.");
    if (found.bad_name) return invalid("A name, uri or taskId in the params must be a string.");

    auto& message = found.message;
    for (const auto* text : {&message.method, &message.name, &message.uri, &message.task_id, &message.id,
                             &message.progress_token})
        if (text->size() > kMaxText) return invalid("A method, name or id of the message is too long.");
    if (has(kMethod)) {
        if (has(kResult) || has(kError)) return invalid("A message is a request or a response, not both.");
        if (message.method.empty()) return invalid("The method is empty.");
        message.kind = has(kId) ? MessageKind::request : MessageKind::notification;
    } else {
        if (!has(kId) || has(kResult) == has(kError))
            return invalid("The message is neither a request nor a response.");
        message.kind = MessageKind::response;
        message.method = "response";
        message.id.clear();  // no answer is due to it
    }
    if (message.kind == MessageKind::response || message.method == "subscriptions/listen")
        message.may_hold_handles = true;
    return std::move(message);
}

std::string arguments_text(std::string_view body) {
    const auto params = member(body, "params");
    const auto arguments = params ? member(*params, "arguments") : std::nullopt;
    return arguments ? std::string(*arguments) : std::string();
}

std::string json_string(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    constexpr std::string_view replacement = "\xef\xbf\xbd";
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte == '"' || byte == '\\') {
            (out += '\\') += text[i++];
        } else if (byte < 0x20) {
            out += "\\u00";
            (out += hex[byte >> 4]) += hex[byte & 15];
            ++i;
        } else if (byte < 0x80) {
            out += text[i++];
        } else {
            // A whole, shortest, non-surrogate sequence passes (RFC 3629); anything else becomes U+FFFD.
            const std::size_t size = byte >= 0xf0 && byte < 0xf5 ? 4
                                     : byte >= 0xe0              ? 3
                                     : byte >= 0xc2              ? 2
                                                                 : 0;
            bool good = size != 0 && byte < 0xf5 && i + size <= text.size();
            std::uint32_t code = good ? byte & (0x7fU >> size) : 0;
            for (std::size_t k = 1; good && k < size; ++k) {
                const auto next = static_cast<unsigned char>(text[i + k]);
                good = (next & 0xc0) == 0x80;
                code = (code << 6) | (next & 0x3fU);
            }
            good = good && !(size == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) &&
                   !(size == 4 && (code < 0x10000 || code > 0x10ffff));
            out += good ? text.substr(i, size) : replacement;
            i += good ? size : 1;
        }
    }
    return out += '"';
}

}  // namespace claviger::proxy
