// `claviger fsck` as an operator runs it: on a stopped server's folder, on a running one's, on a damaged one.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { binary, makeStore, run, serve } from './harness.mjs';

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
});
