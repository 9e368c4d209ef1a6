// What /metrics says of seal slots and keys, from which alarms are made that nobody has to remember to look for.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { binary, eventually, makeStore, metric, run, serve } from './harness.mjs';

describe('the metrics of seals and keys', () => {
    it('tell which slots are proven, which root key is in use, and which rotations are under way', async () => {
        const store = await makeStore();
        const claviger = await serve(store);
        const apiKey = path.join(store.folder, 'admin.key');
        writeFileSync(apiKey, store.admin_api_key, { mode: 0o600 });
        const env = { ...process.env, HOME: store.folder, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: apiKey };
        const cli = async (...args) => {
            const done = await run(binary, args, { cwd: store.folder, env });
            assert.equal(done.code, 0, `${args.join(' ')}: ${done.stdout}${done.stderr}`);
        };
        const slots = async () => (await claviger.admin('GET', '/v1/seal/slots')).slots;
        const saysOf = (what, { id, kind, emergency }) =>
            metric(claviger, `claviger_seal_slot_${what}{slot="${id}",kind="${kind}",emergency="${emergency}"}`);
        const agrees = async () => {
            for (const slot of await slots()) {
                assert.equal(await saysOf('ok', slot), slot.verified_at ? 1 : 0, slot.kind);
                const verified = slot.verified_at ? Date.parse(slot.verified_at) / 1000 : 0;
                assert.ok(Math.abs((await saysOf('verified_timestamp_seconds', slot)) - verified) < 0.01, slot.kind);
            }
        };

        await cli('seal', 'keygen', '--out', 'recipient.key');
        const publicKey = readFileSync(path.join(store.folder, 'recipient.key'), 'utf8').match(/age1\w+/)[0];
        await cli('seal', 'add', 'the secret name of a person', '--recipient', publicKey);
        await agrees();
        const added = (await slots()).find(({ kind }) => kind === 'recipient');
        assert.equal(await saysOf('ok', added), 0);
        await cli('seal', 'drill', added.id, '--identity', 'recipient.key');
        assert.equal(await saysOf('ok', added), 1);
        await agrees();

        assert.equal(await metric(claviger, 'claviger_root_key_epoch'), 1);
        const inState = (state) => metric(claviger, `claviger_key_rotations{state="${state}"}`);
        const rotation = await claviger.admin('POST', '/v1/keys/root/rotate', { paused: true });
        assert.equal(await inState('paused'), 1);
        await claviger.admin('POST', `/v1/operations/${rotation.id}/resume`);
        await eventually('the next root key is in use', async () => (await inState('waiting')) === 1);
        assert.equal(await inState('paused'), 0);
        assert.equal(await metric(claviger, 'claviger_root_key_epoch'), 2);
        assert.equal(await metric(claviger, 'claviger_rewrap_remaining_rows'), 0);
        assert.equal(await metric(claviger, 'claviger_restore_fenced'), 0);

        const text = await (await fetch(`${claviger.adminUrl}/metrics`)).text();
        assert.ok(!text.includes('secret name') && !text.includes(publicKey), 'a name stands where no key is needed');
        await claviger.stop();
    });
});
