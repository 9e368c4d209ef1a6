// Looks at what the quickstart left behind and says whether the main job was done: the upstream was shown the stored
// token, the access log has the use before and after, and no form of the token is in anything the agent saw.
//
// node prove.mjs --folder FOLDER --log-entries FILE. Exit code 0 only if all of it holds.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
    options: { folder: { type: 'string' }, 'log-entries': { type: 'string' }, since: { type: 'string' } },
});
const at = (name) => path.join(values.folder, name);
const token = readFileSync(at('upstream.token'), 'utf8').trim();
const sha256 = createHash('sha256').update(token).digest('hex');

/// The token as it could hide: as it is, backwards, in hex, percent-encoded, and in base64 wherever it begins.
function formsOf(secret) {
    const forms = new Set([secret, [...secret].reverse().join(''), Buffer.from(secret).toString('hex')]);
    forms.add(encodeURIComponent(secret));
    forms.add(JSON.stringify(secret).slice(1, -1));
    for (const before of ['', ':', '::']) {
        for (const alphabet of ['base64', 'base64url']) {
            const text = Buffer.from(before + secret).toString(alphabet);
            forms.add(text.slice(before ? 4 : 0, -4)); // without the ends, which depend on the neighbours
        }
    }
    return [...forms];
}

function filesUnder(name) {
    if (!statSync(name).isDirectory()) return [name];
    return readdirSync(name).flatMap((entry) => filesUnder(path.join(name, entry)));
}

const lines = (name) => readFileSync(name, 'utf8').trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
const seen = lines(at('upstream.log')).filter(({ time }) => time >= values.since);
console.log('What the upstream received:');
for (const each of seen) {
    const whose = each.token_sha256 === sha256 ? 'the stored token' : 'ANOTHER token';
    console.log(`    ${each.request}  ${each.header}: ${whose} (${each.token_characters} characters)`);
}

const entries = JSON.parse(readFileSync(values['log-entries'], 'utf8')).data;
const intent = entries.find(({ kind, tool, decision }) => kind === 'use_intent' && tool === 'get_project' && decision === 'allowed');
const outcome = entries.find(({ kind, intent_position }) => kind === 'use_outcome' && intent_position === intent?.position);
const bytes = (name) => readFileSync(name).toString('latin1');
const traces = (names) => names.filter((name) => formsOf(token).some((form) => bytes(name).includes(form)));
const onDisk = filesUnder(at('data')).filter((name) => statSync(name).isFile());
const checks = [
    ['the agent called the tool and got an answer', bytes(at('agent.received')).includes('lighthouse')],
    ['the upstream was shown the stored token', seen.some((each) => each.token_sha256 === sha256 && each.accepted)],
    ['the agent was not: no form of it is in any byte it sent or got', traces([at('agent.sent'), at('agent.received')]).length === 0],
    ['nor is it in the store on disk or in the program log', traces([...onDisk, at('claviger.log')]).length === 0],
    ['the access log has the use, written before the token was taken out', intent !== undefined],
    [`and its outcome: status ${outcome?.status}, ${outcome?.redactions} trace(s) of the token removed from the answer`, outcome?.status === 200],
];
console.log('What is proven:');
for (const [what, holds] of checks) console.log(`    ${holds ? 'yes' : 'NO '}  ${what}`);
process.exit(checks.every(([, holds]) => holds) ? 0 : 1);
