// Power cuts on a disk that keeps nothing but what was synced: tests/crash/power_cut.cpp, loaded into the server, notes what
// that is, the server is killed in the middle of its work, and the store is started from that alone. Every change that was
// acknowledged must be there, and so must every way in: the key files and shares that commands said they wrote.
//
// POWER_CUTS sets how often (default: 12).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, eventually, makeStore, run, serve, startProcess, stopProcess, temporaryFolder } from '../flows/harness.mjs';

const cuts = Number(process.env.POWER_CUTS ?? 12);
const writersAtOnce = 4;
const sanitized = readFileSync(binary).includes('__asan_init');
const source = fileURLToPath(new URL('power_cut.cpp', import.meta.url));

const keyOf = (file) => {
    const { ino, birthtimeNs } = statSync(file, { bigint: true });
    return `${ino}-${birthtimeNs}`;
};

/// Notes everything under `folder` as synced.
function noteAll(folder, shadow) {
    const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory() || entry.isFile());
    for (const entry of names) {
        const file = path.join(folder, entry.name);
        if (entry.isDirectory()) noteAll(file, shadow);
        else writeFileSync(path.join(shadow, keyOf(file)), readFileSync(file));
    }
    const list = names.map((entry) => `${entry.isDirectory() ? 'd' : 'f'} ${keyOf(path.join(folder, entry.name))} ${entry.name}\n`);
    writeFileSync(path.join(shadow, keyOf(folder)), list.join(''));
}

/// Makes the folder that the disk holds after the cut.
function whatIsLeft(key, shadow, folder) {
    mkdirSync(folder, { mode: 0o700 });
    const list = path.join(shadow, key);
    if (!existsSync(list)) return; // the folder's names were never synced
    for (const line of readFileSync(list, 'utf8').split('\n').filter(Boolean)) {
        const [, type, inner, name] = line.match(/^([df]) (\S+) (.*)$/);
        if (type === 'd') whatIsLeft(inner, shadow, path.join(folder, name));
        else {
            const content = path.join(shadow, inner);
            writeFileSync(path.join(folder, name), existsSync(content) ? readFileSync(content) : '', { mode: 0o600 });
        }
    }
}

describe('power cuts', { skip: sanitized ? 'the sanitizers want to be loaded first' : undefined }, () => {
    const preload = path.join(temporaryFolder(), 'power_cut.so');
    before(() => {
        const built = spawnSync('clang++-19', ['-std=c++23', '-O1', '-shared', '-fPIC', '-o', preload, source], { encoding: 'utf8' });
        assert.equal(built.status, 0, built.stderr);
    });

    /// A server whose disk is watched.
    async function start(store, lies) {
        const shadow = temporaryFolder();
        noteAll(store.data, shadow);
        const settings = [`LD_PRELOAD=${preload}`, `POWER_CUT_ROOT=${store.data}`, `POWER_CUT_SHADOW=${shadow}`];
        if (lies) settings.push('POWER_CUT_LIES=yes');
        const claviger = await serve(store, { prefix: ['env', ...settings] });
        return { claviger, shadow };
    }

    /// Writes until the power goes; returns the names of the vaults whose making was acknowledged.
    async function writeUntilCut(claviger, store, shadow, milliseconds, round) {
        const acknowledged = [];
        let made = 0;
        const writer = async () => {
            try {
                for (;;) {
                    const name = `vault ${round}-${++made}`;
                    await claviger.admin('POST', '/v1/vaults', { display_name: name });
                    acknowledged.push(name);
                }
            } catch (error) {
                if (/answered \d/.test(error.message)) throw error; // an answer, and not the one that is due
            }
        };
        const writers = Array.from({ length: writersAtOnce }, writer);
        await eventually('something is acknowledged', () => acknowledged.length > 0);
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
        await claviger.kill();
        await Promise.all(writers);
        const key = keyOf(store.data);
        renameSync(store.data, `${store.data}-before-cut`);
        whatIsLeft(key, shadow, store.data);
        rmSync(`${store.data}-before-cut`, { recursive: true });
        return acknowledged;
    }

    async function vaultsOf(store) {
        const claviger = await serve(store);
        const names = new Set();
        for (let page = ''; ; ) {
            const answer = await claviger.admin('GET', `/v1/vaults?limit=100${page}`);
            for (const { display_name } of answer.data) names.add(display_name);
            if (!answer.next_page) break;
            page = `&page=${encodeURIComponent(answer.next_page)}`;
        }
        await claviger.stop();
        return names;
    }

    it(`lose nothing that was acknowledged, ${cuts} times`, async () => {
        const store = await makeStore();
        const promised = [];
        for (let round = 0; round < cuts; ++round) {
            const { claviger, shadow } = await start(store, false);
            const acknowledged = await writeUntilCut(claviger, store, shadow, 50 + Math.random() * 700, round);
            promised.push(...acknowledged);
            const there = await vaultsOf(store);
            assert.deepEqual(promised.filter((name) => !there.has(name)), [], `after cut ${round}`);
        }
        const checked = await run(binary, ['fsck', '--data', store.data, '--key-file', path.join(store.folder, 'seal.key')]);
        assert.equal(checked.code, 0, checked.stdout + checked.stderr);
        console.log(`# ${promised.length} acknowledged changes, ${cuts} power cuts`);
    });

    /// What commands and servers run in whose files below `disk` are watched.
    const watched = (disk, shadow) => ({ LD_PRELOAD: preload, POWER_CUT_ROOT: disk, POWER_CUT_SHADOW: shadow });

    /// The store as the disk has it after the cut, in another place; its config names `key` there.
    function afterCut(store, disk, shadow, key) {
        const left = path.join(temporaryFolder(), 'left');
        whatIsLeft(keyOf(disk), shadow, left);
        const settings = JSON.parse(readFileSync(store.file, 'utf8').replace(/^\/\/.*\n/, '').replaceAll(disk, left));
        settings.seal = key ? { key_file: path.join(left, key) } : undefined;
        const file = path.join(temporaryFolder(), 'claviger.jsonc');
        writeFileSync(file, JSON.stringify(settings));
        return { ...store, left, file, data: settings.data_dir };
    }

    async function opensAfterCut(store, disk, shadow, key) {
        const claviger = await serve(afterCut(store, disk, shadow, key));
        assert.equal(claviger.child.ready.sealed, false);
        await claviger.admin('GET', '/v1/seal/slots'); // by the API key that `init` showed
        await claviger.stop();
    }

    it('take no way in that `init` or `seal add` said was there', async () => {
        const disk = temporaryFolder();
        const shadow = temporaryFolder();
        mkdirSync(path.join(disk, 'keys'));
        noteAll(disk, shadow);
        const watching = watched(disk, shadow);
        const env = { ...process.env, ...watching };
        const key = path.join(disk, 'keys/seal.key');
        const store = await makeStore({ data: path.join(disk, 'deep/data'), key, env });
        await opensAfterCut(store, disk, shadow, 'keys/seal.key');

        const prefix = ['env', ...Object.entries(watching).map(([name, value]) => `${name}=${value}`)];
        const claviger = await serve(store, { prefix });
        const apiKey = path.join(store.folder, 'admin.key');
        writeFileSync(apiKey, store.admin_api_key, { mode: 0o600 });
        const operator = { ...env, HOME: store.folder, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: apiKey };
        const holders = ['--holder', 'alice', '--holder', 'bob', '--threshold', '2'];
        for (const args of [
            ['seal', 'add', 'second', '--key-file', path.join(disk, 'keys/second.key')],
            ['seal', 'add', 'quorum', ...holders, '--out', path.join(disk, 'ceremony/shares')],
        ]) {
            const added = await run(binary, args, { env: operator });
            assert.equal(added.code, 0, added.stderr);
        }
        await claviger.kill();
        await opensAfterCut(store, disk, shadow, 'keys/second.key');

        const sealed = afterCut(store, disk, shadow);
        const child = await startProcess(binary, ['serve', '--config', sealed.file]);
        assert.equal(child.ready.sealed, true);
        const shares = ['share-1-alice.txt', 'share-2-bob.txt'].map((name) => path.join(sealed.left, 'ceremony/shares', name));
        const opened = await run(binary, ['unseal', '--data', sealed.data, ...shares.flatMap((share) => ['--share', share])]);
        assert.equal(opened.code, 0, opened.stderr);
        await stopProcess(child);
    });

    it('would show a disk that acknowledges what it did not do', async () => {
        const store = await makeStore();
        const { claviger, shadow } = await start(store, true);
        const acknowledged = await writeUntilCut(claviger, store, shadow, 500, 0);
        const there = await vaultsOf(store).catch(() => new Set());
        assert.ok(acknowledged.some((name) => !there.has(name)), 'the disk lied and nothing was missing: this test sees nothing');
    });
});
