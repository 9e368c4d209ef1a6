// The profiles of oauth/providers/*.json, put into the program when it is built.
#pragma once

#include <span>
#include <string_view>

namespace claviger::oauth {

struct ProviderFile {
    std::string_view name;  // "github"
    std::string_view text;
};

std::span<const ProviderFile> provider_files();

}  // namespace claviger::oauth
