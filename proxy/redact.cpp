#include "proxy/redact.h"

#include "net/wiping.h"

#include <cstring>
#include <utility>
#include <vector>

namespace claviger::proxy {

struct Redactor::State {
    const std::shared_ptr<const SecretForms> forms;
    std::string held, out;
    std::uint32_t hits = 0;

    explicit State(std::shared_ptr<const SecretForms> of) : forms(std::move(of)) {}
    ~State() {  // the beginning of a secret may have been held until the end
        net::wipe_and_clear(held);
        net::wipe_and_clear(out);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void mask(char* text, const std::vector<Span>& found) {
        for (const auto& span : found) std::memset(text + span.from, '*', span.bytes);
        hits += static_cast<std::uint32_t>(found.size());
    }

    /// Masks everything found, and gives the readings of the text as it is then. What stands behind most
    /// escapes comes first: a backslash must not stay behind alone. `change(found)` masks, and gives the text
    /// as it is then.
    template <class Change>
    Readings find_all(std::string_view& text, Change change) {
        auto readings = forms->read(text);
        for (auto depth = readings.size(); depth > 0; --depth) {
            if (depth > readings.size()) continue;  // what was masked held the escapes
            const auto found = forms->find(*readings[depth - 1]);
            if (found.empty()) continue;
            text = change(found);
            readings = forms->read(text);
        }
        const auto found = forms->find(text);
        if (found.empty()) return readings;
        text = change(found);
        return readings.empty() ? std::move(readings) : forms->read(text);
    }

    /// What was held back and `bytes`, all found in it masked, and its readings.
    std::pair<std::string_view, Readings> masked(std::string_view bytes) {
        std::string_view text = bytes;
        if (!held.empty()) {
            out.assign(held);
            net::append_wiping(out, bytes);
            net::wipe_and_clear(held);
            text = out;
        }
        auto readings = find_all(text, [&](const std::vector<Span>& found) {
            if (text.data() != out.data()) out.assign(text);  // ours to change from here on
            mask(out.data(), found);
            return std::string_view(out);
        });
        return {text, std::move(readings)};
    }
};

Redactor::Redactor(std::shared_ptr<const SecretForms> forms)
    : state_(std::make_unique<State>(std::move(forms))) {}
Redactor::~Redactor() = default;
Redactor::Redactor(Redactor&&) noexcept = default;
Redactor& Redactor::operator=(Redactor&&) noexcept = default;

std::string_view Redactor::pass(std::string_view bytes) {
    auto& state = *state_;
    if (!state.forms->searchable()) return bytes;
    const auto [text, readings] = state.masked(bytes);
    const std::size_t hold = state.forms->hold_from(text, readings);
    state.held.assign(text.substr(hold));
    return text.substr(0, hold);
}

std::string_view Redactor::finish(std::string_view last) {
    auto& state = *state_;
    if (!state.forms->searchable() || (last.empty() && state.held.empty())) return last;
    return state.masked(last).first;
}

void Redactor::redact(std::string& text) {
    if (!state_->forms->searchable()) return;
    std::string_view seen = text;
    state_->find_all(seen, [&](const std::vector<Span>& found) {
        state_->mask(text.data(), found);
        return std::string_view(text);
    });
}

std::uint32_t Redactor::hits() const { return state_->hits; }

}  // namespace claviger::proxy
