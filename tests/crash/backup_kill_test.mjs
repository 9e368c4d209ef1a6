// kill -9 while backups are made, restored, and first opened, and while something is shredded: what is left is nothing that
// looks usable, or a good one; and a restored store never serves agents before its release, whenever the process died, and
// knows how much it lacks, at whichever call to the disk that was.
//
// BACKUP_KILLS sets how often for each (default: 25).
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, freshSecret, makeStore, run, serve, temporaryFolder } from '../flows/harness.mjs';

const kills = Number(process.env.BACKUP_KILLS ?? 25);
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const alone = (...args) => run(binary, args);
const noStrace = spawnSync('strace', ['-V']).error ? 'strace is not installed' : undefined;

/// Runs the binary and kills it after a while; says whether it came to an end by itself.
async function killedAfter(milliseconds, ...args) {
    const child = spawn(binary, args, { stdio: 'ignore' });
    const end = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const killer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
    const { signal } = await end;
    clearTimeout(killer);
    return signal === null;
}

/// Serves until the process is about to make a system call for the nth time in one of its threads, and dies there; false when
/// it was ready without coming to that.
function diesAtCall(name, nth, config) {
    return new Promise((resolve, reject) => {
        const traced = spawn('strace', ['-f', '-o', '/dev/null', '-e', `trace=${name}`, '-e', `inject=${name}:signal=KILL:when=${nth}`,
            binary, 'serve', '--config', config], { detached: true });
        let [said, errors, ready] = ['', '', false];
        traced.stderr.on('data', (data) => (errors += data));
        traced.stdout.on('data', (data) => {
            said += data;
            if (ready || !said.includes('"ready":true')) return;
            ready = true;
            try {
                process.kill(-traced.pid, 'SIGKILL');
            } catch {
                // Both have gone.
            }
        });
        // Its pipes are the server's, too: when they are closed, that has let go of the store.
        traced.once('close', (code, signal) => {
            if (ready || signal === 'SIGKILL') resolve(!ready);
            else reject(new Error(`ended by itself with ${code}: ${errors}`));
        });
    });
}

describe(`kill -9 around backups, ${kills} times each`, () => {
    const backups = temporaryFolder();
    const pins = temporaryFolder();
    let store;
    let claviger;
    let key;
    const complete = () => readdirSync(backups).filter((name) => !name.endsWith('.unfinished'));

    /// What the pin knows of, and what stays of that when a backup is put back.
    const pinned = async () => JSON.parse((await alone('pin', 'status', '--config', store.file, '--json')).stdout).data[0].log_size;
    /// Puts the backup in the store's place, as an operator who wants it; its header.
    async function putBack(name) {
        rmSync(store.data, { recursive: true });
        const restored = await alone('backup', 'restore', path.join(backups, name), '--config', store.file, '--json');
        assert.equal(restored.code, 0, restored.stderr);
        const header = JSON.parse(restored.stdout);
        const accepted = await alone('pin', 'accept', '--config', store.file, '--root', header.log_root);
        assert.equal(accepted.code, 0, accepted.stderr);
        return header;
    }

    before(async () => {
        store = await makeStore({ config: { backup: { dir: backups }, access_log: { pin_dir: pins } } });
        key = path.join(store.folder, 'seal.key');
        claviger = await serve(store);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'filled' });
        for (let i = 0; i < 10; ++i)
            await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
                auth: { type: 'static_bearer', token: freshSecret(), mcp_server_url: `https://server-${i}.example.com/mcp` },
            });
    });
    after(() => claviger?.kill());

    it('leaves complete backups and unfinished ones, and tells them apart', async () => {
        for (let i = 0; i < kills; ++i) {
            await claviger.admin('POST', '/v1/backups', { name: `backup-${i}` });
            await sleep(Math.random() ** 2 * 250);
            await claviger.kill();
            for (const name of complete()) {
                const verified = await alone('backup', 'verify', path.join(backups, name));
                assert.equal(verified.code, 0, `${name} after kill ${i}: ${verified.stderr}`);
            }
            claviger = await serve(store);
        }
        // One of the same name as an unfinished one is made over what that left.
        const left = readdirSync(backups).find((name) => name.endsWith('.unfinished'));
        const name = left?.replace('.unfinished', '') ?? 'last';
        await claviger.admin('POST', '/v1/backups', { name });
        for (let newest = { state: 'running' }; newest.state === 'running'; await sleep(50)) newest = (await claviger.admin('GET', '/v1/backups')).newest;
        assert.ok(complete().includes(name));
        const verified = await alone('backup', 'verify', path.join(backups, name), '--key-file', key);
        assert.equal(verified.code, 0, verified.stdout + verified.stderr);
        assert.ok(!readdirSync(backups).includes(`${name}.unfinished`));
        console.log(`# ${complete().length} of ${kills} were complete`);
    });

    it('leaves what is being shredded whole or gone', async () => {
        let gone = 0;
        for (let i = 0; i < kills; ++i) {
            const vault = await claviger.admin('POST', '/v1/vaults', { display_name: `shredded ${i}` });
            const credential = await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
                auth: { type: 'static_bearer', token: freshSecret(), mcp_server_url: 'https://shredded.example.com/mcp' },
            });
            let answered = false;
            const shredding = claviger.admin('POST', `/v1/vaults/${vault.id}/shred`).then(
                () => (answered = true),
                () => undefined,
            );
            await sleep(Math.random() ** 2 * 120);
            await claviger.kill();
            await shredding;
            claviger = await serve(store);
            const there = await claviger.admin('GET', `/v1/vaults/${vault.id}/credentials/${credential.id}`).then(() => true, () => false);
            assert.ok(!there || !answered, 'it was answered, and is there');
            if (!there) ++gone;
        }
        await claviger.stop();
        const checked = await alone('fsck', '--data', store.data, '--key-file', key);
        assert.equal(checked.code, 0, checked.stdout + checked.stderr);
        claviger = await serve(store);
        console.log(`# ${gone} of ${kills} were gone`);
        await claviger.admin('POST', '/v1/backups', { name: 'known' });
        for (let newest = { state: 'running' }; newest.state === 'running'; await sleep(50)) newest = (await claviger.admin('GET', '/v1/backups')).newest;
        await claviger.admin('POST', '/v1/vaults', { display_name: 'made after the backup' });
    });

    it('leaves a whole store that will be fenced, or none', async () => {
        await claviger.stop();
        const backup = path.join(backups, complete()[0]);
        const folder = temporaryFolder();
        const file = path.join(folder, 'claviger.jsonc');
        const data = path.join(folder, 'data');
        writeFileSync(file, JSON.stringify({ data_dir: data }));
        let whole = 0;
        for (let i = 0; i < kills; ++i) {
            const ended = await killedAfter(5 + Math.random() ** 2 * 200, 'backup', 'restore', backup, '--config', file);
            const there = existsSync(path.join(data, 'store'));
            assert.ok(there || !ended, 'the restore ended and there is no store');
            if (!there) {
                const refused = await alone('fsck', '--data', data, '--key-file', key);
                assert.notEqual(refused.code, 0);
                continue; // the next one restores over what is left
            }
            ++whole;
            assert.ok(existsSync(path.join(data, 'restored')), 'a restored store that nobody would fence');
            const checked = await alone('fsck', '--data', data, '--key-file', key);
            assert.equal(checked.code, 0, checked.stdout + checked.stderr);
            rmSync(data, { recursive: true });
        }
        console.log(`# ${whole} of ${kills} were whole`);
        if (!existsSync(path.join(data, 'store'))) {
            const restored = await alone('backup', 'restore', backup, '--config', file);
            assert.equal(restored.code, 0, restored.stderr);
        }
    });

    it('never serves agents from a restored store before its release', async () => {
        const known = await pinned();
        const header = await putBack('known');
        assert.equal(header.newer_elsewhere, known - header.log_size);
        assert.ok(header.newer_elsewhere > 0);
        for (let i = 0; i < kills; ++i) await killedAfter(20 + Math.random() * 300, 'serve', '--config', store.file);
        claviger = await serve(store);
        const ready = await fetch(`${claviger.adminUrl}/readyz`);
        assert.equal(ready.status, 503);
        assert.equal((await ready.json()).status, 'fenced');
        assert.ok(!existsSync(path.join(store.data, 'restored')));
        const log = await claviger.admin('GET', '/v1/access_log?kind=seal&limit=100&instance=true');
        assert.equal(log.data.filter(({ action }) => action === 'restore').length, 1, 'fenced once, on record once');
        assert.equal(log.data.filter(({ action }) => action === 'accept_pin').length, 1, 'accepted once');
        assert.equal((await claviger.admin('GET', '/v1/fence')).newer_elsewhere, header.newer_elsewhere);
        await claviger.admin('POST', '/v1/fence/lift');
        assert.equal((await fetch(`${claviger.adminUrl}/readyz`)).status, 200);
        await claviger.stop();
        const checked = await alone('fsck', '--data', store.data, '--key-file', key);
        assert.equal(checked.code, 0, checked.stdout + checked.stderr);
    });

    it('knows how much a restored store lacks, at whichever call to the disk it dies', { skip: noStrace }, async () => {
        const known = await pinned();
        const pinsBefore = `${pins}-before`;
        cpSync(pins, pinsBefore, { recursive: true });
        for (const call of ['fdatasync', 'rename', 'unlink', 'pwrite64']) {
            let nth = 0;
            for (let died = true; died; ) {
                rmSync(pins, { recursive: true });
                cpSync(pinsBefore, pins, { recursive: true });
                const header = await putBack('known');
                died = await diesAtCall(call, ++nth, store.file);
                claviger = await serve(store); // what was accepted needs no second word
                const fence = await claviger.admin('GET', '/v1/fence');
                assert.equal(fence.newer_elsewhere, known - header.log_size, `${call} ${nth}`);
                await claviger.kill();
            }
            console.log(`# ${call}: ${nth - 1} kills`);
            assert.ok(nth > 1, `never came to ${call}`);
        }
        rmSync(pinsBefore, { recursive: true });
    });
});
