// Pages of lists: which objects, and the sealed cursors that lead on and back.
#pragma once

#include "admin/api/call.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace claviger::admin::api {

/// Where a page begins. `back`: it ends before that place instead of beginning after it.
struct Cursor {
    bool back = false;
    std::uint64_t created_seq = 0;
    base::Time created{};
};

/// What cursors of one list are bound to; another list, owner or order cannot open them.
struct ListName {
    std::string_view resource;
    base::RawId scope{};
    std::string_view order = "desc";
};

std::string seal_cursor(const Call& call, const ListName& list, const Cursor& cursor);
/// From the parameter `page`; nothing when there is none. invalid_request "page.invalid".
base::Result<std::optional<Cursor>> cursor_of(const Call& call, const ListName& list);

/// {"data":…,"next_page":…}
Answer page_answer(Json data, const std::optional<std::string>& next);

template <class T>
struct Page {
    std::vector<vault::Ref<T>> objects;
    std::optional<std::string> next, previous;
};

template <class T>
struct Listing {
    ListName name;
    std::size_t default_limit = 20, most = 100;
    TimeBounds created{};
    enum class Archived { as_asked, shown } archived = Archived::as_asked;
    std::function<bool(const T&)> wanted = {};  // besides include_archived and created
};

/// Reads limit, page and include_archived. Archived objects are left out unless asked for.
template <class T>
base::Result<Page<T>> page_of(const Call& call, const Listing<T>& listing) {
    const auto limit = call.query.limit(listing.default_limit, listing.most);
    if (!limit) return std::unexpected(limit.error());
    auto archived = call.query.flag("include_archived");
    if (!archived) return std::unexpected(archived.error());
    if (listing.archived == Listing<T>::Archived::shown) archived = true;
    const auto cursor = cursor_of(call, listing.name);
    if (!cursor) return std::unexpected(cursor.error());
    if (*cursor && !listing.created.contains((*cursor)->created))
        return base::failure(base::ErrorKind::invalid_request, "page.invalid",
                             "page: the created_at bounds exclude the place where this page begins",
                             "Start again without page.");

    using Order = typename vault::PageQuery<T>::Order;
    const bool newest_first = listing.name.order == "desc";
    const bool back = *cursor && (*cursor)->back;
    vault::PageQuery<T> query{.scope = listing.name.scope,
                              .order = newest_first != back ? Order::newest_first : Order::oldest_first,
                              .after = *cursor ? std::optional((*cursor)->created_seq) : std::nullopt,
                              .limit = *limit,
                              .wanted = [&](const T& object) {
                                  if constexpr (requires { object.archived; })
                                      if (object.archived && !*archived) return false;
                                  return listing.created.contains(object.created) &&
                                         (!listing.wanted || listing.wanted(object));
                              }};
    Page<T> page{.objects = call.catalog().page(query), .next = {}, .previous = {}};
    const bool more = page.objects.size() > *limit;
    if (more) page.objects.pop_back();
    if (back) std::ranges::reverse(page.objects);
    if (page.objects.empty()) return page;

    const auto cursor_at = [&](const T& object, bool leads_back) {
        return seal_cursor(call, listing.name, {leads_back, object.created_seq, object.created});
    };
    if (back || more) page.next = cursor_at(*page.objects.back(), false);
    if (back ? more : cursor->has_value()) page.previous = cursor_at(*page.objects.front(), true);
    return page;
}

}  // namespace claviger::admin::api
