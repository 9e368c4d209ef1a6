#include "oauth/json_document.h"
#include "oauth/profile_forms.h"
#include "oauth/profile_members.h"
#include "oauth/provider_profile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;
using std::chrono::seconds;

constexpr std::size_t kMostEntries = 200;  // of one list or map

/// Fills a value from an object and notes what is wrong, then what is left over.
class Reader {
public:
    Reader(const json& object, std::string place, std::vector<ProfileProblem>& problems)
        : object_(object), place_(std::move(place)), problems_(problems) {}

    void format() {
        const auto* found = find("format", Need::required);
        if (found != nullptr && *found != kProfileFormat)
            fault("format", "must be " + std::to_string(kProfileFormat) + ", the only version there is");
    }

    void text(std::string_view name, std::string& out, TextForm form, Need need = Need::optional) {
        if (const auto* found = find(name, need)) read_text(std::string(name), *found, out, form);
    }

    void texts(std::string_view name, Words& out, TextForm form, Need need = Need::optional) {
        const auto* found = find_list(name, need, "strings");
        if (found == nullptr) return;
        out.clear();
        for (std::size_t i = 0; i < found->size(); ++i) {
            const auto entry = std::string(name) + "." + std::to_string(i);
            read_text(entry, (*found)[i], out.emplace_back(), form);
            if (std::ranges::count(out, out.back()) > 1) fault(entry, "is there twice");
        }
        if (need == Need::required && out.empty()) fault(name, "must not be empty");
    }

    void pairs(std::string_view name, WordMap& out, TextForm names, TextForm values) {
        const auto* found = find_map(name);
        if (found == nullptr) return;
        out.clear();
        for (const auto& [key, value] : found->items()) {
            read_text(named_entry(name, key, names), value, out[key], values);
        }
    }

    template <class E>
    void choice(std::string_view name, E& out, Need need = Need::optional) {
        if (const auto* found = find(name, need)) read_choice(std::string(name), *found, out);
    }

    template <class E>
    void choices(std::string_view name, std::vector<E>& out) {
        const auto* found = find_list(name, Need::optional, "strings");
        if (found == nullptr) return;
        out.clear();
        for (std::size_t i = 0; i < found->size(); ++i) {
            const auto entry = std::string(name) + "." + std::to_string(i);
            if (!read_choice(entry, (*found)[i], out.emplace_back())) continue;
            if (std::ranges::count(out, out.back()) > 1) fault(entry, "is there twice");
        }
        if (out.empty()) fault(name, "must not be empty");
    }

    void flag(std::string_view name, bool& out) {
        const auto* found = find(name, Need::optional);
        if (found == nullptr) return;
        if (!found->is_boolean()) return fault(name, "must be true or false");
        out = found->get<bool>();
    }

    void time(std::string_view name, seconds& out, std::int64_t least, std::int64_t most) {
        if (const auto value = find_number(name, least, most)) out = seconds(*value);
    }
    void time(std::string_view name, std::optional<seconds>& out, std::int64_t least, std::int64_t most) {
        if (const auto value = find_number(name, least, most)) out = seconds(*value);
    }
    template <class N>
    void number(std::string_view name, N& out, std::int64_t least, std::int64_t most) {
        if (const auto value = find_number(name, least, most)) out = static_cast<std::uint32_t>(*value);
    }

    void numbers(std::string_view name, std::vector<std::uint32_t>& out, std::int64_t least,
                 std::int64_t most) {
        const auto* found = find_list(name, Need::optional, "numbers");
        if (found == nullptr) return;
        out.clear();
        for (std::size_t i = 0; i < found->size(); ++i) {
            const auto entry = std::string(name) + "." + std::to_string(i);
            if (const auto value = read_number(entry, (*found)[i], least, most))
                out.push_back(static_cast<std::uint32_t>(*value));
        }
        if (found->empty()) fault(name, "must not be empty");
    }

    template <class T>
    void object(std::string_view name, T& out) {
        if (const auto* found = find(name, Need::optional)) read_object(std::string(name), *found, out);
    }

    template <class T>
    void objects(std::string_view name, std::vector<T>& out) {
        const auto* found = find_list(name, Need::optional, "objects");
        if (found == nullptr) return;
        out.clear();
        for (std::size_t i = 0; i < found->size(); ++i)
            read_object(std::string(name) + "." + std::to_string(i), (*found)[i], out.emplace_back());
    }

    template <class T>
    void object_map(std::string_view name, std::map<std::string, T, std::less<>>& out, TextForm names) {
        const auto* found = find_map(name);
        if (found == nullptr) return;
        for (const auto& [key, value] : found->items())
            read_object(named_entry(name, key, names), value, out[key]);
    }

    /// Members that nobody asked for.
    void finish() {
        std::string known;
        for (const auto& name : known_) known += (known.empty() ? "" : ", ") + std::string(name);
        for (const auto& [key, value] : object_.items())
            if (std::ranges::find(known_, key) == known_.end())
                fault(printable(key), "is not a member of this format; known here are " + known);
    }

private:
    static std::string printable(std::string_view text) {
        std::string out(text.substr(0, 64));
        for (char& c : out)
            if (c < 0x20 || c >= 0x7f) c = '?';
        return out;
    }

    /// Where an entry stands whose name the file's author chose, as messages may say it.
    std::string named_entry(std::string_view of, std::string_view key, TextForm names) {
        auto entry = std::string(of) + "." + printable(key);
        if (const auto wrong = fault_of(names, key); !wrong.empty()) fault(entry, "its name " + wrong);
        return entry;
    }

    void fault(std::string_view name, std::string message) {
        problems_.push_back({place_ + std::string(name), std::move(message)});
    }

    const json* find(std::string_view name, Need need) {
        known_.push_back(name);
        const auto found = object_.find(name);
        if (found != object_.end()) return &*found;
        if (need == Need::required) fault(name, "is missing");
        return nullptr;
    }

    const json* find_list(std::string_view name, Need need, std::string_view of) {
        const auto* found = find(name, need);
        if (found == nullptr) return nullptr;
        if (found->is_array() && found->size() <= kMostEntries) return found;
        fault(name, "must be a list of at most " + std::to_string(kMostEntries) + " " + std::string(of));
        return nullptr;
    }

    const json* find_map(std::string_view name) {
        const auto* found = find(name, Need::optional);
        if (found == nullptr) return nullptr;
        if (found->is_object() && found->size() <= kMostEntries) return found;
        fault(name, "must be an object of at most " + std::to_string(kMostEntries) + " members");
        return nullptr;
    }

    std::optional<std::int64_t> find_number(std::string_view name, std::int64_t least, std::int64_t most) {
        const auto* found = find(name, Need::optional);
        return found == nullptr ? std::nullopt : read_number(std::string(name), *found, least, most);
    }

    std::optional<std::int64_t> read_number(const std::string& name, const json& value, std::int64_t least,
                                            std::int64_t most) {
        const bool fits = value.is_number_integer() &&
                          (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX) &&
                          value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
        if (fits) return value.get<std::int64_t>();
        fault(name, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
        return std::nullopt;
    }

    void read_text(const std::string& name, const json& value, std::string& out, TextForm form) {
        if (!value.is_string()) return fault(name, "must be a string");
        out = value.get<std::string>();
        if (auto wrong = fault_of(form, out); !wrong.empty()) fault(name, std::move(wrong));
    }

    template <class E>
    bool read_choice(const std::string& name, const json& value, E& out) {
        std::string allowed;
        for (const auto& choice : Choices<E>::all) {
            if (value.is_string() && value.get_ref<const std::string&>() == choice.word) {
                out = choice.value;
                return true;
            }
            allowed += (allowed.empty() ? "\"" : ", \"") + std::string(choice.word) + "\"";
        }
        fault(name, "must be one of " + allowed);
        return false;
    }

    template <class T>
    void read_object(const std::string& name, const json& value, T& out) {
        if (!value.is_object()) return fault(name, "must be an object");
        Reader inner(value, place_ + name + ".", problems_);
        members(inner, out);
        inner.finish();
    }

    const json& object_;
    std::string place_;  // "endpoints.", or empty
    std::vector<ProfileProblem>& problems_;
    std::vector<std::string_view> known_;
};

class Writer {
public:
    explicit Writer(json& object) : object_(object) { object_ = json::object(); }

    void format() { object_["format"] = kProfileFormat; }
    void text(std::string_view name, const std::string& value, TextForm form, Need = Need::optional) {
        if (!value.empty() || form == TextForm::scheme || form == TextForm::scope_or_none)
            object_[std::string(name)] = value;
    }
    void texts(std::string_view name, const Words& value, TextForm, Need = Need::optional) {
        object_[std::string(name)] = value;
    }
    void pairs(std::string_view name, const WordMap& value, TextForm, TextForm) {
        object_[std::string(name)] = json::object();
        for (const auto& [key, each] : value) object_[std::string(name)][key] = each;
    }
    template <class E>
    void choice(std::string_view name, E value, Need = Need::optional) {
        object_[std::string(name)] = chosen_word(value);
    }
    template <class E>
    void choices(std::string_view name, const std::vector<E>& values) {
        auto& list = object_[std::string(name)] = json::array();
        for (const auto value : values) list.push_back(chosen_word(value));
    }
    void flag(std::string_view name, bool value) { object_[std::string(name)] = value; }
    void time(std::string_view name, seconds value, std::int64_t, std::int64_t) {
        object_[std::string(name)] = value.count();
    }
    void time(std::string_view name, std::optional<seconds> value, std::int64_t, std::int64_t) {
        if (value) object_[std::string(name)] = value->count();
    }
    void number(std::string_view name, std::uint32_t value, std::int64_t, std::int64_t) {
        if (value != 0) object_[std::string(name)] = value;
    }
    void number(std::string_view name, std::optional<std::uint32_t> value, std::int64_t, std::int64_t) {
        if (value) object_[std::string(name)] = *value;
    }
    void numbers(std::string_view name, const std::vector<std::uint32_t>& value, std::int64_t, std::int64_t) {
        object_[std::string(name)] = value;
    }
    template <class T>
    void object(std::string_view name, T& value) {
        Writer inner(object_[std::string(name)]);
        members(inner, value);
    }
    template <class T>
    void objects(std::string_view name, std::vector<T>& values) {
        auto& list = object_[std::string(name)] = json::array();
        for (auto& value : values) {
            Writer inner(list.emplace_back());
            members(inner, value);
        }
    }
    template <class T>
    void object_map(std::string_view name, std::map<std::string, T, std::less<>>& values, TextForm) {
        auto& map = object_[std::string(name)] = json::object();
        for (auto& [key, value] : values) {
            Writer inner(map[key]);
            members(inner, value);
        }
    }

private:
    json& object_;
};

/// Line and column at which the text stops being JSON.
class FaultFinder final : public nlohmann::json_sax<json> {
public:
    std::optional<std::size_t> position;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return true; }
    bool key(string_t&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception&) override {
        position = at;
        return false;
    }
};

std::string json_fault(std::string_view text, const base::Error& error) {
    if (error.code == "json.too_large") return "is larger than 65536 bytes";
    if (error.code == "json.not_an_object") return "must be a JSON object";
    FaultFinder finder;
    if (json::sax_parse(text.begin(), text.end(), &finder) || !finder.position)
        return "names a member twice in one object, or is nested too deeply";
    const auto before = text.substr(0, std::min(text.size(), *finder.position));
    return "is not valid JSON: line " + std::to_string(1 + std::ranges::count(before, '\n')) +
           " cannot be read (comments and trailing commas are not allowed)";
}

struct Reading {
    ProviderProfile profile;
    std::vector<ProfileProblem> problems;
};

Reading read(std::string_view text, std::string_view name) {
    Reading reading;
    const auto document = parse_object(text);
    if (!document) {
        reading.problems.push_back({"", json_fault(text, document.error())});
        return reading;
    }
    Reader reader(*document, "", reading.problems);
    members(reader, reading.profile);
    reader.finish();
    if (!reading.problems.empty()) return reading;
    if (reading.profile.name != name)
        reading.problems.push_back({"name", "must be the file's name, \"" + std::string(name) + "\""});
    check_consistency(reading.profile, *document, reading.problems);
    return reading;
}

}  // namespace

base::Result<ProviderProfile> parse_profile(std::string_view text, std::string_view name) {
    auto reading = read(text, name);
    if (reading.problems.empty()) return std::move(reading.profile);
    const auto& first = reading.problems.front();
    const auto more = reading.problems.size() - 1;
    return base::failure(
        ErrorKind::invalid_request, "provider.invalid",
        std::string(name) + ".json: " + (first.member.empty() ? "the file" : first.member) + " " +
            first.message + ".",
        (more == 0 ? "" : "There are " + std::to_string(more) + " further problems. ") +
            "`claviger provider test FILE` lists them all; docs/provider_profiles.md describes the format.");
}

std::vector<ProfileProblem> problems_in(std::string_view text, std::string_view name) {
    return read(text, name).problems;
}

json to_json(const ProviderProfile& profile) {
    auto copy = profile;
    json document;
    Writer writer(document);
    members(writer, copy);
    return document;
}

std::string_view word_of(GrantType grant) { return chosen_word(grant); }
std::string_view word_of(EndpointsFrom source) { return chosen_word(source); }
std::string_view word_of(EvidenceStatus status) { return chosen_word(status); }

}  // namespace claviger::oauth
