// One page for people: a card with a title, some lines, and perhaps a button.
#pragma once

#include "net/http.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::admin::api {

enum class Mood { asking, good, bad };

/// Texts are plain; the page escapes them.
struct Page {
    unsigned status = 200;
    Mood mood = Mood::asking;
    std::string title;
    std::vector<std::string> paragraphs = {};
    std::vector<std::pair<std::string, std::string>> facts = {};  // shown as a small table
    std::string button = {}, leads_to = {};  // the latter relative, made of letters, digits and "/._-"
    std::string code = {};                   // for those who ask somebody for help
};

net::Response rendered(const Page& page);

}  // namespace claviger::admin::api
