// Follows JSON-RPC messages that pass by in pieces, and puts other texts where handles stand: task ids,
// request states, page cursors; and where a result says who may have it.
#pragma once

#include "net/json_rpc_answer.h"

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// What stands at one of the places of mcp.md 4 and 5 where a handle can stand.
enum class HandleSpot {
    asked_task,  // params.taskId, and the taskIds of a subscription
    named_task,  // a task in a result, or the one that a message belongs to (_meta)
    state,       // requestState
    cursor,      // nextCursor of a result, cursor of a request
    scope,       // cacheScope: no handle, but a result that holds one is for one agent
};
enum class Towards { agent, server };

class HandleRewriter {
public:
    /// Gives what goes into the place of a handle; nullopt: nothing does, and the message must not pass.
    using Replace = std::function<std::optional<std::string>(HandleSpot spot, std::string_view handle)>;

    HandleRewriter(Towards towards, Replace replace) : towards_(towards), replace_(std::move(replace)) {}

    void start();  // a new JSON text begins; what failed before stays failed
    /// Nothing was fed since start().
    bool at_start() const { return at_start_; }
    /// Appends the text to `out`, byte for byte but for the handles. Holds back a handle until its end.
    void feed(std::string_view json, std::string& out);
    /// A line of an event ends here. No JSON string goes on behind it, so a text that breaks off in one is
    /// not followed any further.
    void line_break(std::string& out);
    /// The spot that could not be replaced; towards the server also one with something else than a text.
    std::optional<HandleSpot> failed() const { return failed_; }

private:
    /// The objects and arrays on the way to a handle; all others only nest.
    enum class Level { other, batch, message, result, params, meta, task, tasks, filter, ids };
    enum class Role { none, key, handle, other };
    struct Place {
        Level inside = Level::other;
        std::optional<HandleSpot> spot = {};
    };
    struct KnownPlace;
    static const KnownPlace kPlaces[];

    Level level() const { return depth_ > levels_.size() ? Level::other : levels_[depth_ - 1]; }
    bool in_object() const;
    Place place_of(std::string_view key) const;
    void open(char bracket);
    void close();
    void begin_string();
    void end_string(std::string& out);
    void refuse(HandleSpot spot);
    bool structure(char byte);

    Towards towards_;
    Replace replace_;
    net::JsonStringReader string_;
    std::string held_;               // the handle as it stands, as far as it has come
    std::array<Level, 8> levels_{};  // deeper ones are `other`
    std::size_t depth_ = 0;
    Place place_ = {.inside = Level::message};  // of the value that comes next
    Role role_ = Role::none;                    // of the string that is being read
    bool expects_key_ = false;
    bool at_start_ = true;
    bool lost_ = false;  // until the next start()
    std::optional<HandleSpot> failed_;
};

}  // namespace claviger::proxy
