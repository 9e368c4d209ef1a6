// What the operator gets to see: the API's JSON with --json, otherwise tables and lines that fit a terminal.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::cli {

/// A column of a table, and the JSON pointer of its value in each object.
struct Column {
    std::string_view title;    // "NAME"
    std::string_view pointer;  // "/auth/type"
};

class Screen {
public:
    Screen(std::ostream& out, std::ostream& err, bool json) : out_(out), err_(err), json_(json) {}

    bool json() const { return json_; }
    std::ostream& err() { return err_; }
    void line(std::string_view text);
    void document(const nlohmann::json& document);

    /// The document with --json, otherwise `sentence` alone.
    void done(const nlohmann::json& document, std::string_view sentence);
    /// The document with --json, otherwise one line per field; nested fields as "auth.type".
    void object(const nlohmann::json& object);
    /// The page with --json, otherwise a table of its "data", or `when_empty`.
    void list(const nlohmann::json& page, const std::vector<Column>& columns, std::string_view when_empty);
    /// Rows without a title line, columns at least `widths` wide; for output that grows line by line.
    void row(const nlohmann::json& object, const std::vector<Column>& columns,
             std::vector<std::size_t>& widths);

private:
    std::ostream& out_;
    std::ostream& err_;
    bool json_;
};

/// A JSON value as one cell: null and absent are "-", lists are joined by ", ", control characters shown as
/// "?".
std::string cell_text(const nlohmann::json& value);

}  // namespace claviger::admin::cli
