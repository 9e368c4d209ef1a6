#include "admin/api/body.h"

#include "admin/api/body_state.h"
#include "base/bytes.h"
#include "policy/quote.h"

#include <boost/json/basic_parser_impl.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using nlohmann::json;
using ErrorCode = boost::system::error_code;
using Piece = boost::json::string_view;

constexpr std::size_t kMostSecretBytes = 40 * 1024;  // more than any secret's limit in four-byte characters

/// Where secrets stand in the bodies of credentials, connect links, OAuth clients and seal slots.
constexpr std::array<std::string_view, 12> kSecretPlaces{"auth.token",
                                                         "auth.access_token",
                                                         "auth.secret_value",
                                                         "auth.refresh.refresh_token",
                                                         "auth.refresh.token_endpoint_auth.client_secret",
                                                         "client.client_secret",
                                                         "client.private_key",
                                                         "exchange.subject_token",
                                                         "client_secret",
                                                         "private_key",
                                                         "opening_key",
                                                         "opening_keys.opening_key"};

constexpr std::size_t kLongestPlace = std::ranges::max(kSecretPlaces, {}, &std::string_view::size).size() + 1;

/// Receives the parser's events (Boost.JSON basic_parser) and builds the tree.
class TreeBuilder {
public:
    static constexpr std::size_t max_object_size = ~std::size_t{0};
    static constexpr std::size_t max_array_size = ~std::size_t{0};
    static constexpr std::size_t max_key_size = ~std::size_t{0};
    static constexpr std::size_t max_string_size = ~std::size_t{0};

    json root;
    std::vector<SecretText> secrets;
    std::string duplicate;  // the path of a key that appears twice

    bool on_document_begin(ErrorCode&) { return true; }
    bool on_document_end(ErrorCode&) { return true; }
    bool on_object_begin(ErrorCode&) { return open(json::object()); }
    bool on_object_end(std::size_t, ErrorCode&) { return close(); }
    bool on_array_begin(ErrorCode&) { return open(json::array()); }
    bool on_array_end(std::size_t, ErrorCode&) { return close(); }

    bool on_key_part(Piece part, std::size_t, ErrorCode&) { return keep(part); }
    bool on_key(Piece part, std::size_t, ErrorCode& error) {
        keep(part);
        auto& [object, key] = open_.back();
        key = std::exchange(text_, {});
        secret_ = is_secret_place();
        if (!object.contains(key)) return true;
        duplicate = path();
        error = boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
        return false;
    }

    bool on_string_part(Piece part, std::size_t, ErrorCode&) {
        return secret_ ? keep_secret(part) : keep(part);
    }
    bool on_string(Piece part, std::size_t, ErrorCode&) {
        if (!secret_) {
            keep(part);
            return put(std::exchange(text_, {}));
        }
        keep_secret(part);
        secrets.push_back(joined_secret());
        return put(json::binary({}, secrets.size() - 1));
    }

    bool on_number_part(Piece, ErrorCode&) { return true; }
    bool on_int64(std::int64_t number, Piece, ErrorCode&) { return put(number); }
    bool on_uint64(std::uint64_t number, Piece, ErrorCode&) { return put(number); }
    bool on_double(double number, Piece, ErrorCode&) { return put(number); }
    bool on_bool(bool flag, ErrorCode&) { return put(flag); }
    bool on_null(ErrorCode&) { return put(nullptr); }
    bool on_comment_part(Piece, ErrorCode&) { return true; }
    bool on_comment(Piece, ErrorCode&) { return true; }

private:
    struct Open {
        json value;
        std::string key;  // of the member that is being read
    };

    std::string path() const {
        std::string text;
        for (const auto& [value, key] : open_) {
            if (!value.is_object()) continue;
            if (!text.empty()) text += '.';
            text += key;
        }
        return text;
    }
    /// Asked at every key, so it must not cost more than the longest place, however long the keys are.
    bool is_secret_place() const {
        if (open_.empty()) return false;
        std::size_t bytes = 0;
        for (const auto& [value, key] : open_)
            if (bytes += key.size() + 1; bytes > kLongestPlace) return false;
        return std::ranges::find(kSecretPlaces, path()) != kSecretPlaces.end();
    }

    bool open(json value) {
        open_.push_back({std::move(value), {}});
        secret_ = false;
        return true;
    }
    bool close() {
        auto value = std::move(open_.back().value);
        open_.pop_back();
        return put(std::move(value));
    }
    bool put(json value) {
        secret_ = false;
        if (open_.empty()) {
            root = std::move(value);
        } else if (auto& [container, key] = open_.back(); container.is_array()) {
            container.push_back(std::move(value));
        } else {
            container[key] = std::move(value);
        }
        return true;
    }
    bool keep(Piece part) {
        text_.append(part.data(), part.size());
        return true;
    }
    bool keep_secret(Piece part) {
        if (part.empty()) return true;
        secret_bytes_ += part.size();
        if (secret_bytes_ <= kMostSecretBytes)
            pieces_.push_back(crypto::Secret::copy_of(std::string_view(part.data(), part.size())));
        return true;
    }
    SecretText joined_secret() {
        const auto pieces = std::exchange(pieces_, {});
        const auto bytes = std::exchange(secret_bytes_, 0);
        if (bytes > kMostSecretBytes) return {std::nullopt, true};
        return {crypto::Secret::filled(bytes,
                                       [&](std::span<std::byte> out) {
                                           auto* at = out.data();
                                           for (const auto& piece : pieces)
                                               piece.expose([&](std::span<const std::byte> in) {
                                                   std::memcpy(at, in.data(), in.size());
                                                   at += in.size();
                                               });
                                       }),
                false};
    }

    std::vector<Open> open_;
    std::string text_;
    std::vector<crypto::Secret> pieces_;
    std::size_t secret_bytes_ = 0;
    bool secret_ = false;  // the string that comes next is one
};

std::unexpected<base::Error> refuse(std::string_view code, std::string message, std::string hint = {}) {
    return base::failure(ErrorKind::invalid_request, code, std::move(message), std::move(hint));
}

/// The path of the first member that nobody asked for.
std::optional<std::string> first_unread(const Body::State& state, const json& value, const std::string& path);

}  // namespace

Body::Body(std::unique_ptr<State> state) : state_(std::move(state)) {}
Body::Body(Body&&) noexcept = default;
Body& Body::operator=(Body&&) noexcept = default;
Body::~Body() = default;

base::Result<Body> Body::parse(std::string_view text) {
    auto state = std::make_unique<State>();
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
        state->tree = std::make_unique<json>(json::object());
        return Body(std::move(state));
    }
    boost::json::parse_options options;
    options.max_depth = kDepth;
    boost::json::basic_parser<TreeBuilder> parser(options);
    ErrorCode error;
    const auto used = parser.write_some(false, text.data(), text.size(), error);
    auto& built = parser.handler();
    if (!built.duplicate.empty())
        return refuse("json.duplicate_key",
                      policy::in_quotes(built.duplicate) + ": appears twice in the same object");
    if (error == boost::json::error::too_deep)
        return refuse("json.too_deep", "The body nests deeper than " + std::to_string(kDepth) + " levels.");
    if (error || used != text.size())
        return refuse("json.invalid", "The body is not valid JSON in UTF-8.",
                      "It stops making sense at byte " + std::to_string(used) + ".");
    if (!built.root.is_object()) return refuse("body.not_an_object", "The body must be a JSON object.");
    state->tree = std::make_unique<json>(std::move(built.root));
    state->secrets = std::move(built.secrets);
    return Body(std::move(state));
}

base::Status Body::finish() const {
    if (state_->fault) return std::unexpected(*state_->fault);
    if (const auto unread = first_unread(*state_, *state_->tree, ""))
        return refuse("request.unknown_field", *unread + ": is not a known field here");
    return {};
}

namespace {

std::optional<std::string> first_unread(const Body::State& state, const json& value,
                                        const std::string& path) {
    if (value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i)
            if (auto unread = first_unread(state, value[i], path + "[" + std::to_string(i) + "]"))
                return unread;
        return std::nullopt;
    }
    if (!value.is_object()) return std::nullopt;
    for (const auto& [key, member] : value.items()) {
        const auto shown = policy::in_quotes(key);
        auto member_path = (path.empty() ? "" : path + ".") + shown.substr(1, shown.size() - 2);
        if (!state.read.contains(&member)) return member_path;
        if (state.read_whole.contains(&member)) continue;
        if (auto unread = first_unread(state, member, member_path)) return unread;
    }
    return std::nullopt;
}

}  // namespace
}  // namespace claviger::admin::api
