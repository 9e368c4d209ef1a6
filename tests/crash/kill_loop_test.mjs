// kill -9 in a loop under load: hundreds of times, at random moments, while agents call and admins write. After each
// death the store must open, every write that was acknowledged must be there, and every call that reached the upstream
// must have its intent on record. The credential's value changes all the while, at once or staged, tried and promoted.
//
// KILLS sets how often (default and least: 200). KILL_LOOP_SEED repeats a run's choice of moments.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshSecret, grant, makeStore, serve, startUpstream } from '../flows/harness.mjs';
import { post, rpc } from '../flows/wire.mjs';

const kills = Math.max(200, Number(process.env.KILLS ?? 200));
const seed = Number(process.env.KILL_LOOP_SEED ?? Date.now() % 1_000_000);
const agentsAtOnce = 6;
const adminsAtOnce = 3;

/// mulberry32: a run can be repeated by its seed.
function randomFrom(state) {
    return () => {
        state = (state + 0x6d2b79f5) | 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
}

describe(`kill -9, ${kills} times under load (seed ${seed})`, () => {
    const random = randomFrom(seed);
    const seen = []; // by the upstream: { tool, token }
    const answered = new Set(); // tools whose answer reached an agent
    const acknowledged = new Map(); // vault id -> its newest acknowledged name; null: acknowledged as deleted
    const uncertain = new Set(); // vaults with a change that was never answered
    const tokens = new Set(); // of the credential: every value that was ever sent to be stored
    let newest; // the newest acknowledged one; undefined while one of `rotating` may be it
    let rotating = [];
    let settledVersion; // the version in use, when a rotation to it was acknowledged and nothing came after
    let promotions = 0;
    let leftStaged = 0; // by a kill between the steps of a rotation
    const tried = new Set(); // values that reached the upstream to be tried
    let upstream;
    let store;
    let claviger;
    let granted;
    let calls = 0;
    let writes = 0;
    let restartMs = 0;

    before(async () => {
        upstream = await startUpstream((call) => void (call.tool ? seen.push(call) : tried.add(call.token.replace('Bearer ', ''))));
        store = await makeStore();
        claviger = await serve(store);
        newest = freshSecret('first');
        tokens.add(newest);
        granted = await grant(claviger, { url: upstream.url, token: newest });
    });
    after(async () => {
        await claviger?.kill();
        upstream?.stop();
    });

    const endpoint = () => `${claviger.agentsUrl}/mcp/upstream`;

    /// Calls until the process is gone.
    async function agent(alive) {
        while (alive()) {
            const tool = `tool_${++calls}`;
            try {
                const { message } = await post(endpoint(), granted.sessionToken, rpc(calls, 'tools/call', { name: tool, arguments: {} }));
                if (message?.result) answered.add(tool);
            } catch {
                return; // killed meanwhile
            }
        }
    }

    /// Creates, renames and deletes vaults, and rotates the credential, until the process is gone.
    async function admin(alive) {
        const mine = [];
        const rename = async (id) => {
            uncertain.add(id);
            const name = `renamed ${++writes}`;
            await claviger.admin('POST', `/v1/vaults/${id}`, { display_name: name });
            acknowledged.set(id, name);
            uncertain.delete(id);
        };
        try {
            while (alive()) {
                const choice = random();
                if (choice < 0.4 || mine.length === 0) {
                    const name = `vault ${++writes}`;
                    const { id } = await claviger.admin('POST', '/v1/vaults', { display_name: name });
                    acknowledged.set(id, name);
                    mine.push(id);
                } else if (choice < 0.75) {
                    await rename(mine[Math.floor(random() * mine.length)]);
                } else {
                    const [id] = mine.splice(Math.floor(random() * mine.length), 1);
                    uncertain.add(id);
                    await claviger.admin('DELETE', `/v1/vaults/${id}`);
                    acknowledged.set(id, null);
                    uncertain.delete(id);
                }
            }
        } catch (error) {
            if (/answered \d/.test(error.message)) throw error; // an answer, and not the one that is due
        }
    }

    const credentialUrl = () => `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}`;

    /// Stages the value, has it tried by the upstream, and puts it to use.
    async function rotate(token) {
        const done = await claviger.admin('POST', `${credentialUrl()}/rotate`, { auth: { type: 'static_bearer', token } });
        assert.equal(done.status, 'promoted');
        assert.ok(tried.has(token), 'a value is in use that was never tried');
        ++promotions;
        return done.version;
    }

    /// One writer alone, so that "the newest acknowledged one" has a meaning.
    async function rotator(alive) {
        try {
            while (alive()) {
                const token = freshSecret('next');
                tokens.add(token);
                rotating = [newest, token];
                newest = undefined; // from here to the answer either value is right
                settledVersion = undefined;
                const version = random() < 0.6 ? await rotate(token) : undefined;
                if (version === undefined) await claviger.admin('POST', credentialUrl(), { auth: { type: 'static_bearer', token } });
                settledVersion = version;
                newest = token;
                ++writes;
            }
        } catch (error) {
            if (/answered \d/.test(error.message)) throw error;
        }
    }
    async function everyVault() {
        const found = new Map();
        let page = '';
        for (let pages = 0; pages < 2_000; ++pages) {
            const answer = await claviger.admin('GET', `/v1/vaults?limit=100${page}`);
            for (const vault of answer.data) found.set(vault.id, vault.display_name);
            if (!answer.next_page) return found;
            page = `&page=${encodeURIComponent(answer.next_page)}`;
        }
        throw new Error('the list of vaults does not end');
    }

    /// What was acknowledged and is not forgotten yet is there.
    async function assertWritesSurvived(which) {
        const names = [...acknowledged].filter(([id]) => !uncertain.has(id));
        await Promise.all(
            names.map(async ([id, name]) => {
                if (name === null) {
                    await claviger.admin('GET', `/v1/vaults/${id}`, undefined, { status: 404 });
                } else {
                    const vault = await claviger.admin('GET', `/v1/vaults/${id}`);
                    assert.equal(vault.display_name, name, `kill ${which}: vault ${id} has lost its newest name`);
                }
            }),
        );
        return names.length;
    }

    async function assertTokenSurvived(which) {
        const probe = `probe_${which}`;
        const { message } = await post(endpoint(), granted.sessionToken, rpc('probe', 'tools/call', { name: probe, arguments: {} }));
        assert.ok(message?.result, `kill ${which}: the store opened, but a call got ${JSON.stringify(message)}`);
        answered.add(probe);
        const sent = seen.findLast(({ tool }) => tool === probe).token.replace('Bearer ', '');
        const right = newest === undefined ? rotating : [newest];
        assert.ok(right.includes(sent), `kill ${which}: another token than the newest acknowledged one was sent`);
        newest = sent;
    }

    /// An acknowledged rotation is whole: its version is in use, nothing is staged, and the one before is kept.
    async function assertRotationSurvived(which) {
        const { data } = await claviger.admin('GET', `${credentialUrl()}/versions`);
        const of = (state) => data.filter((version) => version.state === state).map(({ version }) => version);
        assert.equal(of('current').length, 1, `kill ${which}: ${JSON.stringify(data)}`);
        assert.ok(of('staged').length <= 1 && of('previous').length <= 1, `kill ${which}: ${JSON.stringify(data)}`);
        if (settledVersion === undefined) return void (leftStaged += of('staged').length);
        assert.deepEqual([of('current'), of('staged'), of('previous').length], [[settledVersion], [], 1], `kill ${which}: ${JSON.stringify(data)}`);
    }

    it('loses nothing that was acknowledged', async (context) => {
        let checked = 0;
        for (let which = 1; which <= kills; ++which) {
            let running = true;
            const alive = () => running;
            const load = Promise.all([
                ...Array.from({ length: agentsAtOnce }, () => agent(alive)),
                ...Array.from({ length: adminsAtOnce }, () => admin(alive)),
                rotator(alive),
            ]);
            await new Promise((resolve) => setTimeout(resolve, 20 + random() * 280));
            await claviger.kill();
            running = false;
            await load;

            const begun = Date.now();
            claviger = await serve(store);
            restartMs = Math.max(restartMs, Date.now() - begun);
            checked += await assertWritesSurvived(which);
            await assertTokenSurvived(which);
            await assertRotationSurvived(which);
            for (const id of uncertain) acknowledged.delete(id); // either is right, now and later
            uncertain.clear();
            if (which % 20 !== 0) acknowledged.clear(); // what lives through every twentieth round is looked at again
        }
        context.diagnostic(
            `${kills} kills, ${writes} writes sent, ${checked} checked after a kill, ${calls} calls sent, ${seen.length} reached the upstream, slowest restart ${restartMs} ms, ${promotions} values promoted, ${leftStaged} left staged`,
        );
        assert.ok(checked >= kills, `only ${checked} acknowledged writes: the load was too small to show anything`);
        assert.ok(seen.length >= kills, `only ${seen.length} calls reached the upstream`);
        assert.ok(promotions > 0, 'no rotation of the value came to its end');
    });

    it('has an intent for every call that the upstream saw', async () => {
        const intents = new Set();
        const outcomes = new Set();
        let below = '';
        let positions = 0;
        let last = Infinity;
        for (let pages = 0; ; ++pages) {
            assert.ok(pages < 10_000, 'the access log does not end');
            const answer = await claviger.admin('GET', `/v1/access_log?limit=100&session_id=${granted.session.id}${below}`);
            for (const entry of answer.data) {
                ++positions;
                assert.ok(entry.position < last, 'positions fall');
                last = entry.position;
                if (entry.kind === 'use_intent') intents.add(entry.tool);
                if (entry.kind === 'use_outcome') outcomes.add(entry.tool);
            }
            if (!answer.next_page) break;
            below = `&page=${encodeURIComponent(answer.next_page)}`;
        }
        assert.ok(positions > 0);
        const missing = seen.filter(({ tool }) => !intents.has(tool));
        assert.deepEqual(missing.map(({ tool }) => tool), [], 'calls without an intent');
        for (const tool of answered) assert.ok(intents.has(tool), `${tool} was answered without an intent`);
        for (const value of tried) assert.ok(tokens.has(value), 'a value was tried that was never sent');
        for (const { token } of seen) assert.ok(tokens.has(token.replace('Bearer ', '')), 'a token that was never stored');
        assert.ok(outcomes.size > 0 && [...outcomes].every((tool) => intents.has(tool)));
    });

    it('ends cleanly and opens once more', async () => {
        assert.doesNotMatch(claviger.readLog(), /AddressSanitizer|runtime error|corrupt/);
        assert.deepEqual(await claviger.stop(), { code: 0, signal: null });
        claviger = await serve(store);
        const vaults = await everyVault();
        for (const [id, name] of acknowledged) assert.equal(vaults.get(id), name ?? undefined);
        await assertTokenSurvived('end');
    });
});
