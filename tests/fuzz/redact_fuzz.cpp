// Fuzzes claviger_proxy: redaction. However the stream is cut, the same bytes leave, and never the secret.
#include "base/bytes.h"
#include "proxy/redact.h"
#include "tests/fuzz/require.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace claviger;
using fuzz::require;

namespace {

const std::string_view kSecrets[] = {"up_s3cret/with+specials==", "q\"uo\\te/d", "abcdefgh", "a+b/",
                                     "50%25%41\\u0041"};

std::string with_backslashes(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\' || c == '/') out += '\\';
        out += c;
    }
    return out;
}

std::string escaped(std::string_view secret) {
    std::string out;
    for (const char c : secret) out += "\\u00" + base::to_hex({&c, 1});
    return out;
}

/// The fuzzer's bytes, in which some values stand for pieces of the secret's forms.
std::string expand(std::string_view bytes, std::string_view secret) {
    const std::string forms[] = {std::string(secret),
                                 base::to_base64(secret),
                                 base::to_base64url("x" + std::string(secret)),
                                 base::to_hex(secret),
                                 escaped(secret),
                                 with_backslashes(base::to_base64(secret)),
                                 with_backslashes(with_backslashes(secret)),
                                 with_backslashes(escaped(secret))};
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto value = static_cast<unsigned char>(bytes[i]);
        if (value < 0x80 || i + 1 >= bytes.size()) {
            text += bytes[i];
            continue;
        }
        const auto& form = forms[value % std::size(forms)];
        const auto bytes_of_it = static_cast<unsigned char>(bytes[++i]);
        text += bytes_of_it < 0x80 ? form : form.substr(0, bytes_of_it % (form.size() + 1));
    }
    return text;
}

proxy::Redactor redactor_of(std::string_view secret) {
    return proxy::Redactor(std::make_shared<const proxy::SecretForms>(crypto::Secret::copy_of(secret)));
}

std::string pass(std::string_view text, std::string_view secret, std::size_t piece) {
    auto redactor = redactor_of(secret);
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += piece) {
        const auto part = text.substr(at, piece);
        const std::vector<char> exact(part.begin(), part.end());
        out += redactor.pass({exact.data(), exact.size()});
    }
    out += redactor.finish({});
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 2 || size > 4'096) return 0;
    const auto secret = kSecrets[bytes[0] % std::size(kSecrets)];
    const auto piece = std::size_t{1} + bytes[1] % 64;
    const auto text = expand({reinterpret_cast<const char*>(bytes) + 2, size - 2}, secret);

    const auto whole = pass(text, secret, std::max<std::size_t>(text.size(), 1));
    require(whole.size() == text.size(), "the length stays");
    require(whole.find(secret) == whole.npos, "the secret is gone");
    require(secret.size() < 8 || whole.find(base::to_hex(secret)) == whole.npos, "its hex is gone");
    const proxy::Unescaped once(whole, nullptr), twice(once.text, &once);
    for (const auto* reading : {&once, &twice}) {
        require(reading->text.find(secret) == whole.npos, "it is gone behind escapes");
        require(secret.size() < 8 || reading->text.find(base::to_base64(secret)) == whole.npos,
                "its base64 is gone behind escapes");
    }
    for (std::size_t i = 0; i < text.size(); ++i)
        require(whole[i] == text[i] || whole[i] == '*', "only masks are new");
    require(pass(text, secret, piece) == whole, "pieces do not matter");

    std::string header = text;
    redactor_of(secret).redact(header);
    require(header == whole, "a header is treated alike");
    return 0;
}
