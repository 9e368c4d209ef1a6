#include "admin/api/page.h"

#include "crypto/sealed_text.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

std::string context_of(const Call& call, const ListName& list) {
    std::string context = "page:";
    context += list.resource;
    context += ':';
    context += list.order;
    context += ':';
    for (const auto& id : {call.workspace().raw, list.scope})
        context.append(reinterpret_cast<const char*>(id.data()), id.size());
    return context;
}

}  // namespace

std::string seal_cursor(const Call& call, const ListName& list, const Cursor& cursor) {
    base::Bytes plain(1, cursor.back ? '<' : '>');
    base::append_big_endian(plain, cursor.created_seq);
    base::append_big_endian(plain, static_cast<std::uint64_t>(cursor.created.time_since_epoch().count()));
    return crypto::seal_text(call.records.keys().derived(crypto::Purpose::cursors), context_of(call, list),
                             plain);
}

base::Result<std::optional<Cursor>> cursor_of(const Call& call, const ListName& list) {
    const auto given = call.query.text("page");
    if (!given) return std::nullopt;
    const auto plain = crypto::open_text(call.records.keys().derived(crypto::Purpose::cursors),
                                         context_of(call, list), *given);
    if (!plain || plain->size() != 17)
        return base::failure(
            base::ErrorKind::invalid_request, "page.invalid",
            "page: is not a cursor of this list in this order",
            "Use next_page of an answer to the same list unchanged, or start again without page.");
    const auto created = base::read_big_endian<std::uint64_t>(plain->data() + 9);
    return Cursor{.back = plain->front() == '<',
                  .created_seq = base::read_big_endian<std::uint64_t>(plain->data() + 1),
                  .created = base::Time(std::chrono::milliseconds(created))};
}

Answer page_answer(Json data, const std::optional<std::string>& next) {
    return answer({{"data", std::move(data)}, {"next_page", next ? Json(*next) : Json(nullptr)}});
}

}  // namespace claviger::admin::api
