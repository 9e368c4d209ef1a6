// All provider profiles: those that come with Claviger, and the operator's own.
#pragma once

#include "oauth/provider_profile.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// The text of a profile file, at most a little more than a profile may have. Blocks on the disk. Errors:
/// invalid_request "provider.file_unreadable".
base::Result<std::string> read_profile_file(const std::filesystem::path& file);

/// Never changes once made; may be read from all threads.
class ProviderCatalog {
public:
    /// Only what comes with Claviger.
    static ProviderCatalog built_in();

    /// That, and every *.json of the folder; a file of a built-in name replaces that profile. Blocks on the
    /// disk. One bad file refuses the whole folder. Errors: invalid_request "provider.folder_unreadable",
    /// "provider.file_unreadable", "provider.invalid", "provider.server_url_taken"; the message names the
    /// file and the member.
    static base::Result<ProviderCatalog> with_folder(const std::filesystem::path& folder);

    struct Entry {
        ProviderProfile profile;
        bool own = false;  // from the operator's folder
    };

    /// By name; null when there is none.
    const ProviderProfile* find(std::string_view name) const;
    /// The profile that knows the server, by its URL in normal form: of the entries of server_urls that are
    /// the URL or an ancestor path of it the longest one wins, and the operator's before the built-in one.
    /// The profile "mcp" when no profile knows it.
    const ProviderProfile& for_server_url(std::string_view normal_url) const;
    /// In the order of names.
    const std::vector<Entry>& list() const { return entries_; }

private:
    base::Status add(ProviderProfile profile, bool own);

    std::vector<Entry> entries_;  // sorted by name
};

}  // namespace claviger::oauth
