// What a person does with a browser, as far as signing in and agreeing go.

/// Follows redirects, signs in, agrees. Returns the first address that starts with `until`, which is not fetched, or with
/// `fetchLast` the answer to it. `rename` is this browser's own idea of where a name leads; `jar` keeps its cookies.
export async function browse(
    start,
    { until, user = 'alice', allow = true, fetchLast = false, rename = (url) => url, jar = new Map() },
) {
    let url = rename(new URL(start));
    let form;
    for (let steps = 0; steps < 20; ++steps) {
        const last = until !== undefined && url.href.startsWith(until);
        if (last && !fetchLast) return { url };
        const key = url.origin;
        const cookies = jar.get(key) ?? new Map();
        const response = await fetch(url, {
            redirect: 'manual',
            method: form ? 'POST' : 'GET',
            headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
            body: form,
        });
        for (const line of response.headers.getSetCookie()) {
            const [name, value] = line.split(';')[0].split(/=(.*)/s);
            if (value) cookies.set(name, value);
            else cookies.delete(name);
        }
        jar.set(key, cookies);
        form = undefined;
        const location = response.headers.get('location');
        if (location) {
            url = rename(new URL(location, url));
            continue;
        }
        const text = await response.text();
        if (last) return { url, status: response.status, headers: response.headers, text };
        const next = firstForm(text);
        if (!next) return { url, status: response.status, headers: response.headers, text };
        form = new URLSearchParams(next.fields);
        if (next.asks.includes('user')) form.set('user', user);
        if (next.asks.includes('allow')) form.set('allow', allow ? 'yes' : 'no');
        url = rename(new URL(next.action, url));
    }
    throw new Error(`the browser went in circles and ended at ${url}`);
}

const attribute = (tag, name) =>
    new RegExp(`\\b${name}="([^"]*)"`)
        .exec(tag)?.[1]
        .replaceAll('&quot;', '"')
        .replaceAll('&lt;', '<')
        .replaceAll('&gt;', '>')
        .replaceAll('&#39;', "'")
        .replaceAll('&amp;', '&');

/// The first form that is sent by POST: where to, its hidden fields, and the names of what it asks for.
function firstForm(html) {
    const [, head, inside] = /<form\b([^>]*\bmethod="post"[^>]*)>(.*?)<\/form>/is.exec(html) ?? [];
    if (head === undefined) return undefined;
    const controls = inside.match(/<(input|button)\b[^>]*>/gi) ?? [];
    const hidden = controls.filter((tag) => attribute(tag, 'type') === 'hidden');
    return {
        action: attribute(head, 'action') ?? '',
        fields: hidden.map((tag) => [attribute(tag, 'name'), attribute(tag, 'value') ?? '']),
        asks: controls.filter((tag) => !hidden.includes(tag)).map((tag) => attribute(tag, 'name')),
    };
}
