// API objects named by people: ids or names in, pages joined, and what all kinds of objects have in common.
#pragma once

#include "admin/cli/admin_client.h"
#include "admin/cli/arguments.h"
#include "admin/cli/screen.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::admin::cli {

/// Everything a command works with.
struct Context {
    Arguments arguments;
    AdminClient api;
    Screen screen;
    int input;  // file descriptor that secrets are read from
};

/// One kind of object of the API.
struct Kind {
    std::string_view word;        // "vault"
    std::string_view path;        // "/v1/vaults"
    std::string_view id_start;    // "vlt_"
    std::string_view name_field;  // "display_name"
};
inline constexpr Kind kVaults{"vault", "/v1/vaults", "vlt_", "display_name"};
inline constexpr Kind kEnvironments{"environment", "/v1/environments", "env_", "name"};
inline constexpr Kind kAgents{"agent", "/v1/agents", "agent_", "name"};
inline constexpr Kind kSessions{"session", "/v1/sessions", "sesn_", "title"};
inline constexpr Kind kApiKeys{"key", "/v1/api_keys", "apikey_", "name"};
inline constexpr Kind kWorkspaces{"workspace", "/v1/workspaces", "wrkspc_", "name"};

/// At most `most` objects (0: all) of as many pages as that takes, as {"data":[…],"next_page":…}.
base::Result<nlohmann::json> list_objects(AdminClient& api, std::string path, const Query& filters,
                                          std::uint64_t most);

/// `--limit` and `--archived` of list commands, applied to `path`.
base::Result<nlohmann::json> list_as_asked(Context& context, const std::string& path, Query filters = {});

/// The id of the object that is called `name_or_id`. Names must be exact and the only one; otherwise the
/// message says what was looked at and what comes close.
base::Result<std::string> id_of(AdminClient& api, const Kind& kind, const std::string& name_or_id);
/// The path of the object, "/v1/vaults/vlt_…".
base::Result<std::string> path_of(AdminClient& api, const Kind& kind, const std::string& name_or_id);
base::Result<std::vector<std::string>> ids_of(AdminClient& api, const Kind& kind,
                                              const std::vector<std::string>& names);

/// The object among `candidates` whose id or `name_field` is `wanted`; the same rules as id_of.
base::Result<nlohmann::json> choose(const nlohmann::json& candidates, const Kind& kind,
                                    const std::string& wanted);

/// get, archive and delete of the first operand.
base::Status get_object(Context& context, const Kind& kind);
base::Status archive_object(Context& context, const Kind& kind);
base::Status delete_object(Context& context, const Kind& kind);
/// Deleting asks for --yes, because nothing brings the object back.
base::Status confirm_delete(Context& context, const std::string& what);

/// --metadata KEY=VALUE and --remove-metadata KEY as a metadata patch; null when neither was given.
base::Result<nlohmann::json> metadata_patch(const Arguments& arguments);

/// "KEY=VALUE" cut at the first "=".
base::Result<std::pair<std::string, std::string>> cut_pair(std::string_view flag, const std::string& text);

/// A new file that only its owner may read, made before what it shall hold is asked for, so that nothing is
/// made that cannot be kept. Removed again when nothing was written.
class PrivateFile {
public:
    /// Nothing without the flag. Fails when the file exists or cannot be made.
    static base::Result<std::optional<PrivateFile>> named_by(const Arguments& arguments,
                                                             std::string_view flag);
    PrivateFile(PrivateFile&& other) noexcept;
    PrivateFile& operator=(PrivateFile&&) = delete;
    ~PrivateFile();

    /// Survives a power cut once this returns.
    base::Status write_line(std::string_view text);
    const std::string& path() const { return path_; }

private:
    PrivateFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
    std::string path_;
    int descriptor_;
};

Flag name_flag();
Flag metadata_flag();
Flag remove_metadata_flag();
Flag limit_flag();
Flag archived_flag();
Flag yes_flag();

}  // namespace claviger::admin::cli
