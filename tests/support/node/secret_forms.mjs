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
        literal('json slash', secret.replaceAll('/', '\\/')),
        literal('hex', raw.toString('hex')),
        literal('upper hex', raw.toString('hex').toUpperCase()),
        literal('mixed escapes', mixedEscapes(secret)),
    ];
    for (const offset of [0, 1, 2]) {
        const before = 'x'.repeat(offset);
        // Only the Base64 characters that depend on the secret and nothing else.
        const whole = Buffer.from(before + secret)
            .toString('base64')
            .replace(/=+$/, '');
        const core = whole.slice(offset === 0 ? 0 : offset + 1, Math.floor(((offset + raw.length) * 8) / 6));
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
    text
        .replace(/\\u00([0-9a-f]{2})/gi, (all, code) => String.fromCharCode(parseInt(code, 16)))
        .replace(/%([0-9a-f]{2})/gi, (all, code) => String.fromCharCode(parseInt(code, 16)))
        .replaceAll('\\/', '/');

/// Names every form of `secret` that can be read in `bytes`.
export function tracesOf(secret, bytes) {
    const text = Buffer.isBuffer(bytes) ? bytes.toString('latin1') : bytes;
    const found = secretForms(secret)
        .filter(({ needle }) => text.includes(needle))
        .map(({ form }) => form);
    if (found.length === 0 && unescaped(text).includes(secret)) found.push('some mix of escapes');
    return found;
}
