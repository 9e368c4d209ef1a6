// The forms in which a server could write down a secret so that a reader still understands it.

/// [{form, needle}]: if `needle` stands in a text, the reader has the secret. `write` makes a text with it, to be put
/// into a JSON string as it is.
export function secretForms(secret) {
    const raw = Buffer.from(secret);
    const each = (prefix, upper) =>
        raw
            .toString('hex')
            .match(/../g)
            .map((two) => prefix + (upper ? two.toUpperCase() : two))
            .join('');
    const percent = encodeURIComponent(secret);
    const literal = (form, needle) => ({ form, needle, write: () => `before ${needle} after` });
    const forms = [
        literal('plain', secret),
        literal('percent', percent),
        literal(
            'lower percent',
            percent.replace(/%../g, (code) => code.toLowerCase()),
        ),
        literal('every byte percent', each('%', true)),
        literal('every byte lower percent', each('%', false)),
        literal('json \\u', each('\\u00', false)),
        literal('json upper \\u', each('\\u00', true)),
        literal('json slash', withSlashes(secret)),
        literal('hex', raw.toString('hex')),
        literal('upper hex', raw.toString('hex').toUpperCase()),
        literal('mixed escapes', mixedEscapes(secret)),
        literal('json slash in json', inJson(withSlashes(secret))),
        literal('json \\u in json', inJson(each('\\u00', false))),
        literal('percent twice', encodeURIComponent(percent)),
    ];
    for (const offset of [0, 1, 2]) {
        const before = 'x'.repeat(offset);
        // Only the Base64 characters that depend on the secret and nothing else.
        const whole = Buffer.from(before + secret)
            .toString('base64')
            .replace(/=+$/, '');
        const core = whole.slice(offset === 0 ? 0 : offset + 1, Math.floor(((offset + raw.length) * 8) / 6));
        for (const [how, escape] of escapesOfBase64)
            forms.push({
                form: `base64 after ${offset} bytes, ${how}`,
                needle: escape(core),
                write: () => escape(Buffer.from(`${before}${secret} and more`).toString('base64')),
            });
        for (const alphabet of ['base64', 'base64url']) {
            const urlSafe = alphabet === 'base64url';
            forms.push({
                form: `${alphabet} after ${offset} bytes`,
                needle: urlSafe ? core.replaceAll('+', '-').replaceAll('/', '_') : core,
                write: () => Buffer.from(`${before}${secret} and more`).toString(alphabet),
            });
        }
    }
    return forms;
}

const inJson = (text) => JSON.stringify(text).slice(1, -1);
const withSlashes = (text) => inJson(text).replaceAll('/', '\\/');
const withCodes = (text) => inJson(text).replace(/[+/=&<>]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
const escapesOfBase64 = [
    ['json slash', withSlashes],
    ['json \\u', withCodes],
    ['percent', encodeURIComponent],
    ['json slash in json', (text) => inJson(withSlashes(text))],
];

/// One character as it is, one percent-encoded, one as a JSON escape, and so on.
function mixedEscapes(secret) {
    return [...secret]
        .map((character, index) => {
            const code = character.charCodeAt(0).toString(16).padStart(2, '0');
            return [character, `%${code}`, `\\u00${code}`][index % 3];
        })
        .join('');
}

const unescaped = (text) =>
    text.replace(/\\u00([0-9a-f]{2})|%([0-9a-f]{2})|\\(["\\/])/gi, (all, code, percent, character) =>
        character ?? String.fromCharCode(parseInt(code ?? percent, 16)),
    );

/// Names every form of `secret` that can be read in `bytes`, also behind escapes of escapes.
export function tracesOf(secret, bytes) {
    const text = Buffer.isBuffer(bytes) ? bytes.toString('latin1') : bytes;
    const forms = secretForms(secret);
    const found = forms.filter(({ needle }) => text.includes(needle)).map(({ form }) => form);
    const once = unescaped(text);
    for (const [reading, how] of [
        [once, 'escapes'],
        [unescaped(once), 'escapes of escapes'],
    ]) {
        if (found.length > 0) break;
        const form = forms.find(({ needle }) => reading.includes(needle));
        if (form) found.push(`${form.form}, behind some mix of ${how}`);
    }
    return found;
}
