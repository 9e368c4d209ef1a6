// Keys rotate while agents call and admins write: over the admin API and the command line, on the real binary.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, eventually, freshSecret, grant, makeStore, run, serve, startUpstream } from './harness.mjs';
import { post, rpc } from './wire.mjs';

describe('keys are rotated while everything goes on', () => {
    const seen = [];
    const token = freshSecret('up');
    let upstream;
    let store;
    let claviger;
    let granted;
    let environment;

    before(async () => {
        upstream = await startUpstream((call) => seen.push(call));
        store = await makeStore();
        claviger = await serve(store);
        granted = await grant(claviger, { url: upstream.url, token });
        const key = path.join(store.folder, 'admin.key');
        writeFileSync(key, claviger.admin_api_key, { mode: 0o600 });
        environment = { PATH: process.env.PATH, HOME: store.folder, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: key };
    });
    after(async () => {
        await claviger?.kill();
        upstream?.stop();
    });

    const api = (method, target, body, options) => claviger.admin(method, target, body, options);
    const cli = async (...words) => {
        const done = await run(binary, words, { env: environment });
        assert.equal(done.code, 0, `claviger ${words.join(' ')}: ${done.stdout}${done.stderr}`);
        return done;
    };
    const settled = async (id) => {
        let operation;
        await eventually(`operation ${id} settles`, async () => {
            operation = await api('GET', `/v1/operations/${id}`);
            return operation.state !== 'running';
        }, 60_000);
        return operation;
    };
    const call = async (name) => {
        const { message } = await post(`${claviger.agentsUrl}/mcp/upstream`, granted.sessionToken, rpc(name, 'tools/call', { name, arguments: {} }));
        return message;
    };
    async function restart() {
        await claviger.kill();
        claviger = await serve(store);
        environment.CLAVIGER_URL = claviger.adminUrl;
    }

    it('refuses no call and no change during three root rotations and one of a vault', async (context) => {
        const at = `/v1/vaults/${granted.vault.id}`;
        for (let i = 0; i < 19; ++i)
            await api('POST', `${at}/credentials`, {
                auth: { type: 'static_bearer', mcp_server_url: `https://mcp${i}.example.com/mcp`, token: `secret ${i}` },
            });
        let over = false;
        let calls = 0;
        let writes = 0;
        const failures = [];
        const agents = Array.from({ length: 4 }, async (_, agent) => {
            while (!over) {
                const message = await call(`tool_${agent}_${++calls}`);
                if (!message?.result) failures.push(JSON.stringify(message));
            }
        });
        const admins = Array.from({ length: 2 }, async (_, admin) => {
            while (!over) {
                try {
                    await api('POST', at, { display_name: `name ${admin} ${++writes}` });
                } catch (error) {
                    failures.push(error.message);
                }
            }
        });
        for (let round = 1; round <= 3; ++round) {
            const root = await api('POST', '/v1/keys/root/rotate', {});
            assert.equal(root.kind, 'root_key_rotation');
            assert.equal((await settled(root.id)).state, 'waiting');
            await api('POST', `/v1/operations/${root.id}/${round === 2 ? 'roll_back' : 'retire'}`);
            assert.equal((await settled(root.id)).state, round === 2 ? 'rolled_back' : 'succeeded');
        }
        const vault = await api('POST', `${at}/rotate_key`, {});
        assert.equal(vault.vault_id, granted.vault.id);
        const done = await settled(vault.id);
        assert.equal(done.state, 'succeeded');
        assert.ok(done.progress.done >= 40, `${done.progress.done} rows`);
        assert.equal(done.progress.done, done.progress.total);
        over = true;
        await Promise.all([...agents, ...admins]);
        context.diagnostic(`${calls} calls and ${writes} changes meanwhile`);
        assert.deepEqual(failures, []);
        assert.ok(calls > 20 && writes > 20);
        for (const one of seen) assert.equal(one.token, `Bearer ${token}`);
    });

    it('shows what there is, and what was done stands in the access log', async () => {
        const root = await api('GET', '/v1/keys/root');
        assert.equal(root.active_epoch, 4);
        assert.deepEqual(root.epochs.map(({ epoch, state }) => [epoch, state]), [[4, 'active']]);
        assert.equal(root.operation, null);
        const { data } = await api('GET', '/v1/operations');
        assert.equal(data.length, 4);
        const log = await api('GET', '/v1/access_log?limit=100&kind=rotate');
        const actions = new Set(log.data.filter(({ object }) => object?.type === 'operation').map(({ action }) => action));
        for (const action of ['create', 'promote', 'roll_back', 'retire', 'rewrap']) assert.ok(actions.has(action), action);
    });

    it('goes on after kill -9, from where it was', async () => {
        const root = await api('POST', '/v1/keys/root/rotate', { paused: true });
        const vault = await api('POST', `/v1/vaults/${granted.vault.id}/rotate_key`, { paused: true });
        assert.equal(root.state, 'paused');
        assert.equal(root.step, 'pending');
        await restart();
        assert.deepEqual((await api('GET', '/v1/keys/root')).epochs.map(({ state }) => state), ['active', 'pending']);
        assert.ok((await call('between'))?.result);
        for (const { id } of [root, vault]) await api('POST', `/v1/operations/${id}/resume`);
        await restart();
        assert.equal((await settled(vault.id)).state, 'succeeded');
        assert.equal((await settled(root.id)).state, 'waiting');
        await api('POST', `/v1/operations/${root.id}/retire`);
        assert.equal((await settled(root.id)).state, 'succeeded');
        await restart();
        assert.ok((await call('afterwards'))?.result);
        assert.equal(seen.at(-1).token, `Bearer ${token}`);
    });

    it('says what is not possible, and why', async () => {
        const one = await api('POST', '/v1/keys/root/rotate', { paused: true });
        const again = await api('POST', '/v1/keys/root/rotate', {}, { status: 409 });
        assert.match(JSON.stringify(again), /A rotation of the root key is under way already/);
        await api('POST', `/v1/operations/${one.id}/retire`, undefined, { status: 409 });
        await api('POST', `/v1/operations/${one.id}/roll_back`);
        await api('POST', `/v1/operations/${one.id}/resume`, undefined, { status: 409 });
        await api('GET', '/v1/operations/op_01nosuch', undefined, { status: 404 });
        await api('POST', '/v1/keys/root/rotate', { retire_after_seconds: -1 }, { status: 400 });
        await api('POST', '/v1/keys/root/rotate', { opening_keys: [{ slot: 'x', opening_key: 'y' }] }, { status: 400 });
        await api('POST', '/v1/vaults/vlt_01nosuch/rotate_key', {}, { status: 404 });
    });

    it('is done on the command line, with a slot whose file only the operator has', async () => {
        const file = path.join(store.folder, 'backup.key');
        await cli('seal', 'add', 'backup', '--key-file', file);
        const refused = await run(binary, ['key', 'rotate'], { env: environment });
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, /The seal slot 'backup' cannot follow the new root key/);
        const rotated = await cli('key', 'rotate', '--with', `backup=${file}`);
        assert.match(rotated.stdout, /The root key is number \d+ now\. Number \d+ is kept for a roll-back\./);
        await cli('seal', 'verify', 'backup', '--key-file', file);
        const [id] = (await cli('operation', 'list', '--json')).stdout.match(/op_01\w+/);
        assert.equal(JSON.parse((await cli('operation', 'show', id, '--json')).stdout).state, 'waiting');
        assert.match((await cli('key', 'status')).stdout, /retiring/);
        const unsure = await run(binary, ['operation', 'retire', id], { env: environment });
        assert.match(unsure.stderr, /--yes/);
        await cli('operation', 'retire', id, '--yes');
        assert.match((await cli('operation', 'watch', id)).stdout, /The root key is number \d+ now; number \d+ is gone\./);
        const vault = await cli('key', 'rotate', '--vault', granted.vault.id, '--json');
        assert.equal(JSON.parse(vault.stdout).state, 'succeeded');
        await cli('seal', 'remove', 'backup', '--yes');
        assert.doesNotMatch(claviger.readLog(), /AddressSanitizer|runtime error|corrupt/);
    });

    it('leaves a store that fsck finds sound', async () => {
        assert.deepEqual(await claviger.stop(), { code: 0, signal: null });
        const fsck = await run(binary, ['fsck', '--data', store.data, '--key-file', path.join(store.folder, 'seal.key')], { env: environment });
        assert.equal(fsck.code, 0, fsck.stdout + fsck.stderr);
        claviger = await serve(store);
        assert.ok((await call('at the end'))?.result);
        assert.ok(readFileSync(path.join(store.folder, 'admin.key'), 'utf8').length > 0);
    });
});
