// A full disk: calls are refused before they happen, reading goes on, and with the space the service returns by itself.
// The store lies on a small tmpfs, which only root may mount; without it the tests are skipped.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, unlinkSync, writeSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, eventually, freshSecret, grant, makeStore, run, serve, startUpstream, temporaryFolder } from './harness.mjs';
import { rpc } from './wire.mjs';

// Room for the store's own reserve (it fills about 40 MiB of a file that it took beforehand) and for writing all of it
// down again elsewhere once there is space.
const diskBytes = 192 << 20;
const agentsAtOnce = 20;
const folder = temporaryFolder();
const disk = path.join(folder, 'small-disk');
const filler = path.join(disk, 'filler');

function mountSmallDisk() {
    mkdirSync(disk);
    const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes},mode=0755`, 'tmpfs', disk]);
    return status === 0 ? undefined : `a small tmpfs cannot be mounted here: ${error?.message ?? String(stderr).trim()}`;
}
const skip = mountSmallDisk();

/// Takes every byte that is left.
function fill() {
    const file = openSync(filler, 'a');
    for (const size of [1 << 20, 1 << 12, 1])
        for (;;) {
            try {
                if (writeSync(file, Buffer.alloc(size, 'x')) < size) break;
            } catch (error) {
                assert.equal(error.code, 'ENOSPC');
                break;
            }
        }
    closeSync(file);
}
const free = () => existsSync(filler) && unlinkSync(filler);

describe('a full disk', { skip }, () => {
    const seen = new Set(); // tools, by the upstream
    const refused = new Map(); // tool -> how
    let upstream;
    let store;
    let claviger;
    let granted;
    let calls = 0;

    before(async () => {
        upstream = await startUpstream(({ tool }) => seen.add(tool));
        store = await makeStore({ data: path.join(disk, 'data') });
        claviger = await serve(store);
        granted = await grant(claviger, { url: upstream.url, token: freshSecret() });
    });
    after(async () => {
        await claviger?.kill();
        upstream?.stop();
        execFileSync('umount', ['-l', disk]);
    });

    async function call() {
        const tool = `tool_${++calls}`;
        const id = calls;
        const response = await fetch(`${claviger.agentsUrl}/mcp/upstream`, {
            method: 'POST',
            headers: { authorization: `Bearer ${granted.sessionToken}`, 'content-type': 'application/json' },
            body: JSON.stringify(rpc(id, 'tools/call', { name: tool, arguments: {} })),
        });
        const message = await response.json();
        if (message.error) refused.set(tool, { status: response.status, id, message });
        return { status: response.status, message, tool };
    }
    const ask = async (target) => {
        const response = await fetch(claviger.adminUrl + target, { headers: { 'x-api-key': claviger.admin_api_key } });
        return { status: response.status, text: await response.text() };
    };

    /// Writes large objects until the store's own reserve is used up, then calls: whoever comes first is refused.
    async function callUntilRefused() {
        const big = { name: 'big', model: 'any-model', system: 'x'.repeat(90_000) };
        let refusal;
        for (let writes = 0; writes < 5_000 && !refusal; ++writes)
            await claviger.admin('POST', '/v1/agents', big).catch((error) => (refusal = error));
        assert.match(refusal?.message ?? 'the disk is full and everything is written', /answered 503/);
        await Promise.all(Array.from({ length: agentsAtOnce }, call));
    }
    const callAgain = () => eventually('a call after the space came back', async () => ((await call()).message.result ? true : undefined), 30_000);

    it('lets calls through as long as there is room', async () => {
        assert.equal((await call()).message.error, undefined);
        assert.equal((await ask('/readyz')).status, 200);
    });

    it('refuses calls before they reach the upstream, with a clear error', async () => {
        fill();
        await callUntilRefused();
        assert.ok(refused.size >= agentsAtOnce, `only ${refused.size} calls were refused`);
        for (const [tool, { status, id, message }] of refused) {
            assert.ok(!seen.has(tool), `${tool} was refused and reached the upstream`);
            assert.equal(status, 503);
            assert.equal(message.id, id);
            assert.equal(message.error.code, 50301);
            assert.equal(message.error.data.code, 'log.not_durable');
            assert.match(message.error.message, /access log cannot be written/);
            assert.match(message.error.data.hint, /free space/);
        }
    });

    it('refuses changes, and says why', async () => {
        for (const [method, target, body] of [
            ['POST', '/v1/vaults', { display_name: 'no room' }],
            ['POST', `/v1/vaults/${granted.vault.id}`, { display_name: 'renamed' }],
            ['DELETE', `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}`, undefined],
        ]) {
            const error = await claviger.admin(method, target, body).then(() => undefined, (thrown) => thrown);
            assert.match(error?.message ?? 'it was done', /answered 5\d\d.*(nothing was changed|cannot be written)/);
        }
        const vault = await claviger.admin('GET', `/v1/vaults/${granted.vault.id}`);
        assert.equal(vault.display_name, granted.vault.display_name);
    });

    it('goes on to answer what needs no writing', async () => {
        for (const target of ['/v1/vaults', `/v1/vaults/${granted.vault.id}/credentials`, '/v1/sessions', '/v1/agents'])
            assert.ok((await claviger.admin('GET', target)).data.length > 0, target);
        for (const target of ['/metrics', '/healthz']) assert.equal((await ask(target)).status, 200, target);
        const log = await claviger.admin('GET', `/v1/access_log?session_id=${granted.session.id}`);
        assert.ok(log.data.some(({ kind }) => kind === 'use_intent'));
    });

    it('is told by /readyz', async () => {
        const { status, text } = await ask('/readyz');
        assert.equal(status, 503);
        assert.match(text, /log/);
        assert.match(claviger.readLog(), /log\.not_writable/);
    });

    it('is over as soon as there is room, without a restart', async () => {
        const child = claviger.child.pid;
        free();
        await callAgain();
        assert.equal(claviger.child.pid, child);
        await eventually('/readyz', async () => (await ask('/readyz')).status === 200);
        const renamed = await claviger.admin('POST', `/v1/vaults/${granted.vault.id}`, { display_name: 'room again' });
        assert.equal(renamed.display_name, 'room again');
        assert.match(claviger.readLog(), /log\.writable_again/);
    });

    it('comes and goes, and the log stays whole', async () => {
        fill();
        await callUntilRefused();
        free();
        await callAgain();
        await claviger.stop();
        claviger = await serve(store);
        const entries = await accessLogOf();
        const intents = new Set(entries.filter(({ kind }) => kind === 'use_intent').map(({ tool }) => tool));
        assert.deepEqual([...seen].filter((tool) => !intents.has(tool)), [], 'calls without an intent');
        assert.deepEqual([...refused.keys()].filter((tool) => intents.has(tool) || seen.has(tool)), [], 'refused calls that happened');
    });

    async function accessLogOf() {
        const entries = [];
        let page = '';
        for (let pages = 0; pages < 5_000; ++pages) {
            const answer = await claviger.admin('GET', `/v1/access_log?limit=100&session_id=${granted.session.id}${page}`);
            entries.push(...answer.data);
            if (!answer.next_page) return entries;
            page = `&page=${encodeURIComponent(answer.next_page)}`;
        }
        throw new Error('the access log does not end');
    }

    it('and a kill at that moment lose nothing either', async () => {
        fill();
        await callUntilRefused();
        await claviger.kill();
        const attempt = await run(binary, ['serve', '--config', store.file], { limitMs: 3_000 });
        assert.doesNotMatch(attempt.stderr, /AddressSanitizer|runtime error|terminate called/);
        if (attempt.code !== null) assert.match(attempt.stderr + attempt.stdout, /not available|cannot|space/i, 'it ended without saying why');
        free();
        claviger = await serve(store);
        await callAgain();
        const vault = await claviger.admin('GET', `/v1/vaults/${granted.vault.id}`);
        assert.equal(vault.display_name, 'room again');
    });
});
