// Starts the real binary and whatever stands around it, for flow tests. Everything listens on 127.0.0.1 on a port the
// system picks, and everything started here is stopped when the test file ends.
//
// CLAVIGER_BIN names the binary; without it build/dev/claviger of this checkout is taken.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { adminClient } from '../support/node/admin_client.mjs';
export { grant } from '../support/node/admin_client.mjs';
export { startUpstream } from '../support/node/plain_upstream.mjs';
export { secretForms, tracesOf } from '../support/node/secret_forms.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
export const nodeSupport = path.resolve(here, '../support/node');
export const binary = process.env.CLAVIGER_BIN
    ? path.resolve(process.env.CLAVIGER_BIN)
    : path.resolve(here, '../../build/dev/claviger');

const startLimitMs = 20_000;
const stopLimitMs = 8_000;

const folders = [];
const running = new Set();

after(async () => {
    await Promise.all([...running].map(stopProcess));
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder() {
    const folder = mkdtempSync(path.join(tmpdir(), 'claviger-flow-'));
    folders.push(folder);
    return folder;
}

/// A secret that no other text contains and that every encoding changes: it has characters that percent encoding,
/// JSON and both Base64 alphabets treat specially, and is a valid bearer token.
export function freshSecret(prefix = 'up') {
    const letters = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';
    const random = (count) =>
        Array.from({ length: count }, () => letters[Math.floor(Math.random() * letters.length)]).join('');
    return `${prefix}_${random(12)}/~~~+${random(12)}-o.~~${random(6)}==`;
}

function lineReader(stream, each) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (part) => {
        const lines = (rest + part).split('\n');
        rest = lines.pop();
        lines.forEach(each);
    });
}

/// Runs a program whose first JSON line on stdout says that it is ready; returns that line and the process.
export async function startProcess(command, args, options = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    running.add(child);
    let stderr = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (part) => {
        stderr = (stderr + part).slice(-200_000);
    });
    let stdout = '';
    child.stdout.on('data', (part) => {
        stdout = (stdout + part).slice(-200_000);
    });
    const exited = new Promise((resolve) =>
        child.once('exit', (code, signal) => {
            running.delete(child);
            resolve({ code, signal });
        }),
    );
    const started = Object.assign(child, { errors: () => stderr, output: () => stdout, exited });
    const name = path.basename(args[0]?.endsWith('.mjs') ? args[0] : command);
    started.ready = await new Promise((resolve, reject) => {
        const fail = (why) => {
            clearTimeout(limit);
            child.kill('SIGKILL');
            reject(new Error(`${name} ${why}. Its stderr: ${stderr.trim() || 'nothing'}`));
        };
        const limit = setTimeout(
            () => fail(`did not say it was ready within ${startLimitMs} ms`),
            startLimitMs,
        );
        child.once('error', (error) => fail(`could not be started (${error.message})`));
        exited.then(({ code, signal }) => fail(`ended with ${signal ?? `code ${code}`} before it was ready`));
        lineReader(child.stdout, (line) => {
            if (!line.startsWith('{')) return;
            clearTimeout(limit);
            resolve(JSON.parse(line));
        });
    });
    return started;
}

/// Asks the process to end, insists after a while, and says how it went.
export async function stopProcess(child) {
    if (child.exitCode !== null || child.signalCode !== null) return child.exited;
    child.kill('SIGTERM');
    const insist = setTimeout(() => child.kill('SIGKILL'), stopLimitMs);
    const end = await child.exited;
    clearTimeout(insist);
    return end;
}

export const startNode = (script, args = [], { node = process.execPath, ...options } = {}) =>
    startProcess(node, [path.join(nodeSupport, script), ...args], options);

/// The npm package node-linux-* carries a Node 22, for programs that need one.
export function node22() {
    if (Number(process.versions.node.split('.')[0]) >= 22) return process.execPath;
    return createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
}

/// A port that was free a moment ago, for programs that cannot pick one themselves.
export async function freePort() {
    // Below those that the kernel gives to whoever asks for any: it stays free until it is used.
    for (let tries = 0; tries < 100; ++tries) {
        const port = randomInt(12_000, 32_000);
        const server = net.createServer();
        const free = await new Promise((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)));
        if (!free) continue;
        await new Promise((resolve) => server.close(resolve));
        return port;
    }
    throw new Error('no port is free');
}

/// Runs a program to its end; never throws for its exit code.
export async function run(command, args, { limitMs = 60_000, ...options } = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (part) => {
        stdout += part;
    });
    child.stderr.setEncoding('utf8').on('data', (part) => {
        stderr += part;
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const [code, signal] = await new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (...end) => resolve(end));
    });
    clearTimeout(limit);
    return { code, signal, stdout, stderr };
}

/// A store, a key file and a config. `config` is merged over the defaults, section by section; `data` and `key` are where
/// the store and the key file go when they are not to stand beside it; `env` is what `claviger init` runs in.
export async function makeStore({ config = {}, data, key, env = process.env } = {}) {
    const folder = temporaryFolder();
    data ??= path.join(folder, 'data');
    key ??= path.join(folder, 'seal.key');
    const init = await run(binary, ['init', '--data', data, '--key-file', key, '--json'], { env });
    if (init.code !== 0)
        throw new Error(
            `claviger init ended with ${init.signal ?? init.code}: ${init.stderr || init.stdout}`,
        );
    const { admin_api_key, workspace_id } = JSON.parse(init.stdout.trim().split('\n').at(-1));

    const settings = {
        data_dir: data,
        seal: { key_file: key },
        agents: { address: '127.0.0.1', port: 0 },
        admin: { address: '127.0.0.1', port: 0 },
        upstream: { allow_private: true },
        log: { level: 'info', file: path.join(folder, 'claviger.log') },
    };
    for (const [section, values] of Object.entries(config)) {
        settings[section] =
            values !== null && typeof values === 'object' ? { ...settings[section], ...values } : values;
    }
    const file = path.join(folder, 'claviger.jsonc');
    writeFileSync(file, `// written by tests/flows/harness.mjs\n${JSON.stringify(settings, null, 2)}\n`);

    return { folder, data, file, log: settings.log.file, admin_api_key, workspace_id };
}

export const startClaviger = async (options) => serve(await makeStore(options));

/// The binary, running on a store; again and again when a test likes. `prefix`: what starts it.
export async function serve(store, { prefix = [] } = {}) {
    const { folder, data, file, admin_api_key, workspace_id } = store;
    const [command, ...args] = [...prefix, binary, 'serve', '--config', file];
    const child = await startProcess(command, args);
    const { agents_port, admin_port } = child.ready;
    const agentsUrl = `http://127.0.0.1:${agents_port}`;
    const adminUrl = `http://127.0.0.1:${admin_port}`;

    const admin = adminClient(adminUrl, admin_api_key);
    const readLog = () => {
        try {
            return readFileSync(store.log, 'utf8') + child.errors();
        } catch (error) {
            if (error.code === 'ENOENT') return child.errors(); // nothing was logged yet
            throw error;
        }
    };
    return {
        folder,
        data,
        agents_port,
        admin_port,
        agentsUrl,
        adminUrl,
        admin,
        admin_api_key,
        workspace_id,
        child,
        readLog,
        stop: () => stopProcess(child),
        /// As a power cut would: nothing is finished, nothing is said.
        kill: () => {
            child.kill('SIGKILL');
            return child.exited;
        },
    };
}

/// All access-log entries of a session, oldest page last.
export async function accessLog(claviger, sessionId) {
    const entries = [];
    let page = '';
    for (let pages = 0; pages < 50; ++pages) {
        const answer = await claviger.admin('GET', `/v1/access_log?session_id=${sessionId}${page}`);
        entries.push(...answer.data);
        if (!answer.next_page) return entries;
        page = `&page=${encodeURIComponent(answer.next_page)}`;
    }
    throw new Error(`the access log of ${sessionId} has more than 50 pages`);
}

/// The dual-era MCP server of tests/support/node, demanding `token`, with access to what it saw.
export async function startFixture(token) {
    const file = path.join(temporaryFolder(), 'token');
    writeFileSync(file, token);
    const child = await startNode('fixture_server.mjs', ['--token-file', file]);
    const control = async (method, target) => {
        const response = await fetch(`http://127.0.0.1:${child.ready.control_port}${target}`, { method });
        return response.json();
    };
    return {
        child,
        url: `http://127.0.0.1:${child.ready.port}/mcp`,
        setToken: (next) => writeFileSync(file, next),
        seen: async () => (await control('GET', '/__seen')).requests,
        connections: async () => (await control('GET', '/__connections')).connections,
        cancelled: async () => (await control('GET', '/__seen')).cancelled,
        forget: () => control('DELETE', '/__seen'),
        endSessions: () => control('DELETE', '/__sessions'),
    };
}

/// Waits for `probe` to return something truthy; returns it, or fails with `what` after `limitMs`.
export async function eventually(what, probe, limitMs = 15_000) {
    const end = Date.now() + limitMs;
    for (;;) {
        const value = await probe();
        if (value) return value;
        if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
}

/// What /metrics says of `name`, which is as it stands there, labels included; NaN when it says nothing.
export async function metric(claviger, name) {
    const text = await (await fetch(`${claviger.adminUrl}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1) ?? NaN);
}

/// A fetch that remembers everything an agent sent and received: start lines, headers, every body byte.
export function recordingFetch(headers = {}) {
    const sent = [];
    const received = [];
    const headText = (list) => [...list].map(([name, value]) => `${name}: ${value}\r\n`).join('');
    async function recording(input, init = {}) {
        const all = new Headers(init.headers);
        for (const [name, value] of Object.entries(headers)) all.set(name, value);
        sent.push(
            Buffer.from(`${init.method ?? 'GET'} ${input}\r\n${headText(all)}\r\n${init.body ?? ''}\r\n`),
        );
        const response = await fetch(input, { ...init, headers: all });
        received.push(
            Buffer.from(`${response.status} ${response.statusText}\r\n${headText(response.headers)}\r\n`),
        );
        if (response.body === null) return response;
        const bytes = response.body.pipeThrough(
            new TransformStream({
                transform(part, controller) {
                    received.push(Buffer.from(part));
                    controller.enqueue(part);
                },
            }),
        );
        const copy = new Response(bytes, {
            status: response.status,
            statusText: response.statusText,
            headers: response.headers,
        });
        Object.defineProperty(copy, 'url', { value: response.url });
        return copy;
    }
    return {
        fetch: recording,
        sent: () => Buffer.concat(sent),
        received: () => Buffer.concat(received),
    };
}
