// One thing about the host that makes secrets safer or less safe there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace claviger::server {

enum class Finding {
    good,
    weak,     // works, and an attacker or a power cut has it easier than necessary
    unknown,  // cannot be known from here
};

struct HostCheck {
    std::string_view name;  // "memory.swap"
    Finding finding = Finding::good;
    std::string found;        // one sentence
    std::string advice = {};  // what to do; empty when good
};
using HostChecks = std::vector<HostCheck>;

/// The first bytes of a file under /proc or /sys, without the line end; empty when it cannot be read.
std::string kernel_text(const std::string& file);

}  // namespace claviger::server
