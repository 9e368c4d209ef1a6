// `claviger fsck` as an operator runs it: on a stopped server's folder, on a running one's, on a damaged one.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { binary, makeStore, run, serve, temporaryFolder } from './harness.mjs';

const fsck = (data, key, ...more) => run(binary, ['fsck', '--data', data, '--key-file', key, ...more]);

describe('claviger fsck', () => {
    it('reads a whole store, refuses one that is open, and finds what was changed', async () => {
        const store = await makeStore();
        const key = path.join(store.folder, 'seal.key');
        const claviger = await serve(store);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'checked' });
        await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
            auth: { type: 'static_bearer', token: 'canary-fsck', mcp_server_url: 'https://mcp.example.com/mcp' },
        });

        const busy = await fsck(store.data, key);
        assert.equal(busy.code, 1);
        assert.match(busy.stderr, /storage\.locked/);

        await claviger.stop();
        const text = await fsck(store.data, key);
        assert.equal(text.code, 0, text.stderr);
        assert.match(text.stdout, /The store is as it was written/);
        const json = await fsck(store.data, key, '--json');
        const found = JSON.parse(json.stdout);
        assert.equal(found.sound, true);
        assert.equal(found.secrets, 1);
        assert.match(found.log.root, /^[0-9a-f]{64}$/);
        assert.ok(found.log.size >= 4);
        assert.ok(!(text.stdout + json.stdout + text.stderr).includes('canary'));

        const otherKey = path.join(store.folder, 'other.key');
        writeFileSync(otherKey, Buffer.alloc(32, 7), { mode: 0o600 });
        const locked = await fsck(store.data, otherKey);
        assert.equal(locked.code, 1);
        assert.match(locked.stderr, /seal\.wrong_key|does not open|No slot/i);

        // One byte, anywhere in the newest rows: the engine's own checksum or ours must notice.
        const copy = `${store.data}-changed`;
        cpSync(store.data, copy, { recursive: true });
        const folder = path.join(copy, 'store');
        const log = readdirSync(folder).filter((name) => name.endsWith('.log')).sort().at(-1);
        const sst = readdirSync(folder).filter((name) => name.endsWith('.sst')).sort().at(-1);
        const file = path.join(folder, sst ?? log);
        const bytes = readFileSync(file);
        bytes[Math.floor(bytes.length / 2)] ^= 1;
        writeFileSync(file, bytes);
        const damaged = await fsck(copy, key, '--json');
        assert.equal(damaged.code, 1, damaged.stdout);
    });

    it('opens a store and a backup with whatever opens a server', async () => {
        const backups = temporaryFolder();
        const store = await makeStore({ config: { backup: { dir: backups } } });
        const claviger = await serve(store);
        const apiKey = path.join(store.folder, 'admin.key');
        writeFileSync(apiKey, store.admin_api_key, { mode: 0o600 });
        const env = { ...process.env, HOME: store.folder, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: apiKey };
        const told = async (...args) => {
            const done = await run(binary, args, { cwd: store.folder, env });
            assert.equal(done.code, 0, `${args.join(' ')}: ${done.stdout}${done.stderr}`);
            return done.stdout;
        };
        const keyOf = (name) => readFileSync(path.join(store.folder, name), 'utf8').match(/age1\w+/)[0];
        for (const name of ['recipient.key', 'alice.key', 'stranger.key']) await told('seal', 'keygen', '--out', name);
        await told('seal', 'add', 'one', '--recipient', keyOf('recipient.key'));
        await told('seal', 'add', 'two', '--holder', `alice=${keyOf('alice.key')}`, '--holder', 'bob', '--threshold', '2', '--out', 'shares');
        await told('backup', 'create', 'friday');
        await claviger.stop();

        const alice = ['--share', 'shares/share-1-alice.age', '--identity', 'alice.key'];
        const bob = ['--share', 'shares/share-2-bob.txt'];
        for (const command of [['fsck', '--data', store.data], ['backup', 'verify', path.join(backups, 'friday')]]) {
            for (const way of [['--key-file', 'seal.key'], ['--identity', 'recipient.key'], [...alice, ...bob]])
                assert.match(await told(...command, ...way), /The store is as it was written/);
            for (const [way, code, why] of [
                [bob, 1, /share/],
                [[...bob, ...bob], 1, /Share 2, of bob, was given already/],
                [['--share', 'shares/share-1-alice.age'], 2, /encrypted to its holder/],
                [['--identity', 'stranger.key'], 2, /No seal slot of this store is for the identity age1/],
                [['--key-file', 'seal.key', ...bob], 2, /Give one of them/],
                [['--pkcs11'], 2, /--pkcs11 and --config FILE go together/],
                [['--pkcs11', '--config', store.file], 1, /no PKCS#11 module in its config/],
            ]) {
                const refused = await run(binary, [...command, ...way], { cwd: store.folder, env });
                assert.equal(refused.code, code, `${command[0]} ${way.join(' ')}: ${refused.stdout}${refused.stderr}`);
                assert.match(refused.stderr, why);
            }
        }
        const nothing = await run(binary, ['fsck', '--data', store.data], { env });
        assert.equal(nothing.code, 2);
        assert.match(nothing.stderr, /What opens the store is missing/);
    });
});
