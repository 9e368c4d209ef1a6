#include "proxy/handle_rewriter.h"

#include "crypto/sealed_text.h"
#include "proxy/json_rpc.h"

#include <utility>

namespace claviger::proxy {

struct HandleRewriter::KnownPlace {
    Level in;
    std::string_view key;
    Place place;
    std::optional<Towards> only = {};
};

const HandleRewriter::KnownPlace HandleRewriter::kPlaces[] = {
    {Level::message, "params", {Level::params}},
    {Level::message, "result", {Level::result}},
    {Level::params, "taskId", {Level::other, HandleSpot::asked_task}},
    {Level::params, "cursor", {Level::other, HandleSpot::cursor}, Towards::server},
    {Level::params, "requestState", {Level::other, HandleSpot::state}, Towards::server},
    {Level::params, "notifications", {Level::filter}},  // what a subscription is about
    {Level::params, "result", {Level::result}},         // of a task that a notification holds whole
    {Level::params, "_meta", {Level::meta}},
    {Level::result, "taskId", {Level::other, HandleSpot::named_task}},
    {Level::result, "nextCursor", {Level::other, HandleSpot::cursor}, Towards::agent},
    {Level::result, "requestState", {Level::other, HandleSpot::state}, Towards::agent},
    {Level::result, "cacheScope", {Level::other, HandleSpot::scope}, Towards::agent},
    {Level::result, "task", {Level::task}},
    {Level::result, "tasks", {Level::tasks}},
    {Level::result, "result", {Level::result}},  // of a task that is completed
    {Level::result, "_meta", {Level::meta}},
    {Level::task, "taskId", {Level::other, HandleSpot::named_task}},
    {Level::meta, kRelatedTaskKey, {Level::task, HandleSpot::named_task}},
    {Level::filter, "taskIds", {Level::ids, HandleSpot::asked_task}},
};

void HandleRewriter::start() {
    depth_ = 0;
    place_ = {.inside = Level::message};
    role_ = Role::none;
    held_.clear();
    expects_key_ = lost_ = false;
    at_start_ = true;
}

bool HandleRewriter::in_object() const {
    const auto now = level();
    return now != Level::other && now != Level::batch && now != Level::tasks && now != Level::ids;
}

/// Some readers ignore case, so what they would read must be what is looked at.
HandleRewriter::Place HandleRewriter::place_of(std::string_view key) const {
    const auto now = level();
    for (const auto& known : kPlaces)
        if (known.in == now && (!known.only || known.only == towards_) && spelled_alike(key, known.key))
            return known.place;
    return {};
}

void HandleRewriter::refuse(HandleSpot spot) {
    if (!failed_) failed_ = spot;
}

void HandleRewriter::open(char bracket) {
    const bool array = bracket == '[';
    Level inside = place_.inside;
    if (array && depth_ == 0) inside = Level::batch;
    const bool wants_array = inside == Level::batch || inside == Level::tasks || inside == Level::ids;
    if (array != wants_array) inside = Level::other;
    // Towards the server no other way of writing a handle passes.
    if (place_.spot && inside == Level::other && towards_ == Towards::server) refuse(*place_.spot);
    if (depth_ < levels_.size()) levels_[depth_] = inside;
    ++depth_;
    expects_key_ = in_object();
    place_ = {};
    if (inside == Level::batch) place_.inside = Level::message;
    if (inside == Level::tasks) place_.inside = Level::task;
    if (inside == Level::ids) place_.spot = HandleSpot::asked_task;
}

void HandleRewriter::close() {
    if (depth_ > 0) --depth_;
    place_ = {};
    expects_key_ = false;
}

void HandleRewriter::begin_string() {
    constexpr std::size_t longest_key = 64;
    if (expects_key_) {
        role_ = Role::key;
        string_.start(longest_key);
    } else if (place_.spot) {
        role_ = Role::handle;
        string_.start(crypto::kMaxSealedText);
    } else {
        role_ = Role::other;
        string_.start(std::nullopt);
    }
}

void HandleRewriter::end_string(std::string& out) {
    const auto role = std::exchange(role_, Role::none);
    if (role == Role::key) place_ = place_of(string_.text());
    if (role != Role::handle) return;
    const auto text = string_.text();
    const auto replacement =
        text.size() > crypto::kMaxSealedText ? std::nullopt : replace_(*place_.spot, text);
    if (!replacement) refuse(*place_.spot);
    out += replacement ? json_string(*replacement) : "null";
    held_.clear();
}

/// Follows what stands between strings; false when `byte` begins one.
bool HandleRewriter::structure(char byte) {
    switch (byte) {
        case '"':
            return false;
        case '{':
        case '[':
            open(byte);
            break;
        case '}':
        case ']':
            close();
            break;
        case ',':
            if (depth_ == 0 || level() == Level::other) break;
            expects_key_ = in_object();
            if (expects_key_) place_ = {};
            // In an array the next element stands where this one stood.
            if (level() == Level::batch) place_ = {.inside = Level::message};
            if (level() == Level::tasks) place_ = {.inside = Level::task};
            if (level() == Level::ids) place_ = {.spot = HandleSpot::asked_task};
            break;
        case ':':
            expects_key_ = false;
            break;
        case ' ':
        case '\t':
        case '\n':
        case '\r':
            break;
        default:  // a number or a word; of these only null is no handle
            if (place_.spot && !expects_key_ && towards_ == Towards::server && byte != 'n')
                refuse(*place_.spot);
            if (place_.spot) place_ = {};
    }
    return true;
}

void HandleRewriter::feed(std::string_view json, std::string& out) {
    const char* at = json.data();
    const char* const end = at + json.size();
    at_start_ = at_start_ && json.empty();
    if (lost_) {
        out.append(json);
        return;
    }
    const char* unwritten = at;
    while (at != end) {
        if (role_ != Role::none) {
            at = string_.feed(at, end);
            if (role_ == Role::handle) {
                // A handle that is far too long is refused at its end, and need not be kept until then.
                if (held_.size() <= 6 * crypto::kMaxSealedText) held_.append(unwritten, at);
                unwritten = at;
            }
            if (string_.done()) end_string(out);
            continue;
        }
        if (structure(*at)) {
            ++at;
            continue;
        }
        begin_string();
        if (role_ == Role::handle) {
            out.append(unwritten, at);
            unwritten = at;
        }
        ++at;
    }
    if (role_ == Role::handle) {
        held_.append(unwritten, end);
    } else {
        out.append(unwritten, end);
    }
}

void HandleRewriter::line_break(std::string& out) {
    if (role_ == Role::none || lost_) return;
    out += held_;
    held_.clear();
    lost_ = true;
}

}  // namespace claviger::proxy
