// Every route in one table: method, path, who may, what answers.
#pragma once

#include "admin/api/call.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::api {

/// Who may call a route; admins may always.
enum class Access {
    read_runs,      // agents, environments, sessions: every role
    read_objects,   // vaults and credentials: not agent-runner
    read_log,       // auditors
    read_keys,      // auditors
    run,            // create and archive sessions: operators and agent-runners
    write_objects,  // operators
    administer,     // admins alone
};
bool may(vault::Role role, Access access);
/// The roles that have it, for a message: "'admin' or 'operator'".
std::string roles_with(Access access);

/// Hosted routes need the anthropic-beta header that announces managed agents; our own do not.
enum class Dialect { managed_agents, extension };

struct Route {
    std::string_view method;
    std::string_view path;  // below /v1/; {} stands for one segment
    Access access;
    Dialect dialect;
    net::awaitable<Answered> (*run)(Call& call);
};

/// What a path leads to.
struct Match {
    const Route* route = nullptr;  // null: no route for this method
    std::vector<std::string> ids;
    std::string other_methods;  // "GET, POST": what the path has instead; empty: unknown path
};

/// `path` as in the request, from "/v1/" on, percent-encoded.
Match match(std::string_view method, std::string_view path);

}  // namespace claviger::admin::api
