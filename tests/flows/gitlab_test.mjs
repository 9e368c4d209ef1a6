// A published MCP server that knows nothing of Claviger: mcp-gitlab hands the bearer token of each request on to the
// GitLab API, here a fake that shows which token arrived.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import {
    eventually,
    freePort,
    freshSecret,
    grant,
    recordingFetch,
    startClaviger,
    startNode,
    temporaryFolder,
    tracesOf,
} from './harness.mjs';
import { post, rpc } from './wire.mjs';

const letters = freshSecret('').replaceAll(/[^A-Za-z0-9]/g, '');
const gitlabToken = `glpat-${letters}`; // mcp-gitlab accepts only what looks like a GitLab token

describe('mcp-gitlab behind Claviger', () => {
    let claviger;
    let granted;
    let fake;
    let server;
    let seen;
    let recorder;
    let client;

    before(async () => {
        const folder = temporaryFolder();
        writeFileSync(path.join(folder, 'token'), gitlabToken);
        fake = await startNode('fake_gitlab.mjs', ['--token-file', path.join(folder, 'token')]);
        seen = async () => (await fetch(`http://127.0.0.1:${fake.ready.control_port}`)).json();

        const port = await freePort();
        const program = createRequire(import.meta.url).resolve('@zereight/mcp-gitlab/package.json');
        server = spawn(process.execPath, [path.join(path.dirname(program), 'build/index.js')], {
            cwd: folder,
            stdio: 'ignore',
            env: {
                PATH: process.env.PATH,
                HOME: folder,
                STREAMABLE_HTTP: 'true',
                REMOTE_AUTHORIZATION: 'true',
                HOST: '127.0.0.1',
                PORT: String(port),
                GITLAB_API_URL: `http://127.0.0.1:${fake.ready.port}/api/v4`,
            },
        });
        await eventually(
            'mcp-gitlab listens',
            () =>
                fetch(`http://127.0.0.1:${port}/health`).then(
                    (answer) => answer.status < 500,
                    () => false,
                ),
            20_000,
        );

        claviger = await startClaviger();
        granted = await grant(claviger, {
            url: `http://127.0.0.1:${port}/mcp`,
            token: gitlabToken,
            serverName: 'gitlab',
        });
        recorder = recordingFetch({
            authorization: `Bearer ${granted.sessionToken}`,
            'private-token': 'glpat-the-agents-own-token',
        });
        client = new Client({ name: 'flow', version: '1' });
        await client.connect(
            new StreamableHTTPClientTransport(new URL(granted.endpoint), { fetch: recorder.fetch }),
        );
    });

    after(async () => {
        await client?.close();
        server?.kill('SIGKILL');
    });

    const call = async (name, given) => {
        const result = await client.callTool({ name, arguments: given });
        assert.ok(!result.isError, JSON.stringify(result));
        return result.content[0].text;
    };

    it('lists its tools', async () => {
        const names = [];
        let cursor;
        do {
            const page = await client.listTools({ cursor });
            names.push(...page.tools.map(({ name }) => name));
            cursor = page.nextCursor;
        } while (cursor !== undefined && names.length < 1000);
        assert.ok(
            names.includes('get_project') && names.includes('create_issue'),
            `${names.length} tools: ${names.slice(0, 10)}`,
        );
    });

    it('reads and writes with the stored token', async () => {
        assert.match(await call('get_project', { project_id: '42' }), /A project like any other/);
        assert.match(
            await call('create_issue', { project_id: '42', title: 'Söldner & "quotes"' }),
            /Söldner & \\"quotes\\"/,
        );
        const made = (await seen()).find(({ method }) => method === 'POST');
        assert.equal(JSON.parse(made.body).title, 'Söldner & "quotes"');
    });

    it('shows GitLab the stored token and nothing of the agent', async () => {
        const requests = await seen();
        assert.ok(requests.length >= 2);
        for (const { headers, path: target } of requests) {
            const shown = headers['private-token'] ?? headers.authorization?.replace(/^Bearer /, '');
            assert.equal(shown, gitlabToken, target);
            assert.deepEqual(tracesOf(granted.sessionToken, JSON.stringify(headers) + target), []);
            assert.doesNotMatch(JSON.stringify(headers), /agents-own-token/);
        }
    });

    it('never shows the agent the stored token, not even where GitLab repeats it', async () => {
        const careless = await call('get_project', { project_id: '13' });
        assert.match(careless, /cloned with https:\/\/oauth2:/);
        assert.deepEqual(tracesOf(gitlabToken, careless), []);
        assert.deepEqual(tracesOf(gitlabToken, recorder.received()), []);
        assert.deepEqual(tracesOf(gitlabToken, claviger.readLog()), []);
    });

    it('lets no second agent into the session, where the server would answer without any token', async () => {
        const other = await grant(claviger, {
            url: granted.agent.mcp_servers[0].url,
            serverName: 'gitlab',
            shared: granted,
        });
        const before = (await seen()).length;
        const stolen = await post(
            other.endpoint,
            other.sessionToken,
            rpc(1, 'tools/call', { name: 'get_project', arguments: { project_id: '42' } }),
            { 'mcp-session-id': client.transport.sessionId, 'mcp-protocol-version': '2025-11-25' },
        );
        assert.equal(stolen.status, 404, stolen.text);
        assert.equal((await seen()).length, before);
    });
});
