#include "oauth/provider_catalog.h"

#include "oauth/provider_files.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace claviger::oauth {
namespace {

using base::ErrorKind;

constexpr std::string_view kFallback = "mcp";
constexpr std::size_t kMostFiles = 1000;
constexpr std::size_t kMostBytes = 65'537;  // one more than a profile may have, so that the parser says so

std::string entry_name(const ProviderCatalog::Entry& entry) { return entry.profile.name; }

/// True when `known` is the URL or one of its ancestor paths.
bool covers(std::string_view known, std::string_view url) {
    if (!url.starts_with(known)) return false;
    return url.size() == known.size() || url[known.size()] == '/' || url[known.size()] == '?';
}

base::Result<std::vector<std::filesystem::path>> files_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    auto at = std::filesystem::directory_iterator(folder, error);
    for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
        const auto name = at->path().filename().string();
        if (name.starts_with('.') || at->path().extension() != ".json") continue;
        files.push_back(at->path());
        if (files.size() > kMostFiles)
            return base::failure(
                ErrorKind::invalid_request, "provider.folder_unreadable",
                "The folder of provider profiles holds more than " + std::to_string(kMostFiles) + " files.",
                "Move away what is not a provider profile.");
    }
    if (error)
        return base::failure(ErrorKind::invalid_request, "provider.folder_unreadable",
                             "The folder of provider profiles cannot be read: " + error.message() + ".",
                             "Check that it exists and that Claviger's user may read it.", folder.string());
    std::ranges::sort(files);
    return files;
}

}  // namespace

base::Result<std::string> read_profile_file(const std::filesystem::path& file) {
    std::error_code error;
    const bool regular = std::filesystem::is_regular_file(file, error);  // a pipe would block
    std::ifstream in;
    if (regular) in.open(file, std::ios::binary);
    std::string text(kMostBytes, '\0');
    if (in.is_open()) in.read(text.data(), std::streamsize(text.size()));
    if (!in.is_open() || in.bad())
        return base::failure(ErrorKind::invalid_request, "provider.file_unreadable",
                             "The provider profile " + file.filename().string() + " cannot be read.",
                             "Check that it is a file and that Claviger's user may read it.", file.string());
    text.resize(std::size_t(in.gcount()));
    return text;
}

ProviderCatalog ProviderCatalog::built_in() {
    ProviderCatalog catalog;
    for (const auto& file : provider_files()) {
        auto profile = parse_profile(file.text, file.name);
        const auto added = profile ? catalog.add(*std::move(profile), false)
                                   : base::Status(std::unexpected(std::move(profile).error()));
        if (added) continue;
        // The tests read every one of them; a program that got here was built from changed files.
        std::fprintf(stderr, "claviger: a built-in provider profile is broken: %s\n",
                     added.error().message.c_str());
        std::abort();
    }
    return catalog;
}

base::Result<ProviderCatalog> ProviderCatalog::with_folder(const std::filesystem::path& folder) {
    auto catalog = built_in();
    const auto files = files_in(folder);
    if (!files) return std::unexpected(files.error());
    for (const auto& file : *files) {
        const auto text = read_profile_file(file);
        if (!text) return std::unexpected(text.error());
        auto profile = parse_profile(*text, file.stem().string());
        if (!profile) return std::unexpected(std::move(profile).error());
        if (auto added = catalog.add(*std::move(profile), true); !added)
            return std::unexpected(std::move(added).error());
    }
    return catalog;
}

base::Status ProviderCatalog::add(ProviderProfile profile, bool own) {
    for (const auto& entry : entries_) {
        if (entry.own != own || entry.profile.name == profile.name) continue;
        for (const auto& url : profile.server_urls)
            if (std::ranges::find(entry.profile.server_urls, url) != entry.profile.server_urls.end())
                return base::failure(ErrorKind::invalid_request, "provider.server_url_taken",
                                     profile.name + ".json: server_urls has " + url + ", which " +
                                         entry.profile.name + ".json has too.",
                                     "A server URL belongs to one profile; remove it from the other.");
    }
    const auto at = std::ranges::lower_bound(entries_, profile.name, {}, entry_name);
    if (at != entries_.end() && at->profile.name == profile.name)
        *at = Entry{std::move(profile), own};
    else
        entries_.insert(at, Entry{std::move(profile), own});
    return {};
}

const ProviderProfile* ProviderCatalog::find(std::string_view name) const {
    const auto at = std::ranges::find(entries_, name, entry_name);
    return at == entries_.end() ? nullptr : &at->profile;
}

const ProviderProfile& ProviderCatalog::for_server_url(std::string_view normal_url) const {
    const Entry* best = nullptr;
    std::size_t best_size = 0;
    for (const auto& entry : entries_)
        for (const auto& known : entry.profile.server_urls) {
            if (!covers(known, normal_url)) continue;
            const bool better = known.size() > best_size || (known.size() == best_size && entry.own);
            if (best == nullptr || better) best = &entry, best_size = known.size();
        }
    return best != nullptr ? best->profile : *find(kFallback);
}

}  // namespace claviger::oauth
