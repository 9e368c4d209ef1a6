// What an operator does to the process: wrong files, taken ports, signals at bad moments. Nothing of it may end in a
// crash, in a process that does not end, or in a store that cannot be opened.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
    binary,
    eventually,
    freshSecret,
    grant,
    run,
    startClaviger,
    startProcess,
    stopProcess,
    temporaryFolder,
} from './harness.mjs';
import { post, rpc } from './wire.mjs';

const passphrase = 'a passphrase that opens it';
const crashed = /AddressSanitizer|runtime error|ThreadSanitizer|LeakSanitizer|terminate called/;

/// A store in a folder of its own, and a config for it.
async function store({ slots = ['--key-file'], config = {} } = {}) {
    const folder = temporaryFolder();
    const data = path.join(folder, 'data');
    const key = path.join(folder, 'seal.key');
    const args = ['init', '--data', data, '--json'];
    if (slots.includes('--key-file')) args.push('--key-file', key);
    if (slots.includes('--passphrase-stdin')) args.push('--passphrase-stdin', '--allow-passphrase');
    const made = await run('sh', ['-c', `printf '%s\\n' '${passphrase}' | "$0" "$@"`, binary, ...args]);
    assert.equal(made.code, 0, made.stderr);
    const file = path.join(folder, 'claviger.jsonc');
    const settings = {
        data_dir: data,
        ...(slots.includes('--key-file') ? { seal: { key_file: key } } : {}),
        agents: { port: 0 },
        admin: { port: 0 },
        limits: { drain_ms: 1_000 },
        ...config,
    };
    const save = (changes = {}) => writeFileSync(file, JSON.stringify({ ...settings, ...changes }));
    save();
    return { folder, data, key, file, save, socket: path.join(data, 'unseal.sock') };
}

const serve = (made) => run(binary, ['serve', '--config', made.file], { limitMs: 30_000 });
const start = (made, options) => startProcess(binary, ['serve', '--config', made.file], options);

/// One request to the local socket; the status, or why there was none.
const knock = (socket, body, headers = {}) =>
    new Promise((resolve) => {
        const request = http.request(
            {
                socketPath: socket,
                path: body === undefined ? '/v1/seal' : '/v1/unseal',
                method: body === undefined ? 'GET' : 'POST',
                headers,
                agent: false,
            },
            (response) => {
                let text = '';
                response.on('data', (part) => (text += part));
                response.on('end', () => resolve({ status: response.statusCode, ...JSON.parse(text) }));
                response.on('error', (error) => resolve({ failed: error.code }));
            },
        );
        request.on('error', (error) => resolve({ failed: error.code }));
        request.end(body);
    });

async function ends(child, { withinMs, code = 0 }) {
    const begun = Date.now();
    const end = await Promise.race([
        child.exited,
        new Promise((resolve) => setTimeout(() => resolve('still running'), withinMs).unref()),
    ]);
    assert.notEqual(end, 'still running', `it did not end within ${withinMs} ms`);
    assert.doesNotMatch(child.errors(), crashed);
    assert.deepEqual(end, { code, signal: null }, child.errors());
    return Date.now() - begun;
}

describe('a server that cannot start', () => {
    const refusals = [
        ['a key file that opens another store', /does not open this store/, (made) => {
            unlinkSync(made.key);
            writeFileSync(made.key, Buffer.alloc(32, 7), { mode: 0o600 });
        }],
        ['no key file', /cannot be read/, (made) => unlinkSync(made.key)],
        ['a key file that others can read', /can be read by others/, (made) => {
            const bytes = readFileSync(made.key);
            unlinkSync(made.key);
            writeFileSync(made.key, bytes, { mode: 0o644 });
        }],
        ['no store', /There is no store/, (made) => renameSync(made.data, `${made.data}.away`)],
        ['a certificate that is not there', /certificate/, (made) =>
            made.save({ agents: { port: 0, tls: { certificate: 'no.pem', private_key: 'no.key' } } })],
        ['origins for the admin listener', /admin\.allowed_origins is not a known setting/, (made) =>
            made.save({ admin: { port: 0, allowed_origins: [] } })],
        ['a local socket path that is a folder', /socket path is taken/, (made) => mkdirSync(made.socket)],
    ];
    for (const [what, words, spoil] of refusals) {
        it(`says why and ends: ${what}`, async () => {
            const made = await store();
            spoil(made);
            const end = await serve(made);
            assert.doesNotMatch(end.stderr, crashed);
            assert.match(end.stderr, words);
            assert.equal(end.code, 1);
            assert.equal(end.stdout, '');
            if (what === 'no store') assert.equal(existsSync(made.data), false, 'it made an empty one');
        });
    }

    it('says why and ends: a port that is taken', async () => {
        const other = net.createServer().listen(0, '127.0.0.1');
        await new Promise((resolve) => other.once('listening', resolve));
        const made = await store();
        for (const name of ['agents', 'admin']) {
            made.save({ [name]: { port: other.address().port } });
            const end = await serve(made);
            assert.doesNotMatch(end.stderr, crashed);
            assert.match(end.stderr, /already listens/);
            assert.equal(end.code, 1);
        }
        other.close();
    });

    it('leaves the store to the process that has it', async () => {
        const made = await store();
        const first = await start(made);
        const second = await serve(made);
        assert.match(second.stderr, /Another process has the credential store open/);
        assert.equal(second.code, 1);
        assert.equal((await knock(made.socket)).sealed, false, 'the first one still answers');
        first.kill('SIGTERM');
        await ends(first, { withinMs: 20_000 });
    });
});

describe('a sealed server', () => {
    let made;
    before(async () => {
        made = await store({ slots: ['--passphrase-stdin'] });
    });

    it('opens for the right passphrase only, one attempt at a time, and then for nobody', async () => {
        const child = await start(made);
        assert.equal(child.ready.sealed, true);
        const sealed = await post(`http://127.0.0.1:${child.ready.agents_port}/mcp/x`, 'token', rpc(1, 'ping'));
        assert.equal(sealed.status, 503);

        const wrong = knock(made.socket, 'not the passphrase');
        await eventually('a second attempt is turned away', async () => {
            const second = await knock(made.socket, passphrase);
            return second.status === 429;
        });
        assert.equal((await wrong).status, 401);
        assert.equal((await knock(made.socket, '')).status, 400);
        assert.equal((await knock(made.socket, passphrase, { 'x-claviger-slot': 'other' })).status, 400);
        assert.equal((await knock(made.socket, passphrase)).status, 200);
        assert.equal((await knock(made.socket)).sealed, false);
        const again = await knock(made.socket, passphrase);
        assert.equal(again.status, 409);
        assert.equal(again.error.type, 'seal.open');
        assert.doesNotMatch(child.errors(), new RegExp(passphrase));
        child.kill('SIGTERM');
        await ends(child, { withinMs: 20_000 });
    });

    for (const given of [passphrase, 'not the passphrase']) {
        it(`ends in good order while it tries ${given === passphrase ? 'the' : 'a wrong'} passphrase`, async () => {
            const child = await start(made);
            const attempt = knock(made.socket, given);
            await eventually('the attempt is under way', async () => {
                const second = await knock(made.socket, given);
                return second.status === 429;
            });
            child.kill('SIGTERM');
            await ends(child, { withinMs: 20_000 });
            await attempt;
            assert.equal(existsSync(made.socket), false);
        });
    }

    it('ends in good order when whoever asked to unseal has left', async () => {
        const child = await start(made);
        const client = net.connect(made.socket);
        client.write(
            `POST /v1/unseal HTTP/1.1\r\nHost: a\r\nContent-Length: ${passphrase.length}\r\n\r\n${passphrase}`,
        );
        await eventually('the attempt is under way', async () => {
            const second = await knock(made.socket, passphrase);
            return second.status === 429;
        });
        client.destroy();
        await eventually('it is unsealed all the same', async () => (await knock(made.socket)).sealed === false, 20_000);
        child.kill('SIGTERM');
        await ends(child, { withinMs: 20_000 });
    });

    it('goes on when the local socket is taken away, and starts again over a dead one', async () => {
        const child = await start(made);
        unlinkSync(made.socket);
        assert.equal((await knock(made.socket)).failed, 'ENOENT');
        const health = await fetch(`http://127.0.0.1:${child.ready.admin_port}/healthz`);
        assert.equal(health.status, 200);
        child.kill('SIGKILL');
        await child.exited;

        const second = await start(made);
        second.kill('SIGKILL'); // leaves its socket behind
        await second.exited;
        assert.equal(existsSync(made.socket), true);
        const third = await start(made);
        assert.equal((await knock(made.socket)).sealed, true);
        assert.equal(statSync(made.socket).mode & 0o777, 0o600);
        third.kill('SIGTERM');
        await ends(third, { withinMs: 20_000 });
    });
});

/// An upstream whose calls never end: POSTs get nothing, or a stream without its answer; GETs an open stream.
async function startHanging() {
    const open = new Set();
    const server = http.createServer((request, response) => {
        open.add(response);
        response.on('close', () => open.delete(response));
        let text = '';
        request.on('data', (part) => (text += part));
        request.on('end', () => {
            if (request.method === 'GET' || text.includes('streams')) {
                response.writeHead(200, { 'content-type': 'text/event-stream' });
                response.write(': open\n\n');
            }
        });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
        url: `http://127.0.0.1:${server.address().port}/mcp`,
        open,
        stop: () => {
            server.close();
            server.closeAllConnections();
        },
    };
}

describe('a server in use', () => {
    let upstream;
    before(async () => {
        upstream = await startHanging();
    });
    after(() => upstream.stop());

    it('ends after its grace, whatever hangs and streams, and owes nobody an answer', async () => {
        const claviger = await startClaviger({ config: { limits: { drain_ms: 1_000 }, log: { file: null } } });
        const { endpoint, sessionToken } = await grant(claviger, { url: upstream.url, token: freshSecret() });
        const begun = new Set();
        const noted = (what) => ({ onText: (text) => text.includes(': open') && begun.add(what) });
        const call = (id, name) => post(endpoint, sessionToken, rpc(id, 'tools/call', { name, arguments: {} }), {}, 'POST', noted(id));
        const calls = [call(1, 'hangs'), call(2, 'hangs'), call(3, 'streams')];
        const stream = post(endpoint, sessionToken, undefined, { accept: 'text/event-stream' }, 'GET', noted('stream'));
        await eventually('everything hangs', () => upstream.open.size === 4 && begun.size === 2);
        claviger.child.kill('SIGTERM');
        const took = await ends(claviger.child, { withinMs: 20_000 });
        assert.ok(took >= 1_000, `the calls had only ${took} ms`);
        for (const [at, pending] of calls.entries()) {
            const answer = await pending;
            assert.equal(answer.broken, undefined);
            assert.equal(answer.status, at === 2 ? 200 : 503);
            assert.equal(answer.message.id, at + 1);
            assert.equal(answer.message.error.code, 50301);
            assert.equal(answer.message.error.data.code, 'server.stopping');
        }
        const streamed = await stream;
        assert.equal(streamed.broken, undefined);
        assert.equal(streamed.text, ': open\n\n');
        await eventually('the upstream was let go', () => upstream.open.size === 0);
    });

    it('is reloaded while it logs, and keeps what runs when the config has become wrong', async () => {
        const claviger = await startClaviger({ config: { log: { level: 'debug' } } });
        const granted = await grant(claviger, {
            url: upstream.url,
            token: freshSecret(),
            toolset: { default_config: { enabled: false } },
        });
        const end = Date.now() + 1_500;
        const logging = Array.from({ length: 8 }, async () => {
            while (Date.now() < end) {
                const answer = await post(
                    granted.endpoint,
                    granted.sessionToken,
                    rpc(1, 'tools/call', { name: 'denied', arguments: {} }),
                );
                assert.equal(answer.status, 200);
            }
        });
        while (Date.now() < end) {
            claviger.child.kill('SIGHUP');
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        await Promise.all(logging);
        writeFileSync(path.join(claviger.folder, 'claviger.jsonc'), '{"data_dir": 7');
        claviger.child.kill('SIGHUP');
        await eventually('the refusal is logged', () => claviger.readLog().includes('reload.config_refused'));
        claviger.child.kill('SIGTERM');
        await ends(claviger.child, { withinMs: 10_000 });
        for (const line of readFileSync(path.join(claviger.folder, 'claviger.log'), 'utf8').trim().split('\n'))
            JSON.parse(line);
    });

    it('goes on when nobody reads its log any more', async () => {
        const made = await store();
        const child = spawn(binary, ['serve', '--config', made.file], { stdio: ['ignore', 'pipe', 'pipe'] });
        const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
        const ready = JSON.parse(await new Promise((resolve) => child.stdout.once('data', resolve)));
        child.stderr.destroy();
        child.stdout.destroy();
        child.kill('SIGHUP'); // writes a line from the main thread
        await new Promise((resolve) => setTimeout(resolve, 200));
        const health = await fetch(`http://127.0.0.1:${ready.admin_port}/healthz`);
        assert.equal(health.status, 200);
        child.kill('SIGTERM');
        assert.deepEqual(await exited, { code: 0, signal: null });
    });

    it('does not wait for the long bodies of strangers', async () => {
        const claviger = await startClaviger();
        const granted = await grant(claviger, { url: upstream.url, token: freshSecret() });
        /// What comes back within that time when only the head is sent and the beginning of a body of a megabyte.
        const announce = (url, authorization, withinMs) =>
            new Promise((resolve, reject) => {
                const { hostname, port, pathname } = new URL(url);
                const socket = net.connect(Number(port), hostname);
                let text = '';
                socket.setTimeout(withinMs, () => resolve(text) || socket.destroy());
                socket.on('data', (part) => (text += part)).on('end', () => resolve(text)).on('error', reject);
                socket.write(
                    `POST ${pathname} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
                        `Content-Length: 1000000\r\n${authorization}\r\n{"jsonrpc"`,
                );
            });
        for (const url of [granted.endpoint, `${claviger.adminUrl}/v1/vaults`])
            for (const stranger of ['', 'Authorization: Bearer nobody\r\n']) {
                const answer = await announce(url, stranger, 15_000);
                assert.match(answer, /^HTTP\/1.1 401 /, url);
                assert.match(answer, /\r\nConnection: close\r\n/);
            }
        assert.equal(await announce(granted.endpoint, `Authorization: Bearer ${granted.sessionToken}\r\n`, 2_000), '');
        assert.equal(await announce(`${claviger.adminUrl}/v1/vaults`, `x-api-key: ${claviger.admin_api_key}\r\n`, 2_000), '');
        await claviger.stop();
    });

    it('names every answer of the admin listener, also what no route ever sees', async () => {
        const claviger = await startClaviger();
        const { hostname, port } = new URL(claviger.adminUrl);
        const said = (bytes) =>
            new Promise((resolve, reject) => {
                const socket = net.connect(Number(port), hostname);
                let text = '';
                socket.on('data', (part) => (text += part)).on('end', () => resolve(text)).on('error', reject);
                socket.write(bytes);
            });
        const head = (line, ...fields) => [line, 'Host: 127.0.0.1', ...fields, '', ''].join('\r\n');
        const key = `x-api-key: ${claviger.admin_api_key}`;
        for (const [status, type, bytes] of [
            [400, 'invalid_request_error', head('GET  /v1/vaults HTTP/1.1')],
            [413, 'request_too_large', head('POST /v1/vaults HTTP/1.1', key, 'Content-Length: 999999999')],
            [414, 'invalid_request_error', head(`GET /${'x'.repeat(9_000)} HTTP/1.1`)],
            [431, 'invalid_request_error', head('GET /v1/vaults HTTP/1.1', `x-long: ${'x'.repeat(40_000)}`)],
        ]) {
            const answer = await said(bytes);
            assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
            const [, id] = /\r\nrequest-id: (req_01[1-9A-Za-z]{22})\r\n/.exec(answer) ?? assert.fail(answer);
            const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
            assert.deepEqual([body.error.type, body.request_id], [type, id]);
        }
        await claviger.stop();
    });

    it('puts its start and its end on record', async () => {
        const made = await store();
        const child = await start(made);
        assert.deepEqual(await stopProcess(child), { code: 0, signal: null });
        const again = await start(made);
        await eventually('init, unseal, stop and unseal are in the log', async () => {
            const metrics = await fetch(`http://127.0.0.1:${again.ready.admin_port}/metrics`);
            return /claviger_access_log_entries_total 4\n/.test(await metrics.text());
        });
        assert.deepEqual(await stopProcess(again), { code: 0, signal: null });
    });
});
