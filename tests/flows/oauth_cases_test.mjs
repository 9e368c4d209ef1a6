// docs/oauth_tests.md maps cases to tests; here it is held to that.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { it } from 'node:test';

const root = new URL('../../', import.meta.url);
const text = (file) => readFileSync(new URL(file, root), 'utf8');

it('every test that docs/oauth_tests.md names exists', () => {
    let named = 0;
    const cases = new Set();
    for (const line of text('docs/oauth_tests.md').split('\n')) {
        const [, number, ...cells] = /^\| (\d+) \|/.test(line) ? line.split('|') : [];
        if (cells.length > 0) cases.add(Number(number));
        for (const part of line.split(/ · |\| /)) {
            if (!/^`\w+\/\w+`: /.test(part)) {
                assert.ok(!/^`.*`: /.test(part), `${part} names no test`);
                continue;
            }
            const [, folder, stem, names] = /^`(\w+)\/(\w+)`: (.*?)(?: \|)?$/.exec(part);
            const file = `tests/${folder}/${stem}_test.${['flows', 'crash'].includes(folder) ? 'mjs' : 'cpp'}`;
            assert.ok(existsSync(new URL(file, root)), `${file} of the line ${line}`);
            const source = text(file).replaceAll(/"\s*\n\s*"/g, '');
            // Names may hold commas; each must begin inside the text of a test.
            for (const name of split(names, source)) {
                assert.ok(source.includes(name), `${file} has no '${name}'`);
                ++named;
            }
        }
    }
    assert.ok(named > 60, `only ${named} names`);
    for (let number = 1; number <= 50; ++number) assert.ok(cases.has(number), `case ${number} has no tests`);
});

/// Splits at those commas that are not part of a name.
function split(names, source) {
    const found = [];
    let rest = names;
    while (rest) {
        let end = rest.length;
        while (end > 0 && !(source.includes(rest.slice(0, end)) && [undefined, ','].includes(rest[end])))
            end = rest.lastIndexOf(',', end - 1);
        if (end <= 0) return [...found, rest];
        found.push(rest.slice(0, end));
        rest = rest.slice(end).replace(/^,\s*/, '');
    }
    return found;
}
