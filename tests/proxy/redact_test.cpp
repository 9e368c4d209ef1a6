#include "proxy/redact.h"

#include "base/bytes.h"
#include "tests/support/spec.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace claviger;
using proxy::Redactor;

namespace {

struct Form {
    std::string name, text;
    std::size_t core_from = 0, core_bytes = 0;  // the part that depends on the secret alone
};

std::string percent(std::string_view secret, const char* digits, bool every_byte) {
    std::string out;
    for (const char c : secret) {
        if (!every_byte && (std::isalnum(static_cast<unsigned char>(c)) ||
                            std::string_view("-._~").find(c) != std::string_view::npos)) {
            out += c;
        } else {
            out += '%';
            out += digits[static_cast<unsigned char>(c) >> 4];
            out += digits[static_cast<unsigned char>(c) & 15];
        }
    }
    return out;
}

std::string unicode_escaped(std::string_view secret, std::size_t every) {
    std::string out;
    for (std::size_t i = 0; i < secret.size(); ++i) {
        const auto byte = static_cast<unsigned char>(secret[i]);
        if (byte >= 0xc2 && byte < 0xe0) {  // two bytes of UTF-8 are one code
            const unsigned code = (byte & 31U) << 6 | (static_cast<unsigned char>(secret[i + 1]) & 63U);
            out += "\\u0" +
                   base::to_hex(std::string{static_cast<char>(code >> 8), static_cast<char>(code)}).substr(1);
            ++i;
        } else if (i % every == 0)
            out += "\\u00" + base::to_hex(secret.substr(i, 1));
        else if (secret[i] == '"' || secret[i] == '\\')
            (out += '\\') += secret[i];
        else
            out += secret[i];
    }
    return out;
}

std::string with_escapes_before(std::string_view secret, std::string_view escaped) {
    std::string out;
    for (const char c : secret) {
        if (escaped.find(c) != escaped.npos) out += '\\';
        out += c;
    }
    return out;
}

/// As encoders do that know of HTML: "\u0026" for '&'.
std::string with_codes_for(std::string_view text, std::string_view escaped) {
    std::string out;
    for (const char c : text) {
        if (escaped.find(c) != escaped.npos)
            out += "\\u00" + base::to_hex({&c, 1});
        else
            out += c;
    }
    return out;
}

std::string upper(std::string text) {
    for (auto& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

Form whole(std::string name, std::string text) {
    const auto bytes = text.size();
    return {std::move(name), std::move(text), 0, bytes};
}

/// base64 of the secret behind `before` other bytes and in front of `after` more.
Form base64(std::string_view secret, std::size_t before, std::size_t after, bool url_safe) {
    const auto joined = std::string(before, '#') + std::string(secret) + std::string(after, '#');
    auto text = url_safe ? base::to_base64url(joined) : base::to_base64(joined);
    const auto from = (before * 8 + 5) / 6, end = (before + secret.size()) * 8 / 6;
    return {"base64 " + std::to_string(before) + "/" + std::to_string(after) + (url_safe ? " url" : ""),
            std::move(text), from, end - from};
}

std::string in_json(std::string_view text) { return with_escapes_before(text, "\"\\"); }
std::string in_json_with_slashes(std::string_view text) { return with_escapes_before(text, "\"\\/"); }
std::string in_json_for_html(std::string_view text) { return with_codes_for(in_json(text), "+/&<>="); }
std::string in_url(std::string_view text) { return percent(text, "0123456789ABCDEF", false); }

/// `escape` treats each character alone.
Form escaped(const Form& form, const std::string& how, std::string (*escape)(std::string_view)) {
    const std::string_view text = form.text;
    const auto before = escape(text.substr(0, form.core_from)),
               core = escape(text.substr(form.core_from, form.core_bytes)),
               after = escape(text.substr(form.core_from + form.core_bytes));
    return {form.name + " " + how, before + core + after, before.size(), core.size()};
}

std::vector<Form> forms_of(const std::string& secret) {
    std::vector<Form> forms{
        whole("plain", secret),
        whole("JSON", with_escapes_before(secret, "\"\\")),
        whole("JSON with slashes", with_escapes_before(secret, "\"\\/")),
        whole("percent", percent(secret, "0123456789ABCDEF", false)),
        whole("percent, lower", percent(secret, "0123456789abcdef", false)),
        whole("percent, all", percent(secret, "0123456789ABCDEF", true)),
        whole("\\u, all", unicode_escaped(secret, 1)),
        whole("\\u, some", unicode_escaped(secret, 3)),
        whole("JSON in JSON", in_json(in_json(secret))),
        whole("JSON in JSON, slashes", in_json_with_slashes(in_json_with_slashes(secret))),
        whole("JSON for HTML in JSON", in_json(in_json_for_html(secret))),
        whole("\\u in JSON", in_json(unicode_escaped(secret, 1))),
        whole("percent in JSON", in_json_with_slashes(in_url(secret))),
        whole("percent twice", in_url(in_url(secret)))};
    if (secret.size() < 8) return forms;
    forms.push_back(whole("hex, percent", percent(base::to_hex(secret), "0123456789ABCDEF", true)));
    forms.push_back(whole("hex", base::to_hex(secret)));
    forms.push_back(whole("HEX", upper(base::to_hex(secret))));
    for (const bool url_safe : {false, true})
        for (std::size_t before = 0; before < 4; ++before)
            for (std::size_t after = 0; after < 3; ++after)
                forms.push_back(base64(secret, before, after, url_safe));
    for (std::size_t before = 0; before < 3; ++before) {
        const auto encoded = base64(secret, before, 1, false);
        forms.push_back(escaped(encoded, "in JSON, slashes", in_json_with_slashes));
        forms.push_back(escaped(encoded, "in JSON for HTML", in_json_for_html));
        forms.push_back(escaped(encoded, "in a URL", in_url));
        forms.push_back(
            escaped(escaped(encoded, "in JSON, slashes", in_json_with_slashes), "in JSON", in_json));
    }
    return forms;
}

/// The answer when `text` comes in pieces that end at `cuts`.
std::string pass_in_pieces(Redactor& redactor, std::string_view text, const std::vector<std::size_t>& cuts) {
    std::string out;
    std::size_t from = 0;
    for (const auto cut : cuts) {
        // A block of exactly that size: the address sanitiser sees every read behind its end.
        const std::vector<char> piece(text.begin() + static_cast<std::ptrdiff_t>(from),
                                      text.begin() + static_cast<std::ptrdiff_t>(cut));
        out += redactor.pass({piece.data(), piece.size()});
        from = cut;
    }
    out += redactor.pass(text.substr(from));
    out += redactor.finish({});
    return out;
}

Redactor redactor_of(std::string_view secret) {
    return Redactor(std::make_shared<const proxy::SecretForms>(crypto::Secret::copy_of(secret)));
}

const std::vector<std::string> kSecrets{
    "up_fixed-S3cret.~value",  // nothing to escape
    "ab\"cd\\ef/gh+ij=kl",     // JSON, percent and base64 specials
    "a/b/c/d/e/f",             // only slashes
    "q\"u\"o\"t\"e\"d",        // only quotes
    "\\\\back\\\\slash",       // begins with what escapes
    "50%25%25%41percent",      // looks percent-encoded itself
    "aaaaaaaabaaaaaaaab",      // overlaps with itself
    "abcdabcd",                // eight bytes
    "a+b/",                    // four bytes: the shortest that is looked for
    "sevenB7",                 // encodings of so short a secret are ordinary text
    "v\xc3\xbcnd secret with spaces",
    "k?>~k?>~k&<k>",  // base64 of it has + and /, and encoders for HTML escape it
};

}  // namespace

TEST_CASE("The secret is found in every form and at every split of the stream", "[proxy][redact]") {
    for (const auto& secret : kSecrets) {
        for (const auto& form : forms_of(secret)) {
            INFO(secret << " as " << form.name);
            const std::string before = R"(data: {"text":"x)", after = "y\"}\n\n";
            const auto text = before + form.text + after;
            auto expected = text;
            std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(before.size() + form.core_from),
                        form.core_bytes, '*');

            auto at_once = redactor_of(secret);
            REQUIRE(pass_in_pieces(at_once, text, {}) == expected);
            CHECK(at_once.hits() == 1);

            std::size_t wrong = 0;
            for (std::size_t cut = 1; cut < text.size(); ++cut) {
                auto redactor = redactor_of(secret);
                wrong += pass_in_pieces(redactor, text, {cut}) != expected || redactor.hits() != 1;
            }
            CHECK(wrong == 0);

            for (std::size_t size = 1; size < text.size(); ++size) {
                std::vector<std::size_t> cuts;
                for (std::size_t at = size; at < text.size(); at += size) cuts.push_back(at);
                auto redactor = redactor_of(secret);
                wrong += pass_in_pieces(redactor, text, cuts) != expected;
            }
            CHECK(wrong == 0);

            std::string header = text;
            auto in_place = redactor_of(secret);
            in_place.redact(header);
            CHECK(header == expected);
        }
    }
}

TEST_CASE("Several forms in one stream are all found, wherever it is cut twice", "[proxy][redact]") {
    const std::string secret = "tok/en\"12+=";
    const auto forms = forms_of(secret);
    for (const auto& first : forms) {
        const auto& second = forms[6];  // an escaped one behind it, which only a second look finds
        const auto text = "<" + first.text + "|" + second.text + ">";
        auto expected = text;
        std::fill_n(expected.begin() + 1 + static_cast<std::ptrdiff_t>(first.core_from), first.core_bytes,
                    '*');
        std::fill_n(expected.begin() + 2 + static_cast<std::ptrdiff_t>(first.text.size()), second.text.size(),
                    '*');
        std::size_t wrong = 0;
        for (std::size_t one = 0; one < text.size(); one += 3)
            for (std::size_t two = one; two < text.size(); two += 2) {
                auto redactor = redactor_of(secret);
                wrong += pass_in_pieces(redactor, text, {one, two}) != expected;
            }
        INFO(first.name);
        CHECK(wrong == 0);
    }
}

TEST_CASE("Repeated and touching secrets leave nothing behind", "[proxy][redact]") {
    const std::string secret = "abcabcab";
    std::string text;
    for (int i = 0; i < 20; ++i) text += "abc";  // overlapping matches everywhere
    for (std::size_t size = 1; size <= text.size(); ++size) {
        std::vector<std::size_t> cuts;
        for (std::size_t at = size; at < text.size(); at += size) cuts.push_back(at);
        auto redactor = redactor_of(secret);
        const auto out = pass_in_pieces(redactor, text, cuts);
        INFO(size);
        CHECK(out.size() == text.size());
        CHECK(out.find(secret) == std::string::npos);
    }
    auto redactor = redactor_of(secret);
    CHECK(pass_in_pieces(redactor, secret + secret + secret, {}) == std::string(24, '*'));
    CHECK(redactor.hits() == 3);
}

TEST_CASE("Nothing is held back at the end of an event", "[proxy][redact]") {
    for (const auto& secret : kSecrets) {
        auto redactor = redactor_of(secret);
        for (const auto& event :
             {"data: " + secret.substr(0, secret.size() - 1) + "\n\n",
              std::string("data: 100% {\"a\":\"\\\\\"}\r\n\r\n"), std::string(": comment\n\n"),
              "data: \\u00" + base::to_hex(secret.substr(0, 1)) + "\n\n",
              "id: " + secret.substr(0, 3) + "\rdata:\r\r", std::string("data: %4\n\n")}) {
            INFO(secret << " | " << event);
            CHECK(redactor.pass(event) == event);
        }
        CHECK(redactor.finish({}).empty());
        CHECK(redactor.hits() == 0);
    }
}

TEST_CASE("The last bytes pass with what was held back, masked and complete", "[proxy][redact]") {
    for (const auto& secret : kSecrets) {
        for (std::size_t cut = 0; cut <= secret.size(); ++cut) {
            auto redactor = redactor_of(secret);
            auto out = std::string(redactor.pass("a " + secret.substr(0, cut)));
            out += redactor.finish(secret.substr(cut) + " b " + secret.substr(0, 3));
            CHECK(out == "a " + std::string(secret.size(), '*') + " b " + secret.substr(0, 3));
            CHECK(redactor.hits() == 1);
        }
    }
}

TEST_CASE("What comes close to the secret passes unchanged, in time and complete", "[proxy][redact]") {
    for (const auto& secret : kSecrets) {
        auto wrong = secret;
        wrong.back() = wrong.back() == 'x' ? 'y' : 'x';
        const auto text = "[" + secret.substr(0, secret.size() - 1) + "]" + wrong + secret.substr(1) + "%" +
                          secret.substr(0, 2) + "\\u00" + secret.substr(0, 3);
        for (std::size_t cut = 0; cut <= text.size(); ++cut) {
            auto redactor = redactor_of(secret);
            INFO(secret << " cut at " << cut);
            CHECK(pass_in_pieces(redactor, text, {cut}) == text);
            CHECK(redactor.hits() == 0);
        }
    }
}

TEST_CASE("The end of an escape is not taken for the beginning of the secret", "[proxy][redact]") {
    for (const auto& [secret, text] : {std::pair("61bcdefgh", R"("\u0061bcdefg\u0068")"),
                                       std::pair("61bcdefgh", R"("\\u0061bcdefg\\u0068")"),
                                       std::pair("41bcdefgh", R"("%41bcdefg\u0068")")})
        for (std::size_t cut = 0; cut <= std::string_view(text).size(); ++cut) {
            auto redactor = redactor_of(secret);
            INFO(text << " cut at " << cut);
            CHECK(pass_in_pieces(redactor, text, {cut}) == text);
        }
}

TEST_CASE("A stream that neither holds nor begins the secret is not copied", "[proxy][redact]") {
    auto redactor = redactor_of("up_fixed-S3cret.~value");
    const std::string text = R"({"jsonrpc":"2.0","id":1,"result":{}})";
    CHECK(redactor.pass(text).data() == text.data());
}

TEST_CASE("A secret too short to be told from text is not looked for", "[proxy][redact]") {
    for (const std::string secret : {"", "a", "abc"}) {
        auto redactor = redactor_of(secret);
        CHECK(redactor.pass("abc a abc").size() == 9);
        CHECK(redactor.hits() == 0);
    }
    auto redactor = redactor_of("abcd");
    CHECK(pass_in_pieces(redactor, "xabcdx", {3}) == "x****x");
}

TEST_CASE("A secret longer than the search window is found too", "[proxy][redact]") {
    std::string secret;
    for (int i = 0; i < 4'000; ++i) secret += static_cast<char>('!' + i * 7 % 90);
    for (const auto& form :
         {whole("plain", secret), whole("hex", base::to_hex(secret)), base64(secret, 1, 1, false)}) {
        const auto text = "<" + form.text + ">";
        for (const std::size_t size :
             {std::size_t{1'000}, std::size_t{1'460}, text.size() - 2, text.size()}) {
            std::vector<std::size_t> cuts;
            for (std::size_t at = size; at < text.size(); at += size) cuts.push_back(at);
            auto redactor = redactor_of(secret);
            const auto out = pass_in_pieces(redactor, text, cuts);
            INFO(form.name << " in pieces of " << size);
            CHECK(out.size() == text.size());
            CHECK(static_cast<std::size_t>(std::count(out.begin(), out.end(), '*')) >= form.core_bytes);
            CHECK(redactor.hits() == 1);
        }
    }
}

TEST_CASE("Bytes of every value pass through", "[proxy][redact]") {
    std::string all;
    for (int round = 0; round < 3; ++round)
        for (int c = 0; c < 256; ++c) all += static_cast<char>(c * (round + 1));
    for (const auto& secret : kSecrets)
        for (std::size_t cut = 0; cut < all.size(); cut += 5) {
            auto redactor = redactor_of(secret);
            REQUIRE(pass_in_pieces(redactor, all, {cut}) == all);
        }
}
