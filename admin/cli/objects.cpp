#include "admin/cli/objects.h"

#include "vault/durable_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

constexpr std::uint64_t kPage = 100;
constexpr int kMostPages = 10'000;

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return text;
}

std::string name_of(const json& object, const Kind& kind) {
    const auto at = object.find(kind.name_field);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

/// "'Alice' (vlt_…), 'alice2' (vlt_…)", at most five.
std::string listed(const std::vector<json>& objects, const Kind& kind) {
    std::string text;
    for (std::size_t i = 0; i < objects.size() && i < 5; ++i)
        text += (i == 0 ? "'" : ", '") + cell_text(name_of(objects[i], kind)) + "' (" +
                objects[i].value("id", "?") + ")";
    if (objects.size() > 5) text += ", and " + std::to_string(objects.size() - 5) + " more";
    return text;
}

std::unexpected<base::Error> nothing_chosen(const json& candidates, const Kind& kind,
                                            const std::string& wanted) {
    std::vector<json> close;
    for (const auto& each : candidates) {
        const auto name = lower(name_of(each, kind)), asked = lower(wanted);
        if (!name.empty() && (name.contains(asked) || asked.contains(name))) close.push_back(each);
    }
    const std::string word(kind.word);
    return base::failure(base::ErrorKind::not_found, "cli.name_unknown",
                         "No " + word + " is called '" + wanted + "' (looked through " +
                             std::to_string(candidates.size()) + ").",
                         close.empty() ? "See `claviger " + word + " list`."
                                       : "Names that come close: " + listed(close, kind) + ".");
}

}  // namespace

base::Result<json> list_objects(AdminClient& api, std::string path, const Query& filters,
                                std::uint64_t most) {
    json all = {{"data", json::array()}, {"next_page", nullptr}};
    std::optional<std::string> page;
    for (int pages = 0; pages < kMostPages; ++pages) {
        const auto missing = most == 0 ? kPage : std::min(kPage, most - all["data"].size());
        Query query = filters;
        query.add("limit", std::to_string(missing));
        query.add("page", page);
        auto answer = api.get(path + query.text());
        if (!answer) return answer;
        for (auto& each : (*answer)["data"]) all["data"].push_back(std::move(each));
        all["next_page"] = (*answer)["next_page"];
        if (!all["next_page"].is_string() || (most != 0 && all["data"].size() >= most)) break;
        page = all["next_page"].get<std::string>();
    }
    return all;
}

base::Result<json> list_as_asked(Context& context, const std::string& path, Query filters) {
    const auto most = context.arguments.number_or("--limit", kPage);
    if (!most) return std::unexpected(most.error());
    if (context.arguments.has("--archived")) filters.add("include_archived", "true");
    return list_objects(context.api, path, filters, *most);
}

base::Result<json> choose(const json& candidates, const Kind& kind, const std::string& wanted) {
    std::vector<json> found;
    for (const auto& each : candidates)
        if (each.value("id", "") == wanted || name_of(each, kind) == wanted) found.push_back(each);
    if (found.size() == 1) return found.front();
    if (found.empty()) return nothing_chosen(candidates, kind, wanted);
    return base::failure(base::ErrorKind::conflict, "cli.name_ambiguous",
                         "'" + wanted + "' is the name of " + std::to_string(found.size()) +
                             " objects: " + listed(found, kind) + ".",
                         "Use the id of the one you mean.");
}

base::Result<std::string> id_of(AdminClient& api, const Kind& kind, const std::string& name_or_id) {
    if (name_or_id.starts_with(std::string(kind.id_start) + "01")) return name_or_id;
    const auto all = list_objects(api, std::string(kind.path), {}, 0);
    if (!all) return std::unexpected(all.error());
    const auto chosen = choose(all->at("data"), kind, name_or_id);
    if (!chosen) return std::unexpected(chosen.error());
    return chosen->at("id").get<std::string>();
}

base::Result<std::string> path_of(AdminClient& api, const Kind& kind, const std::string& name_or_id) {
    auto id = id_of(api, kind, name_or_id);
    if (!id) return id;
    return std::string(kind.path) + "/" + *id;
}

base::Result<std::vector<std::string>> ids_of(AdminClient& api, const Kind& kind,
                                              const std::vector<std::string>& names) {
    std::vector<std::string> ids;
    for (const auto& name : names) {
        auto id = id_of(api, kind, name);
        if (!id) return std::unexpected(std::move(id).error());
        ids.push_back(*std::move(id));
    }
    return ids;
}

base::Status get_object(Context& context, const Kind& kind) {
    const auto path = path_of(context.api, kind, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto object = context.api.get(*path);
    if (!object) return std::unexpected(object.error());
    context.screen.object(*object);
    return {};
}

base::Status archive_object(Context& context, const Kind& kind) {
    const auto path = path_of(context.api, kind, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.post(*path + "/archive");
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "Archived " + std::string(kind.word) + " " + answer->value("id", "") + ".");
    return {};
}

base::Status confirm_delete(Context& context, const std::string& what) {
    if (context.arguments.has("--yes")) return {};
    return usage(
        "Deleting " + what + " cannot be undone, so nothing was done.",
        "Repeat the command with --yes, or archive instead: that keeps the record and purges secrets.");
}

base::Status delete_object(Context& context, const Kind& kind) {
    const auto& name = context.arguments.operands()[0];
    if (auto sure = confirm_delete(context, std::string(kind.word) + " '" + name + "'"); !sure) return sure;
    const auto path = path_of(context.api, kind, name);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.erase(*path);
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "Deleted " + std::string(kind.word) + " " + answer->value("id", "") + ".");
    return {};
}

base::Result<std::pair<std::string, std::string>> cut_pair(std::string_view flag, const std::string& text) {
    const auto at = text.find('=');
    if (at == std::string::npos || at == 0)
        return usage(std::string(flag) + " must be of the form KEY=VALUE, but is '" + text + "'.");
    return std::pair{text.substr(0, at), text.substr(at + 1)};
}

base::Result<json> metadata_patch(const Arguments& arguments) {
    json patch;
    for (const auto& text : arguments.values("--metadata")) {
        const auto pair = cut_pair("--metadata", text);
        if (!pair) return std::unexpected(pair.error());
        patch[pair->first] = pair->second;
    }
    for (const auto& key : arguments.values("--remove-metadata")) patch[key] = nullptr;
    return patch;
}

base::Result<std::optional<PrivateFile>> PrivateFile::named_by(const Arguments& arguments,
                                                               std::string_view flag) {
    const auto path = arguments.value(flag);
    if (!path) return std::optional<PrivateFile>();
    const int opened = ::open(path->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    std::optional<PrivateFile> file;
    if (opened >= 0) file.emplace(PrivateFile(*path, opened));
    if (!file || !vault::sync_folder(std::filesystem::path(*path).parent_path()))
        return usage("The file " + *path + " cannot be created: " + std::strerror(errno) + ".",
                     "Name a file that does not exist yet, in a folder you may write to.");
    return file;
}

PrivateFile::PrivateFile(PrivateFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

PrivateFile::~PrivateFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(path_.c_str());
}

base::Status PrivateFile::write_line(std::string_view text) {
    const std::string line = std::string(text) + "\n";
    const bool written =
        ::write(descriptor_, line.data(), line.size()) == ssize_t(line.size()) && ::fsync(descriptor_) == 0;
    if (::close(std::exchange(descriptor_, -1)) == 0 && written) return {};
    return usage("The file " + path_ + " could not be written: " + std::strerror(errno) + ".",
                 "Is the disk full? What should have stood in it is lost; revoke it and make another.");
}

Flag name_flag() { return {"--name", "NAME", "what people call it"}; }
Flag metadata_flag() { return {"--metadata", "KEY=VALUE", "note to keep with the object", true}; }
Flag remove_metadata_flag() { return {"--remove-metadata", "KEY", "note to drop", true}; }
Flag limit_flag() { return {"--limit", "N", "show at most N, newest first (default: 100; 0: all)"}; }
Flag archived_flag() { return {"--archived", "", "show archived ones too"}; }
Flag yes_flag() { return {"--yes", "", "really delete; without it nothing is done"}; }

}  // namespace claviger::admin::cli
