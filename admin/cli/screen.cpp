#include "admin/cli/screen.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace claviger::admin::cli {

using nlohmann::json;

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

/// A name may hold anything; on a terminal it must not move the cursor.
std::string printable(std::string text) {
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    return text;
}

std::size_t width_of(std::string_view text) {
    return std::size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(std::string text, std::size_t width) {
    const auto shown = width_of(text);
    if (shown < width) text.append(width - shown, ' ');
    return text;
}

const json& at_pointer(const json& object, std::string_view pointer) {
    static const json absent;
    const json::json_pointer place{std::string(pointer)};
    return object.contains(place) ? object.at(place) : absent;
}

void flatten(const json& value, const std::string& name, Fields& out) {
    const bool has_objects =
        value.is_array() && std::ranges::any_of(value, [](const json& each) { return each.is_object(); });
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, each] : value.items())
            flatten(each, name.empty() ? key : name + "." + key, out);
    } else if (has_objects) {
        for (std::size_t i = 0; i < value.size(); ++i)
            flatten(value[i], name + "[" + std::to_string(i) + "]", out);
    } else {
        out.emplace_back(name, cell_text(value));
    }
}

std::string joined(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i)
        line += i + 1 < cells.size() ? padded(cells[i], widths[i]) + "  " : cells[i];
    return line;
}

}  // namespace

std::string cell_text(const json& value) {
    if (value.is_null()) return "-";
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        return text.empty() ? "-" : printable(text);
    }
    if (value.is_array() || value.is_object()) {
        std::string text;
        for (const auto& [key, each] : value.items())
            text += (text.empty() ? "" : ", ") + (value.is_object() ? printable(key) + "=" : "") +
                    cell_text(each);
        return text.empty() ? "-" : text;
    }
    return value.dump();
}

void Screen::line(std::string_view text) { out_ << text << "\n" << std::flush; }

void Screen::document(const nlohmann::json& document) {
    line(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Screen::done(const nlohmann::json& answer, std::string_view sentence) {
    if (json_) return document(answer);
    line(sentence);
}

void Screen::object(const nlohmann::json& object) {
    if (json_) return document(object);
    Fields fields;
    // Who it is stands first; the rest in alphabetical order.
    for (const auto first : {"id", "display_name", "name", "title"})
        if (object.contains(first)) flatten(object.at(first), first, fields);
    for (const auto& [key, value] : object.items())
        if (std::ranges::none_of(fields, [&key](const auto& field) { return field.first == key; }) &&
            key != "type")
            flatten(value, key, fields);
    std::size_t width = 0;
    for (const auto& [name, value] : fields) width = std::max(width, width_of(name));
    for (const auto& [name, value] : fields) line(padded(name, width) + "  " + value);
}

void Screen::list(const nlohmann::json& page, const std::vector<Column>& columns,
                  std::string_view when_empty) {
    if (json_) return document(page);
    const auto& rows = page.at("data");
    if (rows.empty()) return line(when_empty);
    std::vector<std::string> titles;
    std::vector<std::size_t> widths;
    for (const auto& column : columns) {
        titles.emplace_back(column.title);
        widths.push_back(column.title.size());
        for (const auto& each : rows)
            widths.back() = std::max(widths.back(), width_of(cell_text(at_pointer(each, column.pointer))));
    }
    line(joined(titles, widths));
    for (const auto& each : rows) row(each, columns, widths);
}

void Screen::row(const nlohmann::json& object, const std::vector<Column>& columns,
                 std::vector<std::size_t>& widths) {
    if (json_) return line(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    std::vector<std::string> cells;
    widths.resize(columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i) {
        cells.push_back(cell_text(at_pointer(object, columns[i].pointer)));
        widths[i] = std::max(widths[i], width_of(cells.back()));
    }
    line(joined(cells, widths));
}

}  // namespace claviger::admin::cli
