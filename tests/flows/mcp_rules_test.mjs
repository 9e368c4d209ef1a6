// What Claviger decides before an upstream is asked, and what it does when the upstream is not itself.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import {
    accessLog,
    freshSecret,
    grant,
    recordingFetch,
    startClaviger,
    startFixture,
    tracesOf,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const upstreamToken = freshSecret('upstream');

describe('Claviger in front of a dual-era server', () => {
    let fixture;
    let claviger;
    let granted;

    before(async () => {
        fixture = await startFixture(upstreamToken);
        claviger = await startClaviger();
        granted = await grant(claviger, { url: fixture.url, token: upstreamToken, serverName: 'fixture' });
    });
    beforeEach(() => fixture.forget());

    describe('sessions of two agents', () => {
        const initialize = rpc(1, 'initialize', {
            protocolVersion: '2025-11-25',
            capabilities: {},
            clientInfo: { name: 'flow', version: '1' },
        });
        it('an MCP session of one agent is unknown to another that shares the credential', async () => {
            const other = await grant(claviger, { url: fixture.url, serverName: 'fixture', shared: granted });
            const opened = await post(granted.endpoint, granted.sessionToken, initialize);
            assert.equal(opened.status, 200);
            const id = opened.headers.get('mcp-session-id');
            assert.ok(id);
            const headers = { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' };
            await post(
                granted.endpoint,
                granted.sessionToken,
                { jsonrpc: '2.0', method: 'notifications/initialized' },
                headers,
            );
            await fixture.forget();

            for (const request of [
                { method: 'POST' },
                { method: 'GET' },
                { method: 'GET', headers: { 'last-event-id': '1' } },
                { method: 'DELETE' },
            ]) {
                const stolen = await post(
                    other.endpoint,
                    other.sessionToken,
                    request.method === 'POST' ? rpc(2, 'tools/list') : undefined,
                    { ...headers, ...request.headers },
                    request.method,
                );
                assert.equal(stolen.status, 404, `${request.method} with a foreign session: ${stolen.text}`);
            }
            assert.deepEqual(
                await fixture.seen(),
                [],
                'a request with a foreign session reached the upstream',
            );

            const mine = await post(granted.endpoint, granted.sessionToken, rpc(3, 'tools/list'), headers);
            assert.equal(mine.status, 200);
        });

        it('an invented session id is unknown and never reaches the upstream', async () => {
            const answer = await post(granted.endpoint, granted.sessionToken, rpc(2, 'tools/list'), {
                'mcp-session-id': 'made-up',
                'mcp-protocol-version': '2025-11-25',
            });
            assert.equal(answer.status, 404);
            assert.deepEqual(await fixture.seen(), []);
        });
    });

    describe('what is refused before the upstream sees it', () => {
        const listTools = modernRequest(7, 'tools/list');
        const callText = modernRequest(7, 'tools/call', { name: 'test_simple_text', arguments: {} });
        const good = () => ({ ...modernHeaders('tools/call', 'test_simple_text') });

        const refusals = [
            ['no token', { token: null, message: listTools, status: 401 }],
            ['an unknown token', { token: 'clv_sess_nobody', message: listTools, status: 401 }],
            ['the token of the upstream', { token: upstreamToken, message: listTools, status: 401 }],
            [
                'a foreign Origin',
                { message: callText, headers: { ...good(), origin: 'http://evil.example.com' }, status: 403 },
            ],
            [
                'a foreign Host',
                { message: callText, headers: { ...good(), host: 'evil.example.com' }, status: 403 },
            ],
            [
                'a method header that differs',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-method': 'tools/list' },
                    status: 400,
                    code: -32020,
                },
            ],
            [
                'a method header in the wrong case',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-method': 'Tools/Call' },
                    status: 400,
                    code: -32020,
                },
            ],
            [
                'a name header that differs',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-name': 'test_image_content' },
                    status: 400,
                    code: -32020,
                },
            ],
            [
                'no name header',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-name': undefined },
                    status: 400,
                    code: -32020,
                },
            ],
            [
                'a version header that differs',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-protocol-version': '2025-11-25' },
                    status: 400,
                    code: -32020,
                },
            ],
            [
                'no version header',
                {
                    message: callText,
                    headers: { ...good(), 'mcp-protocol-version': undefined },
                    status: 400,
                    code: -32020,
                },
            ],
            ['a body that is not JSON', { raw: '{"jsonrpc":', headers: good(), status: 400, code: -32700 }],
            [
                'a batch',
                { raw: JSON.stringify([callText, callText]), headers: good(), status: 400, code: -32600 },
            ],
            [
                'a repeated method key',
                {
                    raw: JSON.stringify(callText).replace('"method"', '"method":"tools/list","method"'),
                    headers: good(),
                    status: 400,
                },
            ],
            [
                'a repeated name key',
                {
                    raw: JSON.stringify(callText).replace(
                        '"name":"test_simple_text"',
                        '"name":"test_wait","name":"test_simple_text"',
                    ),
                    headers: good(),
                    status: 400,
                },
            ],
        ];
        for (const [what, { token, message, raw, headers, status, code }] of refusals) {
            it(what, async () => {
                const answer = await post(
                    granted.endpoint,
                    token === undefined ? granted.sessionToken : token,
                    raw ?? message,
                    headers ?? modernHeaders('tools/list'),
                );
                assert.equal(answer.status, status, answer.text);
                if (code !== undefined) assert.equal(answer.message.error.code, code, answer.text);
                if (code !== undefined && message)
                    assert.equal(answer.message.id, 7, 'the error has lost its id');
                assert.deepEqual(await fixture.seen(), [], 'the request reached the upstream');
                assert.deepEqual(tracesOf(upstreamToken, answer.raw), []);
                assert.ok(answer.text.length > 0, 'the refusal says nothing');
                if (status === 401)
                    assert.doesNotMatch(answer.headers.get('www-authenticate') ?? '', /resource_metadata/);
            });
        }
    });

    it('forwards mirrored argument headers, known or not, and Base64 names', async () => {
        const call = modernRequest(1, 'tools/call', {
            name: 'test_x_mcp_header',
            arguments: { region: 'zürich' },
        });
        const answer = await post(granted.endpoint, granted.sessionToken, call, {
            ...modernHeaders(
                'tools/call',
                `=?base64?${Buffer.from('test_x_mcp_header').toString('base64')}?=`,
            ),
            'mcp-param-region': `=?base64?${Buffer.from('zürich').toString('base64')}?=`,
            'mcp-param-unheard-of': 'kept as it is',
        });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.message.result.content[0].text, 'region=zürich level=');
        const [seen] = await fixture.seen();
        assert.equal(seen.headers['mcp-param-unheard-of'], 'kept as it is');
        assert.equal(
            seen.headers['mcp-name'],
            `=?base64?${Buffer.from('test_x_mcp_header').toString('base64')}?=`,
        );
        assert.equal(seen.body, JSON.stringify(call), 'the body was not forwarded byte for byte');
    });

    it('keeps the type and the exact digits of request ids', async () => {
        for (const id of ['"7"', '7', '0', '""', '9007199254740991', '"01"']) {
            const body = JSON.stringify(modernRequest('ID', 'tools/list')).replace('"ID"', id);
            const answer = await post(
                granted.endpoint,
                granted.sessionToken,
                body,
                modernHeaders('tools/list'),
            );
            assert.equal(answer.status, 200, answer.text);
            assert.ok(answer.text.includes(`"id":${id}`), `${id} came back as ${answer.text.slice(-60)}`);
        }
    });

    describe('tools an agent may not use', () => {
        let limited;
        before(async () => {
            limited = await grant(claviger, {
                url: fixture.url,
                token: upstreamToken,
                serverName: 'fixture',
                toolset: {
                    default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
                    configs: [{ name: 'test_error_handling', enabled: false }],
                },
                environment: {
                    tool_rules: [
                        { name: 'no waiting', effect: 'deny', server: 'fixture', tool: 'test_wait' },
                    ],
                },
            });
        });

        it('are missing from the list, in both eras', async () => {
            for (const mode of ['legacy', { pin: '2026-07-28' }]) {
                const client = new Client({ name: 'flow', version: '1' }, { versionNegotiation: { mode } });
                const recorder = recordingFetch({ authorization: `Bearer ${limited.sessionToken}` });
                await client.connect(
                    new StreamableHTTPClientTransport(new URL(limited.endpoint), { fetch: recorder.fetch }),
                );
                const { tools } = await client.listTools();
                await client.close();
                const names = tools.map(({ name }) => name);
                assert.ok(names.includes('test_simple_text'));
                assert.ok(
                    !names.includes('test_error_handling'),
                    'the agent sees a tool that is switched off',
                );
                assert.ok(!names.includes('test_wait'), 'the agent sees a tool that a rule denies');
                assert.doesNotMatch(recorder.received().toString(), /test_error_handling|test_wait/);
            }
        });

        for (const name of ['test_error_handling', 'test_wait']) {
            it(`${name} is refused with an answer the client understands, and the upstream is not called`, async () => {
                await fixture.forget();
                const answer = await post(
                    limited.endpoint,
                    limited.sessionToken,
                    modernRequest('call-1', 'tools/call', { name, arguments: {} }),
                    modernHeaders('tools/call', name),
                );
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.message.id, 'call-1');
                assert.ok(
                    answer.message.error?.message || answer.message.result?.isError === true,
                    answer.text,
                );
                assert.deepEqual(await fixture.seen(), [], 'the denied call reached the upstream');
                const entries = await accessLog(claviger, limited.session.id);
                assert.ok(
                    entries.some((entry) => /den(y|ied)/.test(JSON.stringify(entry))),
                    JSON.stringify(entries.slice(-3)),
                );
            });
        }

        it('cannot be called by lying in the header', async () => {
            await fixture.forget();
            const answer = await post(
                limited.endpoint,
                limited.sessionToken,
                modernRequest(1, 'tools/call', { name: 'test_wait', arguments: {} }),
                modernHeaders('tools/call', 'test_simple_text'),
            );
            assert.equal(answer.message.error.code, -32020);
            assert.deepEqual(await fixture.seen(), []);
        });
    });

    describe('batches', () => {
        const initialize = (protocolVersion) =>
            rpc('init', 'initialize', {
                protocolVersion,
                capabilities: {},
                clientInfo: { name: 'flow', version: '1' },
            });
        const call = (id, name) => rpc(id, 'tools/call', { name, arguments: {} });
        let limited;
        before(async () => {
            limited = await grant(claviger, {
                url: fixture.url,
                token: upstreamToken,
                serverName: 'fixture',
                toolset: {
                    default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
                    configs: [{ name: 'test_error_handling', enabled: false }],
                },
            });
        });

        async function openSession(version) {
            const opened = await post(limited.endpoint, limited.sessionToken, initialize(version));
            assert.equal(opened.status, 200, opened.text);
            assert.equal(opened.message.result.protocolVersion, version);
            const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id') };
            await post(
                limited.endpoint,
                limited.sessionToken,
                { jsonrpc: '2.0', method: 'notifications/initialized' },
                headers,
            );
            await fixture.forget();
            return headers;
        }

        it('of 2025-03-26 are answered message by message, and hide no forbidden tool', async () => {
            const headers = await openSession('2025-03-26');
            const answer = await post(
                limited.endpoint,
                limited.sessionToken,
                [call(1, 'test_simple_text'), call('two', 'test_error_handling'), rpc(3, 'tools/list')],
                headers,
            );
            assert.equal(answer.status, 200, answer.text);
            assert.deepEqual(
                answer.messages.map(({ id }) => id),
                [1, 'two', 3],
            );
            const [text, forbidden, list] = answer.messages;
            assert.ok(text.result.content[0].text.length > 0);
            assert.equal(forbidden.error.code, -32602);
            assert.doesNotMatch(JSON.stringify(list), /test_error_handling/);
            assert.ok(list.result.tools.length > 3);
            assert.deepEqual(tracesOf(upstreamToken, answer.raw), []);

            const seen = await fixture.seen();
            assert.equal(seen.length, 2, 'the upstream did not get exactly the two allowed messages');
            for (const { body } of seen) {
                assert.ok(!body.startsWith('['), 'the upstream got an array');
                assert.doesNotMatch(body, /test_error_handling/);
            }
            const denied = (await accessLog(claviger, limited.session.id)).filter((entry) =>
                /den(y|ied)/.test(JSON.stringify(entry)),
            );
            assert.ok(denied.length >= 1, 'the refusal of one message is not in the log');
        });

        it('of notifications alone are accepted', async () => {
            const headers = await openSession('2025-03-26');
            const answer = await post(
                limited.endpoint,
                limited.sessionToken,
                [{ jsonrpc: '2.0', method: 'notifications/roots/list_changed' }],
                headers,
            );
            assert.equal(answer.status, 202, answer.text);
            assert.equal(answer.text, '');
        });

        it('of a later revision are refused, whatever the header says', async () => {
            const headers = await openSession('2025-11-25');
            for (const more of [{}, { 'mcp-protocol-version': '2025-03-26' }]) {
                const answer = await post(
                    limited.endpoint,
                    limited.sessionToken,
                    [call(1, 'test_simple_text')],
                    { ...headers, ...more },
                );
                assert.equal(answer.status, 400, answer.text);
                assert.equal(answer.message.error.code, -32600);
            }
            assert.deepEqual(await fixture.seen(), []);
        });

        const unacceptable = [
            ['an empty array', []],
            ['an array in an array', [[rpc(1, 'ping')]]],
            ['an initialize', [initialize('2025-03-26')]],
            ['an id twice', [rpc(1, 'ping'), rpc(1, 'tools/list')]],
            ['a modern message', [rpc(1, 'ping'), modernRequest(2, 'tools/list')]],
            ['33 messages', Array.from({ length: 33 }, (_, id) => rpc(id, 'ping'))],
        ];
        for (const [what, body] of unacceptable) {
            it(`with ${what} are refused as a whole`, async () => {
                const headers = await openSession('2025-03-26');
                const answer = await post(limited.endpoint, limited.sessionToken, body, headers);
                assert.equal(answer.status, 400, answer.text);
                assert.equal(answer.message.error.code, -32600, answer.text);
                assert.deepEqual(await fixture.seen(), []);
            });
        }
    });

    it('mirrored headers of a legacy message, which nobody compares, do not travel', async () => {
        const opened = await post(
            granted.endpoint,
            granted.sessionToken,
            rpc(1, 'initialize', {
                protocolVersion: '2025-11-25',
                capabilities: {},
                clientInfo: { name: 'flow', version: '1' },
            }),
            { 'mcp-method': 'tools/list', 'mcp-name': 'test_wait', 'mcp-param-region': 'x' },
        );
        assert.equal(opened.status, 200, opened.text);
        const [seen] = await fixture.seen();
        for (const name of ['mcp-method', 'mcp-name', 'mcp-param-region'])
            assert.equal(seen.headers[name], undefined, `${name} reached the upstream`);
    });

    it('an IPv6 address that was configured is a Host in every spelling, another one is not', async () => {
        const other = await startClaviger({
            config: { agents: { allowed_hosts: ['2001:db8::1'] } },
        });
        const theirs = await grant(other, { url: fixture.url, token: upstreamToken, serverName: 'fixture' });
        const statusOf = async (host) =>
            (
                await post(theirs.endpoint, theirs.sessionToken, modernRequest(1, 'tools/list'), {
                    ...modernHeaders('tools/list'),
                    host,
                })
            ).status;
        assert.equal(await statusOf('[2001:db8::1]:8700'), 200);
        assert.equal(await statusOf('[2001:DB8:0::1]'), 200);
        assert.equal(await statusOf('[2001:db8::2]:8700'), 403);
        assert.equal(await statusOf('2001:db8::2'), 403);
    });

    describe('when the upstream is not itself', () => {
        it('an upstream that refuses the token does not send the agent into an OAuth flow', async () => {
            await fixture.setToken('another-token');
            try {
                const answer = await post(
                    granted.endpoint,
                    granted.sessionToken,
                    modernRequest(5, 'tools/list'),
                    modernHeaders('tools/list'),
                );
                assert.equal(answer.headers.get('www-authenticate'), null);
                assert.notEqual(answer.status, 401);
                assert.equal(answer.message.id, 5);
                assert.ok(answer.message.error.message.length > 10);
                assert.doesNotMatch(answer.text, /fixture wants its token/);
            } finally {
                fixture.setToken(upstreamToken);
            }
        });

        it('an upstream that is gone is reported as such', async () => {
            const doomed = await startFixture(upstreamToken);
            const nowhere = await grant(claviger, {
                url: doomed.url,
                token: upstreamToken,
                serverName: 'gone',
            });
            doomed.child.kill('SIGKILL');
            await doomed.child.exited;
            const answer = await post(
                nowhere.endpoint,
                nowhere.sessionToken,
                modernRequest(5, 'tools/list'),
                modernHeaders('tools/list'),
            );
            assert.equal(answer.message.id, 5);
            assert.ok(answer.message.error.message.length > 10, answer.text);
            assert.deepEqual(tracesOf(upstreamToken, answer.raw), []);
        });
    });
});
