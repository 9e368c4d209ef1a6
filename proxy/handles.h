// What a server hands out to be brought back: task ids, request states, page cursors. To the server all
// agents with one credential are one, so each agent holds a sealed form that opens for nobody else.
#pragma once

#include "base/result.h"
#include "proxy/handle_rewriter.h"
#include "proxy/json_rpc.h"
#include "proxy/session_context.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// What a request asks for. Its views are borrowed.
struct Asked {
    explicit Asked(const Message& message) : method(message.method), name(message.name), uri(message.uri) {}
    std::string_view method, name, uri;
};

/// The handles of one session with one server, whose credential must be known. No table is kept. The same
/// handle has the same sealed form each time, as clients compare ids. A request state is good for what was
/// asked when it was given, and for nothing else. Tasks that an agent runs for a server
/// (2025-11-25) go the other way: the server holds the sealed form. Borrows everything.
class Handles {
public:
    Handles(const vault::KeyRing& keys, const SessionContext& context, const ServerContext& server,
            const Asked& asked)
        : keys_(keys), context_(context), server_(server), asked_(asked) {}

    /// What the agent sees; nullopt for what is too long to be sealed.
    std::optional<std::string> for_agent(HandleSpot spot, std::string_view handle) const;
    /// What the server sees of a handle that it gave to this session; nullopt for any other.
    std::optional<std::string> opened(HandleSpot spot, std::string_view handle) const;
    /// The same, but a task that is not the server's is the agent's own, and goes in its sealed form.
    std::optional<std::string> for_server(HandleSpot spot, std::string_view handle) const;

private:
    std::string binding(std::string_view purpose) const;
    std::optional<std::string> sealed(std::string_view purpose, std::string_view plain) const;
    std::optional<std::string> open(std::string_view purpose, std::string_view sealed) const;

    const vault::KeyRing& keys_;
    const SessionContext& context_;
    const ServerContext& server_;
    Asked asked_;
};

/// A message as the server is to read it.
struct ForServer {
    std::optional<std::string> body = {};     // instead of the agent's, when that holds a handle
    std::optional<std::string> task_id = {};  // params.taskId in it, for Mcp-Name
};
/// `body` is what parse_message made `message` of. Errors: not_found "task.unknown", "state.unknown",
/// "cursor.unknown": not one that this session was given.
base::Result<ForServer> open_handles(const Handles& handles, const Message& message, std::string_view body);

/// A body on its way to the agent, piece by piece.
class HandleStream {
public:
    enum class Body { json, events };
    HandleStream(Handles handles, Body body);
    HandleStream(const HandleStream&) = delete;
    HandleStream& operator=(const HandleStream&) = delete;

    /// The result views `bytes` or an inner text; valid until the next call. unavailable "upstream.invalid":
    /// a handle is too long to be sealed.
    base::Result<std::string_view> pass(std::string_view bytes);
    /// A body that has come whole: as pass(), at less cost when there is no handle in it.
    base::Result<std::string_view> pass_whole(std::string_view body);

private:
    enum class Part { name, space, value, rest };
    std::size_t untouched(std::string_view bytes) const;
    void line(std::string_view bytes);
    void end_line(char byte);

    Handles handles_;
    Body body_;
    HandleRewriter rewriter_;
    std::string out_;
    std::string name_;  // of the field of this line
    Part part_ = Part::name;
    bool at_start_ = true, after_cr_ = false;
};

}  // namespace claviger::proxy
