// Replacing a credential's value while agents use it: by the command line, against a real MCP server that knows its tokens.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import {
    binary,
    eventually,
    freshSecret,
    grant,
    makeStore,
    serve,
    startFixture,
    temporaryFolder,
    tracesOf,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

describe('rotating the value of a credential', () => {
    const [first, second, third, wrong] = ['one', 'two', 'three', 'wrong'].map(freshSecret);
    const output = [];
    let store;
    let claviger;
    let fixture;
    let granted;
    let environment;

    before(async () => {
        fixture = await startFixture(first);
        store = await makeStore();
        claviger = await serve(store);
        granted = await grant(claviger, { url: fixture.url, token: first, serverName: 'fixture' });
        const folder = temporaryFolder();
        writeFileSync(path.join(folder, 'admin.key'), claviger.admin_api_key, { mode: 0o600 });
        environment = {
            PATH: process.env.PATH,
            HOME: folder,
            CLAVIGER_URL: claviger.adminUrl,
            CLAVIGER_API_KEY_FILE: path.join(folder, 'admin.key'),
        };
    });

    function cli(args, input = '') {
        return new Promise((resolve, reject) => {
            const child = spawn(binary, [...args, '--json'], { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
            let stdout = '';
            let stderr = '';
            child.stdout.setEncoding('utf8').on('data', (part) => (stdout += part));
            child.stderr.setEncoding('utf8').on('data', (part) => (stderr += part));
            child.once('error', reject);
            child.once('close', (code) => {
                output.push(stdout, stderr);
                resolve({ code, stdout, stderr, answer: stdout === '' ? undefined : JSON.parse(stdout) });
            });
            child.stdin.on('error', () => {});
            child.stdin.end(input);
        });
    }
    async function good(args, input) {
        const done = await cli(args, input);
        assert.equal(done.code, 0, `claviger ${args.join(' ')}: ${done.stderr}`);
        return done.answer;
    }
    const credential = () => granted.credential.id;
    const versions = async () => (await good(['credential', 'versions', credential()])).data;
    const stateOf = (list, number) => list.find((one) => one.version === number)?.state;

    let calls = 0;
    async function call() {
        const answer = await post(
            granted.endpoint,
            granted.sessionToken,
            modernRequest(++calls, 'tools/list'),
            modernHeaders('tools/list'),
        );
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.message.result, answer.text);
    }
    /// With which token the server was last asked by an agent.
    async function used() {
        await call();
        return (await fixture.seen()).at(-1).headers.authorization.slice('Bearer '.length);
    }

    /// A GET stream on which nothing comes. Its `over` becomes true when it has ended.
    async function openStream(sessionToken) {
        const opened = await post(
            granted.endpoint,
            sessionToken,
            rpc(1, 'initialize', {
                protocolVersion: '2025-11-25',
                capabilities: {},
                clientInfo: { name: 'flow', version: '1' },
            }),
        );
        const target = new URL(granted.endpoint);
        const stream = http.get({
            host: target.hostname,
            port: target.port,
            path: target.pathname,
            agent: false,
            headers: {
                accept: 'text/event-stream',
                authorization: `Bearer ${sessionToken}`,
                'mcp-session-id': opened.headers.get('mcp-session-id'),
                'mcp-protocol-version': '2025-11-25',
            },
        });
        stream.on('error', () => {});
        const answered = await new Promise((resolve) => stream.once('response', resolve));
        assert.equal(answered.statusCode, 200);
        answered.on('error', () => {}).resume();
        answered.once('close', () => (stream.over = true));
        return stream;
    }

    it('agents that call all the while see none of it', async () => {
        fixture.setToken(`${first}\n${second}`);
        let calling = true;
        let done = 0;
        const agents = Array.from({ length: 4 }, async () => {
            for (; calling; ++done) await call();
        });
        await eventually('calls before the rotation', () => done > 20, 60_000);
        const rotated = await good(['credential', 'rotate', credential()], second);
        assert.equal(rotated.status, 'promoted');
        assert.equal(rotated.version, 2);
        assert.equal(rotated.verification.status, 'valid');
        assert.equal(rotated.rotation.previous.version, 1);
        const then = done;
        await eventually('calls after it', () => done > then + 20, 60_000);
        calling = false;
        await Promise.all(agents); // each of them asserts that its call was answered
        assert.equal(await used(), second);

        const list = await versions();
        assert.deepEqual(
            list.map((one) => [one.version, one.state]),
            [
                [2, 'current'],
                [1, 'previous'],
            ],
        );
        assert.ok(list.every((one) => one.sessions.some((each) => each.session_id === granted.session.id)));
        assert.ok(list[0].verified_at);
        const shown = await claviger.admin('GET', `/v1/vaults/${granted.vault.id}/credentials/${credential()}`);
        assert.equal(shown.rotation.previous.version, 1);
    });

    it('no connection that was opened with the value before stays open', async () => {
        fixture.setToken(`${second}\n${third}`);
        await call();
        assert.ok((await fixture.connections()) > 0, 'connections are kept between calls');
        await good(['credential', 'rotate', credential()], third);
        await eventually('idle connections are closed', async () => (await fixture.connections()) === 0);
        assert.equal(await used(), third);
        await good(['credential', 'rollback', credential()]); // to the second value, version 4
        assert.equal(await used(), second);
    });

    it('a value that the server refuses stays staged, and calls go on with the one before', async () => {
        const refused = await cli(['credential', 'rotate', credential()], wrong);
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, /does not take the new value \(invalid\)/);
        assert.equal(refused.answer.status, 'staged');
        assert.equal(refused.answer.verification.mcp_probe.http_response.status_code, 401);
        assert.equal(refused.answer.version, 4);
        assert.equal(await used(), second);
        assert.equal(stateOf(await versions(), 5), 'staged');

        fixture.setToken(`${second}\n${wrong}`); // the provider had only been slow
        const promoted = await good(['credential', 'promote', credential()]);
        assert.equal(promoted.version, 5);
        assert.equal(await used(), wrong);
    });

    it('a rollback brings the value before, also after the process was killed', async () => {
        await claviger.kill();
        claviger = await serve(store);
        environment.CLAVIGER_URL = claviger.adminUrl;
        granted.endpoint = `${claviger.agentsUrl}/mcp/fixture`;
        assert.equal(await used(), wrong);
        const back = await good(['credential', 'rollback', credential()]);
        assert.equal(back.status, 'rolled_back');
        assert.equal(back.version, 6);
        assert.equal(await used(), second);
        assert.equal(stateOf(await versions(), 5), 'previous');
    });

    it('a value that a call still runs with is not retired unless somebody insists', async () => {
        await good(['credential', 'retire', credential()]);
        const stream = await openStream(granted.sessionToken);

        fixture.setToken(`${second}\n${third}`);
        await good(['credential', 'rotate', credential()], third);
        const refused = await cli(['credential', 'retire', credential()]);
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, /Version 6 .* is still in use: 1 call runs with it/);
        assert.ok(refused.stderr.includes(granted.session.id));
        stream.destroy();
        await eventually('the stream has ended', async () => (await cli(['credential', 'retire', credential()])).code === 0);
        assert.equal(stateOf(await versions(), 6), 'retired');
        assert.equal(await used(), third);
        const nothing = await cli(['credential', 'rollback', credential()]);
        assert.match(nothing.stderr, /keeps no value from before/);
    });

    it('a stream is not overlooked behind thousands of newer calls', async () => {
        const other = await claviger.admin('POST', '/v1/sessions', {
            agent: granted.agent.id,
            environment_id: granted.environment.id,
            vault_ids: [granted.vault.id],
        });
        const quiet = await openStream(other.session_token);
        const busyCall = async () => {
            const answer = await post(
                granted.endpoint,
                granted.sessionToken,
                modernRequest(++calls, 'tools/list'),
                modernHeaders('tools/list'),
            );
            assert.equal(answer.status, 200, answer.text);
        };
        fixture.setToken(`${first}\n${third}`);
        const before = (await versions())[0].version;
        await good(['credential', 'rotate', credential()], first);
        for (let i = 0; i < 2_100; i += 20) await Promise.all(Array.from({ length: 20 }, busyCall));
        const left = (await versions()).find((one) => one.version === before);
        assert.equal(left.running_calls, 1);
        assert.ok(left.last_used_at, 'its last use is known');
        assert.deepEqual(
            left.sessions.map((one) => one.session_id),
            [other.id, granted.session.id],
        );
        const refused = await cli(['credential', 'retire', credential()]);
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, new RegExp(`is still in use: 1 call runs with it, streams of session ${other.id}`));
        quiet.destroy();
        await eventually('the stream has ended', async () => (await cli(['credential', 'retire', credential()])).code === 0);
        fixture.setToken(`${first}\n${third}`);
        await good(['credential', 'rotate', credential()], third);
    });

    it('the overlap ends by itself', async () => {
        fixture.setToken(`${third}\n${first}`);
        const rotated = await good(['credential', 'rotate', credential(), '--overlap', '1'], first);
        assert.equal(rotated.rotation.previous.version, rotated.version - 1);
        await eventually(
            'the value before is erased',
            async () => stateOf(await versions(), rotated.version - 1) === 'retired',
            10_000,
        );
    });

    it('a stream ends with the value that it was opened with, though nothing comes on it', async () => {
        fixture.setToken(`${first}\n${second}\n${third}`);
        const endings = async () =>
            (await claviger.admin('GET', `/v1/access_log?credential_id=${credential()}&kind=use_outcome&limit=100`)).data
                .filter((entry) => entry.reason === 'credential.retired').length;
        const overlapping = await openStream(granted.sessionToken);
        await good(['credential', 'rotate', credential(), '--overlap', '1'], second);
        await eventually('the stream ends', () => overlapping.over, 30_000); // when its overlap is over
        await eventually('the log says why', async () => (await endings()) === 1, 30_000);

        const insisted = await openStream(granted.sessionToken);
        await good(['credential', 'rotate', credential()], third);
        assert.notEqual((await cli(['credential', 'retire', credential()])).code, 0);
        await good(['credential', 'retire', credential(), '--force']);
        await eventually('the stream ends', () => insisted.over, 30_000);
        await eventually('the log says why', async () => (await endings()) === 2, 30_000);

        const leaked = await openStream(granted.sessionToken);
        await good(['credential', 'update', credential(), '--token-file', '-'], second);
        await eventually('the stream ends', () => leaked.over, 30_000);
        await eventually('no connection of theirs is left', async () => (await fixture.connections()) === 0);
        assert.equal(await used(), second);
    });

    it('deadlines are reminded of, and the stale report names them', async () => {
        const soon = new Date(Date.now() + 86_400_000).toISOString();
        await good(['credential', 'update', credential(), '--rotate-by', soon]);
        const entries = async () =>
            (await claviger.admin('GET', `/v1/access_log?credential_id=${credential()}&kind=rotate&limit=100`)).data;
        await eventually('a reminder', async () => (await entries()).some((entry) => entry.action === 'remind'));
        const report = await good(['credential', 'stale']);
        const [stale] = report.data;
        assert.equal(stale.credential_id, credential());
        assert.deepEqual(
            stale.findings.map((finding) => finding.code),
            ['rotation_due'],
        );
        const actions = (await entries()).map((entry) => entry.action);
        for (const action of ['stage', 'promote', 'roll_back', 'retire'])
            assert.ok(actions.includes(action), `${action} is missing in ${actions}`);
    });

    it('the tokens of OAuth are not rotated by hand', async () => {
        const made = await claviger.admin('POST', `/v1/vaults/${granted.vault.id}/credentials`, {
            auth: { type: 'mcp_oauth', mcp_server_url: 'https://mcp.example.com/mcp', access_token: freshSecret() },
        });
        const refused = await cli(['credential', 'rotate', made.id], 'anything');
        assert.match(refused.stderr, /renewed whenever that is due/);
    });

    it('no value is in anything that was printed, logged or stored', async () => {
        const printed = Buffer.from(output.join('\n') + claviger.readLog());
        for (const secret of [first, second, third, wrong]) assert.deepEqual(tracesOf(secret, printed), []);
    });
});
