// The whole store copied while it serves, lost, and put back: what the copy is worth, what a restore voids, and that an
// older copy of the store never goes into service unnoticed.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, eventually, freshSecret, grant, makeStore, metric, run, serve, startUpstream, temporaryFolder } from './harness.mjs';
import { post, rpc } from './wire.mjs';

/// A store whose log is pinned and that has a folder for backups.
async function safeStore() {
    const [pins, backups] = [temporaryFolder(), temporaryFolder()];
    const store = await makeStore({ config: { access_log: { pin_dir: pins }, backup: { dir: backups } } });
    const keyFile = path.join(store.folder, 'admin.key');
    writeFileSync(keyFile, store.admin_api_key, { mode: 0o600 });
    return { ...store, pins, backups, keyFile, key: path.join(store.folder, 'seal.key') };
}

/// The command line against the running server.
const cli = (store, claviger, ...args) =>
    run(binary, [...args, '--url', claviger.adminUrl, '--api-key-file', store.keyFile]);
const alone = (...args) => run(binary, args);

const ready = async (claviger) => {
    const response = await fetch(`${claviger.adminUrl}/readyz`);
    return { ...(await response.json()), code: response.status };
};

describe('backup and restore', () => {
    let upstream;
    const seen = [];
    before(async () => {
        upstream = await startUpstream(({ token }) => seen.push(token));
    });
    after(() => upstream.stop());

    const callOnce = (claviger, token, id = 1) =>
        post(`${claviger.agentsUrl}/mcp/upstream`, token, rpc(id, 'tools/call', { name: 'tool', arguments: {} }));
    const granting = (claviger, token) =>
        grant(claviger, { url: upstream.url, token });

    it('copies while it serves, verifies without and with the key, and restores fenced', async () => {
        const store = await safeStore();
        let claviger = await serve(store);
        const secret = freshSecret();
        const granted = await granting(claviger, secret);

        // Agents call all the while; none is refused.
        let calling = true;
        let calls = 0;
        const agent = (async () => {
            while (calling) {
                const { message } = await callOnce(claviger, granted.sessionToken, ++calls);
                assert.ok(message.result, JSON.stringify(message));
            }
        })();
        const rotation = await claviger.admin('POST', '/v1/keys/root/rotate', { paused: true });
        const made = await cli(store, claviger, 'backup', 'create', 'friday', '--json');
        calling = false;
        await agent;
        assert.equal(made.code, 0, made.stderr);
        assert.ok(calls > 0);
        const { log_size, log_root, state } = JSON.parse(made.stdout);
        assert.equal(state, 'done');

        const again = await cli(store, claviger, 'backup', 'create', 'friday');
        assert.equal(again.code, 1);
        assert.match(again.stderr, /There is a backup of that name already/);
        const escaping = await cli(store, claviger, 'backup', 'create', '../friday');
        assert.match(escaping.stderr, /cannot be the name of a backup/);
        assert.match((await cli(store, claviger, 'backup', 'list')).stdout, /friday/);

        // What came after the backup, and is to be missed later; a page that is half read when the store is lost.
        await claviger.admin('POST', '/v1/vaults', { display_name: 'made after the backup' });
        const half = await claviger.admin('GET', '/v1/access_log?limit=1');
        const rest = `/v1/access_log?limit=1&page=${encodeURIComponent(half.next_page)}`;
        await claviger.admin('GET', rest);
        assert.equal((await cli(store, claviger, 'backup', 'create', 'saturday')).code, 0);
        await claviger.stop();

        const folder = path.join(store.backups, 'friday');
        const without = await alone('backup', 'verify', folder, '--json');
        assert.equal(without.code, 0, without.stderr);
        assert.equal(JSON.parse(without.stdout).authentic, null);
        const withKey = await alone('backup', 'verify', folder, '--key-file', store.key, '--json');
        assert.equal(withKey.code, 0, withKey.stderr);
        const found = JSON.parse(withKey.stdout);
        assert.deepEqual([found.authentic, found.store.sound, found.log_size, found.log_root], [true, true, log_size, log_root]);
        for (const file of readdirSync(path.join(folder, 'store')))
            assert.ok(!readFileSync(path.join(folder, 'store', file)).includes(secret), `the secret stands in ${file}`);

        const onTop = await alone('backup', 'restore', folder, '--config', store.file);
        assert.match(onTop.stderr, /There is a store in .* already/);
        renameSync(store.data, `${store.data}-lost`);
        const restored = await alone('backup', 'restore', folder, '--config', store.file, '--json');
        assert.equal(restored.code, 0, restored.stderr);
        assert.ok(JSON.parse(restored.stdout).newer_elsewhere > 0);
        assert.deepEqual(JSON.parse(restored.stdout).newer_backups, ['saturday']);

        const refused = await alone('serve', '--config', store.file);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /pin\.store_older/);
        assert.match(refused.stderr, new RegExp(`claviger pin accept --config FILE --root ${log_root}`));
        const accepted = await alone('pin', 'accept', '--config', store.file, '--root', log_root);
        assert.equal(accepted.code, 0, accepted.stderr);

        const startedAt = Date.now() / 1000;
        claviger = await serve(store);
        assert.equal((await ready(claviger)).code, 503);
        assert.equal(await metric(claviger, 'claviger_pin_behind_entries'), 0);
        assert.ok((await metric(claviger, 'claviger_pin_timestamp_seconds')) >= startedAt - 1);
        
        const fenced = await callOnce(claviger, granted.sessionToken);
        assert.equal(fenced.message.error.data.code, 'fenced');
        const fence = JSON.parse((await cli(store, claviger, 'backup', 'fence', '--json')).stdout);
        assert.equal(fence.fenced, true);
        assert.ok(fence.newer_elsewhere > 0);
        assert.equal((await cli(store, claviger, 'backup', 'create', 'while-fenced')).code, 0);
        const fenceText = (await cli(store, claviger, 'backup', 'fence')).stdout;
        assert.match(fenceText, /backup\.dir has a newer backup of this store: saturday\./);
        assert.doesNotMatch(fenceText, /friday|while-fenced/);
        assert.deepEqual(fence.newer_backups, ['saturday']);
        assert.match(await claviger.admin('GET', rest, undefined, { status: 400 }).then(JSON.stringify), /page\.invalid|not a cursor/);
        assert.equal(fence.session_tokens_voided, 1);

        // Nothing that would wait for the release for ever is begun.
        const toRotate = [
            ['key', 'rotate'],
            ['key', 'rotate', '--vault', granted.vault.id],
            ['operation', 'resume', rotation.id],
            ['operation', 'rollback', rotation.id],
            ['operation', 'retire', rotation.id, '--yes'],
        ];
        for (const args of toRotate) {
            const tooEarly = await cli(store, claviger, ...args);
            assert.equal(tooEarly.code, 1, args.join(' ') + tooEarly.stdout + tooEarly.stderr);
            assert.match(tooEarly.stderr, /restored from a backup, and no keys are rotated before it is released/);
        }
        assert.equal(await metric(claviger, 'claviger_restore_fenced'), 1);

        // A restart does not lift it.
        await claviger.stop();
        claviger = await serve(store);
        assert.equal((await ready(claviger)).status, 'fenced');

        const unsure = await cli(store, claviger, 'backup', 'release');
        assert.equal(unsure.code, 2);
        const calledBefore = seen.length;
        const released = await cli(store, claviger, 'backup', 'release', '--yes');
        assert.equal(released.code, 0, released.stderr);
        assert.equal((await ready(claviger)).code, 200);
        assert.equal(await metric(claviger, 'claviger_restore_fenced'), 0);
        const stateOf = async () => (await claviger.admin('GET', `/v1/operations/${rotation.id}`)).state;
        assert.equal(await stateOf(), 'paused');
        assert.equal((await cli(store, claviger, 'operation', 'resume', rotation.id)).code, 0);
        await eventually('the rotation of the backup goes on', async () => (await stateOf()) === 'waiting');
        assert.equal((await cli(store, claviger, 'operation', 'rollback', rotation.id)).code, 0);
        await eventually('and back', async () => (await stateOf()) === 'rolled_back');
        const old = await callOnce(claviger, granted.sessionToken);
        assert.ok(old.message.error, 'a session token from before the restore still works');
        assert.equal(seen.length, calledBefore);
        const token = await claviger.admin('POST', `/v1/sessions/${granted.session.id}/tokens`, {});
        const call = await callOnce(claviger, token.token);
        assert.ok(call.message.result, JSON.stringify(call.message));
        assert.equal(seen.at(-1), `Bearer ${secret}`);

        const vaults = await claviger.admin('GET', '/v1/vaults');
        assert.ok(!vaults.data.some(({ display_name }) => display_name === 'made after the backup'));
        const log = await claviger.admin('GET', '/v1/access_log?kind=seal&limit=50&instance=true');
        const actions = log.data.map(({ action }) => action);
        for (const action of ['pin', 'accept_pin', 'restore']) assert.ok(actions.includes(action), action);
        const own = await claviger.admin('GET', '/v1/access_log?kind=seal&limit=50');
        assert.ok(own.data.some(({ action }) => action === 'unfence'));
        await claviger.stop();
        const checked = await alone('fsck', '--data', store.data, '--key-file', store.key);
        assert.equal(checked.code, 0, checked.stdout + checked.stderr);
    });

    it('refuses a backup with one byte changed, and says which file', async () => {
        const store = await safeStore();
        const claviger = await serve(store);
        assert.equal((await cli(store, claviger, 'backup', 'create', 'one')).code, 0);
        await claviger.stop();
        const folder = path.join(store.backups, 'one');
        const file = readdirSync(path.join(folder, 'store')).find((name) => name.endsWith('.sst'));
        const bytes = readFileSync(path.join(folder, 'store', file));
        bytes[bytes.length >> 1] ^= 1;
        unlinkSync(path.join(folder, 'store', file)); // it may be linked to the living store
        writeFileSync(path.join(folder, 'store', file), bytes);
        const verified = await alone('backup', 'verify', folder);
        assert.equal(verified.code, 1);
        assert.match(verified.stderr, /backup\.file_changed/);
        assert.ok(verified.stderr.includes(file));
        renameSync(store.data, `${store.data}-lost`);
        const restored = await alone('backup', 'restore', folder, '--config', store.file);
        assert.equal(restored.code, 1);
        assert.ok(!existsSync(path.join(store.data, 'store')));
    });

    it('is refused without a folder for backups', async () => {
        const store = await makeStore();
        const claviger = await serve(store);
        await assert.rejects(claviger.admin('POST', '/v1/backups', {}), /backup\.not_configured|folder for backups/);
        await claviger.stop();
    });
});

describe('the pin of the access log', () => {
    it('refuses an older copy of the whole store, and a fork of it', async () => {
        const store = await safeStore();
        let claviger = await serve(store);
        await claviger.admin('POST', '/v1/vaults', { display_name: 'first' });
        await claviger.stop();
        const older = `${store.data}-older`;
        cpSync(store.data, older, { recursive: true });
        claviger = await serve(store);
        await claviger.admin('POST', '/v1/vaults', { display_name: 'second' });
        await claviger.kill(); // what was acknowledged was pinned, whatever became of the process
        const status = JSON.parse((await alone('pin', 'status', '--config', store.file, '--json')).stdout);
        assert.equal(status.data.length, 1);

        const newest = `${store.data}-newest`;
        renameSync(store.data, newest);
        cpSync(older, store.data, { recursive: true });
        const refused = await alone('serve', '--config', store.file);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /older than its pin.*pin\.store_older/s);

        // The copy goes on for itself, without the pin, until it is longer than the right one.
        const text = readFileSync(store.file, 'utf8');
        writeFileSync(store.file, text.replace(/"pin_dir": "[^"]*"/, '"pin_dir": null'));
        claviger = await serve(store);
        assert.match(claviger.readLog(), /pin\.not_configured/);
        for (let i = 0; i < 20; ++i) await claviger.admin('POST', '/v1/vaults', { display_name: `forked ${i}` });
        await claviger.stop();
        writeFileSync(store.file, text);
        const forked = await alone('serve', '--config', store.file);
        assert.equal(forked.code, 1);
        assert.match(forked.stderr, /pin\.log_forked/);

        rmSync(store.data, { recursive: true });
        renameSync(newest, store.data);
        claviger = await serve(store);
        assert.equal((await claviger.admin('GET', '/v1/vaults')).data.length, 2);
        await claviger.stop();
    });

    it('refuses a store whose pin is gone, and a folder that is not there', async () => {
        const store = await safeStore();
        const claviger = await serve(store);
        await claviger.stop();
        for (const file of readdirSync(store.pins)) unlinkSync(path.join(store.pins, file));
        const gone = await alone('serve', '--config', store.file);
        assert.equal(gone.code, 1);
        assert.match(gone.stderr, /pin\.missing/);
        rmSync(store.pins, { recursive: true });
        const unmounted = await alone('serve', '--config', store.file);
        assert.equal(unmounted.code, 1);
        assert.match(unmounted.stderr, /pin\.folder/);
        mkdirSync(store.pins);
    });

    it('may not lie in the data folder', async () => {
        const store = await safeStore();
        const text = readFileSync(store.file, 'utf8');
        writeFileSync(store.file, text.replace(/"pin_dir": "[^"]*"/, `"pin_dir": "${store.data}/pins"`));
        const refused = await alone('check-config', store.file);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /access_log\.pin_dir lies in data_dir/);
    });
});

describe('shredding', () => {
    it('says what is gone, what was in files, and which backups still hold it', async () => {
        const store = await safeStore();
        const claviger = await serve(store);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'shredded' });
        const make = (number) =>
            claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
                display_name: `credential ${number}`,
                auth: { type: 'static_bearer', token: freshSecret(), mcp_server_url: `https://server-${number}.example.com/mcp` },
            });
        const [one, two] = [await make(1), await make(2)];
        assert.equal((await cli(store, claviger, 'backup', 'create', 'before')).code, 0);
        const later = await make(3); // not in the backup

        const unsure = await cli(store, claviger, 'credential', 'shred', 'credential 1', '--vault', 'shredded');
        assert.equal(unsure.code, 2);
        const shredded = await cli(store, claviger, 'credential', 'shred', 'credential 1', '--vault', 'shredded', '--yes');
        assert.equal(shredded.code, 0, shredded.stderr);
        assert.match(shredded.stdout, /store: gone\. The credential's data keys are erased/);
        assert.match(shredded.stdout, /files: gone\. No file of the store holds the erased rows, and the key of the vault that sealed them is gone/);
        assert.match(shredded.stdout, /backups: NOT gone\.[^]*In backup\.dir: before/);
        await claviger.admin('GET', `/v1/vaults/${vault.id}/credentials/${one.id}`, undefined, { status: 404 });
        await claviger.admin('GET', `/v1/vaults/${vault.id}/credentials/${two.id}`);

        const unbacked = await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials/${later.id}/shred`, { rotate_vault: false });
        assert.equal(unbacked.type, 'vault_credential_shredded');
        assert.deepEqual(unbacked.stages.map(({ where, gone }) => [where, gone]), [['store', true], ['files', false], ['backups', false]]);
        assert.ok(unbacked.stages[1].purged_at);
        assert.match(unbacked.stages[1].meaning, /opens with the vault's key until that is rotated/);
        assert.deepEqual(unbacked.stages[2].backups, []);

        // How far it is gone can be asked later, and changes with what is done about it.
        const now = () => claviger.admin('GET', `/v1/shreddings/${unbacked.shredding_id}`);
        assert.equal((await now()).stages[1].gone, false);
        assert.equal((await cli(store, claviger, 'key', 'rotate', '--vault', 'shredded')).code, 0);
        assert.equal((await now()).stages[1].gone, true);
        assert.deepEqual((await now()).stages[2].root_key, { epoch: 1, gone: false });
        const rotated = await cli(store, claviger, 'key', 'rotate', '--retire-after', '0');
        assert.equal(rotated.code, 0, rotated.stderr);
        assert.equal((await now()).stages[2].gone, null);
        assert.match((await now()).stages[2].meaning, /the root key of then is retired/);
        const shown = await cli(store, claviger, 'shredding', 'show', unbacked.shredding_id);
        assert.match(shown.stdout, /backups: not known to be anywhere/);
        const listed = JSON.parse((await cli(store, claviger, 'shredding', 'list', '--json')).stdout).data;
        assert.deepEqual(listed.map((each) => [each.object_id, each.stages[1].gone, each.stages[2].gone]), [
            [later.id, true, null],
            [one.id, true, false],
        ]);
        rmSync(path.join(store.backups, 'before'), { recursive: true });
        assert.deepEqual((await claviger.admin('GET', `/v1/shreddings/${listed[1].id}`)).stages[2].backups, []);
        await claviger.admin('GET', '/v1/shreddings/shrd_01', undefined, { status: 404 });
        assert.equal((await cli(store, claviger, 'backup', 'create', 'before')).code, 0);

        const whole = JSON.parse((await cli(store, claviger, 'vault', 'shred', 'shredded', '--yes', '--json')).stdout);
        assert.equal(whole.type, 'vault_shredded');
        assert.match(whole.stages[0].meaning, /The vault's key is erased/);
        assert.deepEqual(whole.stages[2].backups, ['before']);
        assert.equal((await cli(store, claviger, 'purge')).code, 0);
        const log = await claviger.admin('GET', '/v1/access_log?kind=write&limit=50');
        assert.equal(log.data.filter(({ action }) => action === 'shred').length, 4);
        await claviger.stop();
        const checked = await alone('fsck', '--data', store.data, '--key-file', store.key);
        assert.equal(checked.code, 0, checked.stdout + checked.stderr);
    });
});
