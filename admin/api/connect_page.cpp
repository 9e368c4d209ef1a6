#include "admin/api/connect_page.h"

#include "base/bytes.h"
#include "crypto/hash.h"

namespace claviger::admin::api {
namespace {

constexpr std::string_view kStyle =
    ":root{color-scheme:light dark;--ink:#1d2433;--soft:#5c6579;--card:#fff;--page:#f2f4f8;--line:#dfe3ec;"
    "--go:#2447c9;--good:#1a7f4b;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8ebf3;--soft:#a3abbd;--card:#1b2030;--page:#11141d;"
    "--line:#31384b;--go:#7b97ff;--good:#5cc98f;--bad:#ff8a80}}"
    "*{box-sizing:border-box}"
    "body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;"
    "background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Helvetica Neue\",Arial,sans-serif}"
    "main{width:100%;max-width:31rem;background:var(--card);border:1px solid var(--line);"
    "border-top:.3rem solid var(--go);border-radius:.75rem;padding:2rem 2.25rem}"
    "main.good{border-top-color:var(--good)}main.bad{border-top-color:var(--bad)}"
    "h1{font-size:1.4rem;line-height:1.25;margin:0 0 1rem}p{margin:0 0 .9rem}"
    "dl{margin:1.25rem 0;padding:0;border-top:1px solid var(--line)}"
    "div.fact{display:flex;gap:1rem;padding:.55rem 0;border-bottom:1px solid var(--line)}"
    "dt{flex:0 0 7rem;color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    "a.go{display:inline-block;margin-top:.5rem;padding:.65rem 1.4rem;border-radius:.5rem;"
    "background:var(--go);color:var(--card);font-weight:600;text-decoration:none}"
    "a.go:focus-visible{outline:3px solid var(--ink);outline-offset:2px}"
    "footer{margin-top:1.5rem;color:var(--soft);font-size:.85rem}";

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
        }
    }
    return out;
}

std::string body_of(const Page& page) {
    const auto title = escaped(page.title);
    const std::string_view mood = page.mood == Mood::good  ? " class=\"good\""
                                  : page.mood == Mood::bad ? " class=\"bad\""
                                                           : "";
    std::string out =
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<meta name=\"robots\" content=\"noindex\"><title>";
    out.append(title)
        .append(" · Claviger</title><style>")
        .append(kStyle)
        .append("</style></head><body><main");
    out.append(mood).append("><h1>").append(title).append("</h1>");
    for (const auto& paragraph : page.paragraphs)
        if (!paragraph.empty()) out.append("<p>").append(escaped(paragraph)).append("</p>");
    if (!page.facts.empty()) {
        out += "<dl>";
        for (const auto& [name, value] : page.facts)
            out.append("<div class=\"fact\"><dt>")
                .append(escaped(name))
                .append("</dt><dd>")
                .append(escaped(value))
                .append("</dd></div>");
        out += "</dl>";
    }
    if (!page.button.empty())
        out.append("<a class=\"go\" rel=\"noreferrer\" href=\"")
            .append(escaped(page.leads_to))
            .append("\">")
            .append(escaped(page.button))
            .append("</a>");
    out += "<footer>Claviger";
    if (!page.code.empty()) out.append(" · ").append(escaped(page.code));
    out += "</footer></main></body></html>";
    return out;
}

}  // namespace

net::Response rendered(const Page& page) {
    static const std::string policy = "default-src 'none'; style-src 'sha256-" +
                                      base::to_base64(crypto::view(crypto::sha256(kStyle))) +
                                      "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    net::Response response;
    response.status = page.status;
    response.headers.add("content-type", "text/html; charset=utf-8");
    response.headers.add("content-security-policy", policy);
    response.headers.add("cache-control", "no-store");
    response.headers.add("referrer-policy", "no-referrer");
    response.headers.add("x-content-type-options", "nosniff");
    response.headers.add("x-frame-options", "DENY");
    response.headers.add("cross-origin-opener-policy", "same-origin");
    response.body = body_of(page);
    return response;
}

}  // namespace claviger::admin::api
