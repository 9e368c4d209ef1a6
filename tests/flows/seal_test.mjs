// Seal slots over the wire: shares that are wrong in every way, attempts that are slowed down, key files from systemd.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, eventually, freePort, makeStore, run, serve, startProcess, stopProcess } from './harness.mjs';

/// One request to the local socket.
const knock = (socket, method, body = '', headers = {}) =>
    new Promise((resolve, reject) => {
        const asked = request(
            {
                socketPath: socket,
                method,
                path: method === 'GET' ? '/v1/seal' : '/v1/unseal',
                headers: { host: 'localhost', 'content-length': Buffer.byteLength(body), ...headers },
            },
            (reply) => {
                let text = '';
                reply.setEncoding('utf8').on('data', (part) => (text += part));
                reply.on('end', () => resolve({ status: reply.statusCode, body: JSON.parse(text) }));
            },
        );
        asked.once('error', reject);
        asked.end(body);
    });

/// The share with another character in the middle of its value.
function withTypo(text) {
    let at = text.length - 30;
    while (text[at] === '-') --at;
    return text.slice(0, at) + (text[at] === 'x' ? 'y' : 'x') + text.slice(at + 1);
}

describe('shares', () => {
    let store;
    let child;
    let socket;
    let environment;
    const share = (set, name) => readFileSync(path.join(store.folder, set, name), 'utf8');
    const give = (text) => knock(socket, 'POST', text, { 'x-claviger-slot': 'share' });

    before(async () => {
        store = await makeStore();
        const server = await serve(store);
        writeFileSync(path.join(store.folder, 'admin.key'), server.admin_api_key, { mode: 0o600 });
        environment = {
            PATH: process.env.PATH,
            HOME: store.folder,
            CLAVIGER_URL: server.adminUrl,
            CLAVIGER_API_KEY_FILE: path.join(store.folder, 'admin.key'),
        };
        for (const [name, holders] of [
            ['one', ['alice', 'bob', 'carol']],
            ['two', ['dave', 'erin']],
        ]) {
            const flags = holders.flatMap((holder) => ['--holder', holder]);
            const made = await run(
                binary,
                ['seal', 'add', name, ...flags, '--threshold', '2', '--out', name],
                { cwd: store.folder, env: environment },
            );
            assert.equal(made.code, 0, made.stderr);
        }
        await server.stop();
        const settings = JSON.parse(readFileSync(store.file, 'utf8').replace(/^\/\/.*\n/, ''));
        delete settings.seal;
        writeFileSync(store.file, JSON.stringify(settings));
        child = await startProcess(binary, ['serve', '--config', store.file]);
        socket = path.join(store.data, 'unseal.sock');
    });
    after(() => child && stopProcess(child));

    it('are refused by name when they are wrong, and the good ones stay', async () => {
        assert.equal(child.ready.sealed, true);
        const first = await give(share('one', 'share-1-alice.txt'));
        assert.equal(first.status, 200);
        assert.deepEqual(first.body.sealed, true);
        assert.equal(first.body.shares[0].have, 1);

        const twice = await give(share('one', 'share-1-alice.txt'));
        assert.equal(twice.status, 409);
        assert.equal(twice.body.error.type, 'share.duplicate');
        assert.equal(twice.body.error.message, 'Share 1, of alice, was given already.');

        const damaged = await give(withTypo(share('one', 'share-2-bob.txt')));
        assert.equal(damaged.status, 400);
        assert.equal(damaged.body.error.type, 'share.damaged');
        assert.equal(
            damaged.body.error.message,
            'The share of bob is damaged: its checksum does not hold.',
        );

        const seen = await knock(socket, 'GET');
        assert.equal(seen.body.sealed, true);
        assert.deepEqual(seen.body.shares[0].given, ['share 1, of alice']);
        assert.equal(seen.body.shares[0].need, 2);
    });

    it('of different sets are counted apart', async () => {
        const other = await give(share('two', 'share-1-dave.txt'));
        assert.equal(other.status, 200);
        assert.deepEqual(
            other.body.shares.map((set) => set.have),
            [1, 1],
        );
        assert.equal((await knock(socket, 'DELETE')).status, 200);
        assert.deepEqual((await knock(socket, 'GET')).body.shares, []);
    });

    it('of another store are refused', async () => {
        const stranger = await makeStore();
        const server = await serve(stranger);
        writeFileSync(path.join(stranger.folder, 'admin.key'), server.admin_api_key, { mode: 0o600 });
        const made = await run(
            binary,
            ['seal', 'add', 'one', '--holder', 'mallory', '--holder', 'x', '--threshold', '2', '--out', 'one'],
            {
                cwd: stranger.folder,
                env: {
                    ...environment,
                    CLAVIGER_URL: server.adminUrl,
                    CLAVIGER_API_KEY_FILE: path.join(stranger.folder, 'admin.key'),
                },
            },
        );
        assert.equal(made.code, 0, made.stderr);
        await server.stop();
        const refused = await give(readFileSync(path.join(stranger.folder, 'one/share-1-mallory.txt'), 'utf8'));
        assert.equal(refused.body.error.type, 'share.other_store');
        assert.equal(refused.body.error.message, 'The share of mallory belongs to another store.');
    });

    it('open the store when there are enough, and attempts that fail are slowed down', async () => {
        const began = Date.now();
        for (let i = 0; i < 2; ++i) assert.equal((await give('not a share')).status, 400);
        assert.ok(Date.now() - began > 3_000, `only ${Date.now() - began} ms`);
        assert.equal((await give(share('one', 'share-3-carol.txt'))).body.sealed, true);
        const opened = await give(share('one', 'share-2-bob.txt'));
        assert.equal(opened.status, 200, JSON.stringify(opened.body));
        assert.equal(opened.body.sealed, false);
        assert.equal((await give(share('one', 'share-1-alice.txt'))).status, 409);
        const log = readFileSync(store.log, 'utf8');
        assert.ok(!log.includes('claviger-share-'));
    });
});

/// A TPM 2.0 in software, new in this folder. Its control port is the next one: those who use it know no other place.
async function startTpm(folder) {
    mkdirSync(folder);
    const socket = (number) => `type=tcp,port=${number},bindaddr=127.0.0.1`;
    for (let tries = 0; tries < 5; ++tries) {
        const port = await freePort();
        const child = spawn(
            'swtpm',
            ['socket', '--tpm2', '--tpmstate', `dir=${folder}`, '--server', socket(port), '--ctrl', socket(port + 1),
                '--flags', 'not-need-init,startup-clear'],
            { stdio: 'ignore' },
        );
        child.exited = new Promise((resolve) => child.once('exit', resolve));
        const listens = () =>
            new Promise((resolve) => {
                const probe = connect(port + 1, '127.0.0.1', () => resolve(probe.destroy()));
                probe.once('error', () => resolve(undefined));
            });
        const ended = child.exited.then(() => false); // somebody else has the next port
        const ready = eventually('the TPM listens', listens, 10_000).catch(() => false);
        if (await Promise.race([ready, ended]))
            return { device: `swtpm:host=127.0.0.1,port=${port}`, stop: () => stopProcess(child) };
        await stopProcess(child);
    }
    throw new Error('swtpm found no two ports in a row');
}

/// The store's server reads its key from this folder, as from the one that systemd makes for a service.
function takeKeyFrom(store, credentials) {
    mkdirSync(credentials, { mode: 0o700 });
    const settings = JSON.parse(readFileSync(store.file, 'utf8').replace(/^\/\/.*\n/, ''));
    settings.seal = { key_file: path.join(credentials, 'seal.key') };
    writeFileSync(store.file, JSON.stringify(settings));
    return settings.seal.key_file;
}

const serveWith = (store, credentials) =>
    startProcess(binary, ['serve', '--config', store.file], {
        env: { ...process.env, CREDENTIALS_DIRECTORY: credentials },
    });

describe('a key file that systemd hands over', () => {
    it('may show rights of the group in the folder of credentials, and nowhere else', async () => {
        const store = await makeStore();
        const credentials = path.join(store.folder, 'credentials');
        const file = takeKeyFrom(store, credentials);
        copyFileSync(path.join(store.folder, 'seal.key'), file);
        chmodSync(file, 0o440);

        const refused = await run(binary, ['serve', '--config', store.file], { limitMs: 20_000 });
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /can be read by others/);
        const child = await serveWith(store, credentials);
        assert.equal(child.ready.sealed, false);
        await stopProcess(child);
    });

    it('opens the store when it was sealed to the TPM of this machine, and to no other', async () => {
        const store = await makeStore();
        const credentials = path.join(store.folder, 'credentials');
        const file = takeKeyFrom(store, credentials);
        const plain = path.join(store.folder, 'seal.key');
        const sealed = path.join(store.folder, 'seal.key.cred');
        const machine = await startTpm(path.join(store.folder, 'machine'));
        const another = await startTpm(path.join(store.folder, 'another'));
        const creds = (tpm, ...args) =>
            run('systemd-creds', [`--tpm2-device=${tpm.device}`, '--name=seal.key', ...args], {
                env: { ...process.env, SYSTEMD_CREDENTIAL_SECRET: path.join(store.folder, 'host.secret') },
            });
        try {
            const made = await creds(machine, '--with-key=host+tpm2', 'encrypt', plain, sealed);
            assert.equal(made.code, 0, made.stderr);
            const elsewhere = await creds(another, 'decrypt', sealed, file);
            assert.notEqual(elsewhere.code, 0, 'the key was opened with another TPM');
            const opened = await creds(machine, 'decrypt', sealed, file);
            assert.equal(opened.code, 0, opened.stderr);
            chmodSync(file, 0o440); // as systemd does
        } finally {
            await machine.stop();
            await another.stop();
        }
        rmSync(plain);
        assert.ok(!readFileSync(sealed).includes(readFileSync(file)));
        const child = await serveWith(store, credentials);
        assert.equal(child.ready.sealed, false);
        await stopProcess(child);
    });
});
