// Published MCP clients through the real binary with nothing but a session token, in both eras; and what may
// never cross it in either direction.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as typesV1 from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import {
    accessLog, eventually, freshSecret, grant, recordingFetch, startClaviger, startFixture, tracesOf,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const upstreamToken = freshSecret('upstream');
const agentCookie = 'agent_cookie=oatmeal';
const agentApiKey = 'agent-own-api-key-7f3e';
const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const answers = {
    elicit: async () => ({ action: 'accept', content: { username: 'ada', email: 'ada@example.com' } }),
    sample: async () => ({ role: 'assistant', model: 'a-model', content: { type: 'text', text: 'forty-two' } }),
};

const clients = [
    {
        name: 'SDK v1',
        era: 'legacy',
        make() {
            const client = new ClientV1({ name: 'flow', version: '1' }, { capabilities });
            client.setRequestHandler(typesV1.ElicitRequestSchema, answers.elicit);
            client.setRequestHandler(typesV1.CreateMessageRequestSchema, answers.sample);
            return client;
        },
        Transport: TransportV1,
        call: (client, params, options) => client.callTool(params, undefined, options),
        on: (client, schema, method, each) => client.setNotificationHandler(typesV1[schema], each),
    },
    ...[['SDK v2, legacy', 'legacy', { mode: 'legacy' }], ['SDK v2, 2026-07-28', 'modern', { mode: { pin: '2026-07-28' } }]]
        .map(([name, era, versionNegotiation]) => ({
            name,
            era,
            make() {
                const client = new ClientV2({ name: 'flow', version: '1' }, { capabilities, versionNegotiation });
                client.setRequestHandler('elicitation/create', answers.elicit);
                client.setRequestHandler('sampling/createMessage', answers.sample);
                return client;
            },
            Transport: TransportV2,
            call: (client, params, options) => client.callTool(params, options),
            on: (client, schema, method, each) => client.setNotificationHandler(method, each),
        })),
];

const textOf = (result) => result.content.map((part) => part.text ?? '').join('\n');

describe('Claviger between published MCP clients and a dual-era server', () => {
    let fixture;
    let claviger;
    let granted;

    before(async () => {
        fixture = await startFixture(upstreamToken);
        claviger = await startClaviger();
        granted = await grant(claviger, { url: fixture.url, token: upstreamToken, serverName: 'fixture' });
    });
    beforeEach(() => fixture.forget());

    for (const kind of clients) {
        describe(kind.name, () => {
            let client;
            let recorder;

            /// Runs `use` with a connected client that also sends credentials of its own along.
            async function connected(use) {
                recorder = recordingFetch({
                    authorization: `Bearer ${granted.sessionToken}`, cookie: agentCookie, 'x-api-key': agentApiKey,
                    'private-token': agentApiKey,
                });
                client = kind.make();
                await client.connect(new kind.Transport(new URL(granted.endpoint), { fetch: recorder.fetch }));
                try {
                    await use(client);
                } finally {
                    await client.close();
                }
                await nothingCrossed();
            }

            async function nothingCrossed() {
                assert.deepEqual(tracesOf(upstreamToken, recorder.received()), [], 'the agent received the injected token');
                assert.doesNotMatch(recorder.received().toString('latin1'), /set-cookie|chocolate|claviger-fixture\/1\.0\r|rel="alternate"/i);
                const seen = await fixture.seen();
                assert.ok(seen.length > 0, 'the upstream saw nothing at all');
                for (const request of seen) {
                    assert.equal(request.headers.authorization, `Bearer ${upstreamToken}`);
                    const whole = JSON.stringify([request.path, request.raw_headers, request.body]);
                    for (const own of [granted.sessionToken, agentCookie, agentApiKey]) {
                        assert.ok(!whole.includes(own), `${own} of the agent reached the upstream: ${whole}`);
                    }
                }
            }

            it('connects, lists and calls tools', () => connected(async () => {
                const { tools } = await client.listTools();
                assert.ok(tools.length > 20);
                const result = await kind.call(client, { name: 'test_simple_text', arguments: {} });
                assert.equal(textOf(result), 'This is a simple text response for testing.');
                const failed = await kind.call(client, { name: 'test_error_handling', arguments: {} });
                assert.equal(failed.isError, true);
                assert.equal(client.getServerVersion().name, 'claviger-fixture');
                const methods = (await fixture.seen()).map(({ body }) => body && JSON.parse(body).method);
                assert.ok(methods.includes(kind.era === 'modern' ? 'server/discover' : 'initialize'), methods.join());
                assert.ok(!methods.includes(kind.era === 'modern' ? 'initialize' : 'server/discover'), methods.join());
            }));

            it('receives progress while the call runs', () => connected(async () => {
                const progress = [];
                await kind.call(client, { name: 'test_tool_with_progress', arguments: {} },
                    { onprogress: (report) => progress.push(report.progress) });
                assert.deepEqual(progress, [0, 50, 100]);
            }));

            it('is asked by the server: elicitation and sampling', () => connected(async () => {
                const elicited = await kind.call(client, { name: 'test_elicitation', arguments: { message: 'Who?' } });
                assert.equal(textOf(elicited), 'User response: action=accept, content={"username":"ada","email":"ada@example.com"}');
                const sampled = await kind.call(client, { name: 'test_sampling', arguments: { prompt: 'The answer?' } });
                assert.equal(textOf(sampled), 'LLM response: forty-two');
            }));

            it('reads resources and their templates', () => connected(async () => {
                const { resources } = await client.listResources();
                assert.ok(resources.some(({ uri }) => uri === 'test://static-text'));
                const { resourceTemplates } = await client.listResourceTemplates();
                assert.equal(resourceTemplates[0].uriTemplate, 'test://template/{id}/data');
                const text = await client.readResource({ uri: 'test://static-text' });
                assert.equal(text.contents[0].text, 'This is the content of the static text resource.');
                const blob = await client.readResource({ uri: 'test://static-binary' });
                assert.match(blob.contents[0].blob, /^iVBORw0KGgo/);
                const made = await client.readResource({ uri: 'test://template/z%C3%BCrich/data' });
                assert.match(made.contents[0].text, /"templateTest":true/);
                await assert.rejects(client.readResource({ uri: 'test://nowhere' }), (error) => {
                    assert.ok([-32002, -32602].includes(error.code), `code ${error.code}`);
                    return true;
                });
            }));

            it('is told when a resource or the tools change', () => connected(async () => {
                const updated = [];
                let toolsChanged = 0;
                kind.on(client, 'ResourceUpdatedNotificationSchema', 'notifications/resources/updated',
                    ({ params }) => { updated.push(params.uri); });
                kind.on(client, 'ToolListChangedNotificationSchema', 'notifications/tools/list_changed',
                    () => { toolsChanged += 1; });
                const uri = 'test://watched-resource';
                let listening;
                if (kind.era === 'modern') {
                    listening = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
                } else {
                    await client.subscribeResource({ uri });
                    await eventually('the server sees the stream for notifications', async () =>
                        (await fixture.seen()).some(({ method }) => method === 'GET'));
                    await sleep(100);
                }
                await kind.call(client, { name: 'test_touch_resource', arguments: { uri } });
                await kind.call(client, { name: 'test_trigger_tool_change', arguments: {} });
                await eventually('the notifications arrive', () => updated.length > 0 && toolsChanged > 0);
                assert.deepEqual(updated, [uri]);
                if (listening) return listening.close();

                await client.unsubscribeResource({ uri });
                await kind.call(client, { name: 'test_touch_resource', arguments: { uri } });
                await sleep(150);
                assert.deepEqual(updated, [uri]);
            }));

            it('gets prompts and completions', () => connected(async () => {
                const { prompts } = await client.listPrompts();
                assert.ok(prompts.length >= 4);
                const prompt = await client.getPrompt({
                    name: 'test_prompt_with_arguments', arguments: { arg1: 'hello', arg2: 'wörld' },
                });
                assert.equal(prompt.messages[0].content.text, "Prompt with arguments: arg1='hello', arg2='wörld'");
                const { completion } = await client.complete({
                    ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'par' },
                });
                assert.deepEqual(completion.values, ['paris', 'park', 'party']);
            }));

            it('cancels a call, and the server learns of it', () => connected(async () => {
                const abort = new AbortController();
                const call = kind.call(client, { name: 'test_wait', arguments: {} }, { signal: abort.signal });
                await eventually('the server runs the call', async () =>
                    (await fixture.seen()).some(({ body }) => body.includes('test_wait')));
                abort.abort(new Error('the user changed their mind'));
                await assert.rejects(call);
                await eventually('the server sees the cancellation', async () => (await fixture.cancelled()).length > 0);
                const after = await kind.call(client, { name: 'test_simple_text', arguments: {} });
                assert.equal(textOf(after), 'This is a simple text response for testing.');
            }));

            it('runs twenty calls at once and mixes none up', () => connected(async () => {
                const results = await Promise.all(Array.from({ length: 20 }, (unused, level) =>
                    kind.call(client, { name: 'test_x_mcp_header', arguments: { level } })));
                assert.deepEqual(results.map(textOf), results.map((unused, level) => `region= level=${level}`));
            }));

            if (kind.era === 'modern') {
                it('is told at once when the server hangs up in the middle of a call', () => connected(async () => {
                    const begun = Date.now();
                    await assert.rejects(kind.call(client, { name: 'test_hang_up', arguments: {} }, { timeout: 20_000 }), (error) => {
                        assert.equal(typeof error.code, 'number', `not a JSON-RPC error: ${error}`);
                        const reserved = error.code >= -32768 && error.code <= -32000 && error.code !== -32603;
                        assert.ok(!reserved, `code ${error.code} is reserved`);
                        return true;
                    });
                    assert.ok(Date.now() - begun < 5_000, 'the client waited for its own timeout');
                }));
            }

            if (kind.era === 'legacy') {
                it('resumes a stream that the server closed in the middle of a call', () => connected(async () => {
                    const result = await kind.call(client, { name: 'test_reconnection', arguments: {} });
                    assert.equal(textOf(result), 'The answer came after the stream was closed.');
                    assert.ok((await fixture.seen()).some(({ method, headers }) => method === 'GET' && headers['last-event-id']));
                }));

                it('resumes a call whose connection broke', () => connected(async () => {
                    const result = await kind.call(client, { name: 'test_hang_up', arguments: {} });
                    assert.equal(textOf(result), 'The connection broke on the way.');
                }));

                it('can go on, or start anew, when the server has lost its session', () => connected(async () => {
                    await client.listTools();
                    await fixture.endSessions();
                    const headers = { 'mcp-session-id': client.transport.sessionId, 'mcp-protocol-version': '2025-11-25' };
                    const next = await post(granted.endpoint, granted.sessionToken, rpc(9, 'tools/list'), headers);
                    assert.ok([200, 404].includes(next.status), `${next.status}: ${next.text}`);
                    if (next.status === 200) assert.ok(next.message.result.tools.length > 20);
                }));

                it('ends its session on both sides', () => connected(async () => {
                    await client.listTools();
                    const session = client.transport.sessionId;
                    await client.transport.terminateSession();
                    assert.ok((await fixture.seen()).some(({ method }) => method === 'DELETE'));
                    const gone = await post(granted.endpoint, granted.sessionToken, rpc(9, 'tools/list'), {
                        'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25',
                    });
                    assert.equal(gone.status, 404);
                }));

                it('never shows the session id of the server to the agent', () => connected(async () => {
                    await client.listTools();
                    const mine = client.transport.sessionId;
                    const theirs = (await fixture.seen()).map(({ headers }) => headers['mcp-session-id']).filter(Boolean);
                    assert.ok(theirs.length > 0);
                    for (const id of theirs) {
                        assert.notEqual(id, mine);
                        assert.ok(!recorder.received().includes(id), 'the session id of the server reached the agent');
                    }
                }));
            }
        });
    }

    describe('sessions of two agents', () => {
        const initialize = rpc(1, 'initialize', {
            protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'flow', version: '1' },
        });
        it('an MCP session of one agent is unknown to another that shares the credential', async () => {
            const other = await grant(claviger, { url: fixture.url, serverName: 'fixture', shared: granted });
            const opened = await post(granted.endpoint, granted.sessionToken, initialize);
            assert.equal(opened.status, 200);
            const id = opened.headers.get('mcp-session-id');
            assert.ok(id);
            const headers = { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' };
            await post(granted.endpoint, granted.sessionToken, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
            await fixture.forget();

            for (const request of [
                { method: 'POST' }, { method: 'GET' }, { method: 'GET', headers: { 'last-event-id': '1' } }, { method: 'DELETE' },
            ]) {
                const stolen = await post(other.endpoint, other.sessionToken,
                    request.method === 'POST' ? rpc(2, 'tools/list') : undefined, { ...headers, ...request.headers }, request.method);
                assert.equal(stolen.status, 404, `${request.method} with a foreign session: ${stolen.text}`);
            }
            assert.deepEqual(await fixture.seen(), [], 'a request with a foreign session reached the upstream');

            const mine = await post(granted.endpoint, granted.sessionToken, rpc(3, 'tools/list'), headers);
            assert.equal(mine.status, 200);
        });

        it('an invented session id is unknown and never reaches the upstream', async () => {
            const answer = await post(granted.endpoint, granted.sessionToken, rpc(2, 'tools/list'),
                { 'mcp-session-id': 'made-up', 'mcp-protocol-version': '2025-11-25' });
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
            ['a foreign Origin', { message: callText, headers: { ...good(), origin: 'http://evil.example.com' }, status: 403 }],
            ['a foreign Host', { message: callText, headers: { ...good(), host: 'evil.example.com' }, status: 403 }],
            ['a method header that differs', { message: callText, headers: { ...good(), 'mcp-method': 'tools/list' }, status: 400, code: -32020 }],
            ['a method header in the wrong case', { message: callText, headers: { ...good(), 'mcp-method': 'Tools/Call' }, status: 400, code: -32020 }],
            ['a name header that differs', { message: callText, headers: { ...good(), 'mcp-name': 'test_image_content' }, status: 400, code: -32020 }],
            ['no name header', { message: callText, headers: { ...good(), 'mcp-name': undefined }, status: 400, code: -32020 }],
            ['a version header that differs', { message: callText, headers: { ...good(), 'mcp-protocol-version': '2025-11-25' }, status: 400, code: -32020 }],
            ['no version header', { message: callText, headers: { ...good(), 'mcp-protocol-version': undefined }, status: 400, code: -32020 }],
            ['a body that is not JSON', { raw: '{"jsonrpc":', headers: good(), status: 400, code: -32700 }],
            ['a batch', { raw: JSON.stringify([callText, callText]), headers: good(), status: 400, code: -32600 }],
            ['a repeated method key', {
                raw: JSON.stringify(callText).replace('"method"', '"method":"tools/list","method"'), headers: good(), status: 400,
            }],
            ['a repeated name key', {
                raw: JSON.stringify(callText).replace('"name":"test_simple_text"', '"name":"test_wait","name":"test_simple_text"'),
                headers: good(), status: 400,
            }],
        ];
        for (const [what, { token, message, raw, headers, status, code }] of refusals) {
            it(what, async () => {
                const answer = await post(granted.endpoint, token === undefined ? granted.sessionToken : token,
                    raw ?? message, headers ?? modernHeaders('tools/list'));
                assert.equal(answer.status, status, answer.text);
                if (code !== undefined) assert.equal(answer.message.error.code, code, answer.text);
                if (code !== undefined && message) assert.equal(answer.message.id, 7, 'the error has lost its id');
                assert.deepEqual(await fixture.seen(), [], 'the request reached the upstream');
                assert.deepEqual(tracesOf(upstreamToken, answer.raw), []);
                assert.ok(answer.text.length > 0, 'the refusal says nothing');
                if (status === 401) assert.doesNotMatch(answer.headers.get('www-authenticate') ?? '', /resource_metadata/);
            });
        }
    });

    it('forwards mirrored argument headers, known or not, and Base64 names', async () => {
        const call = modernRequest(1, 'tools/call', { name: 'test_x_mcp_header', arguments: { region: 'zürich' } });
        const answer = await post(granted.endpoint, granted.sessionToken, call, {
            ...modernHeaders('tools/call', `=?base64?${Buffer.from('test_x_mcp_header').toString('base64')}?=`),
            'mcp-param-region': `=?base64?${Buffer.from('zürich').toString('base64')}?=`,
            'mcp-param-unheard-of': 'kept as it is',
        });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.message.result.content[0].text, 'region=zürich level=');
        const [seen] = await fixture.seen();
        assert.equal(seen.headers['mcp-param-unheard-of'], 'kept as it is');
        assert.equal(seen.headers['mcp-name'], `=?base64?${Buffer.from('test_x_mcp_header').toString('base64')}?=`);
        assert.equal(seen.body, JSON.stringify(call), 'the body was not forwarded byte for byte');
    });

    it('keeps the type and the exact digits of request ids', async () => {
        for (const id of ['"7"', '7', '0', '""', '9007199254740991', '"01"']) {
            const body = JSON.stringify(modernRequest('ID', 'tools/list')).replace('"ID"', id);
            const answer = await post(granted.endpoint, granted.sessionToken, body, modernHeaders('tools/list'));
            assert.equal(answer.status, 200, answer.text);
            assert.ok(answer.text.includes(`"id":${id}`), `${id} came back as ${answer.text.slice(-60)}`);
        }
    });

    describe('tools an agent may not use', () => {
        let limited;
        before(async () => {
            limited = await grant(claviger, {
                url: fixture.url, token: upstreamToken, serverName: 'fixture',
                toolset: {
                    default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
                    configs: [{ name: 'test_error_handling', enabled: false }],
                },
                environment: { tool_rules: [{ name: 'no waiting', effect: 'deny', server: 'fixture', tool: 'test_wait' }] },
            });
        });

        it('are missing from the list, in both eras', async () => {
            for (const kind of clients) {
                const client = kind.make();
                const recorder = recordingFetch({ authorization: `Bearer ${limited.sessionToken}` });
                await client.connect(new kind.Transport(new URL(limited.endpoint), { fetch: recorder.fetch }));
                const { tools } = await client.listTools();
                await client.close();
                const names = tools.map(({ name }) => name);
                assert.ok(names.includes('test_simple_text'));
                assert.ok(!names.includes('test_error_handling'), `${kind.name} sees a tool that is switched off`);
                assert.ok(!names.includes('test_wait'), `${kind.name} sees a tool that a rule denies`);
                assert.doesNotMatch(recorder.received().toString(), /test_error_handling|test_wait/);
            }
        });

        for (const name of ['test_error_handling', 'test_wait']) {
            it(`${name} is refused with an answer the client understands, and the upstream is not called`, async () => {
                await fixture.forget();
                const answer = await post(limited.endpoint, limited.sessionToken,
                    modernRequest('call-1', 'tools/call', { name, arguments: {} }), modernHeaders('tools/call', name));
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.message.id, 'call-1');
                assert.ok(answer.message.error?.message || answer.message.result?.isError === true, answer.text);
                assert.deepEqual(await fixture.seen(), [], 'the denied call reached the upstream');
                const entries = await accessLog(claviger, limited.session.id);
                assert.ok(entries.some((entry) => /den(y|ied)/.test(JSON.stringify(entry))), JSON.stringify(entries.slice(-3)));
            });
        }

        it('cannot be called by lying in the header', async () => {
            await fixture.forget();
            const answer = await post(limited.endpoint, limited.sessionToken,
                modernRequest(1, 'tools/call', { name: 'test_wait', arguments: {} }),
                modernHeaders('tools/call', 'test_simple_text'));
            assert.equal(answer.message.error.code, -32020);
            assert.deepEqual(await fixture.seen(), []);
        });
    });

    describe('when the upstream is not itself', () => {
        it('an upstream that refuses the token does not send the agent into an OAuth flow', async () => {
            await fixture.setToken('another-token');
            try {
                const answer = await post(granted.endpoint, granted.sessionToken, modernRequest(5, 'tools/list'),
                    modernHeaders('tools/list'));
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
            const nowhere = await grant(claviger, { url: doomed.url, token: upstreamToken, serverName: 'gone' });
            doomed.child.kill('SIGKILL');
            await doomed.child.exited;
            const answer = await post(nowhere.endpoint, nowhere.sessionToken, modernRequest(5, 'tools/list'),
                modernHeaders('tools/list'));
            assert.equal(answer.message.id, 5);
            assert.ok(answer.message.error.message.length > 10, answer.text);
            assert.deepEqual(tracesOf(upstreamToken, answer.raw), []);
        });
    });

    it('every call of a session is in the access log, and neither token is', async () => {
        const fresh = await grant(claviger, { url: fixture.url, token: upstreamToken, serverName: 'fixture' });
        await post(fresh.endpoint, fresh.sessionToken, modernRequest(1, 'tools/call', { name: 'test_simple_text', arguments: {} }),
            modernHeaders('tools/call', 'test_simple_text'));
        const entries = await eventually('the entries appear', async () => {
            const all = await accessLog(claviger, fresh.session.id);
            return all.length > 0 && all;
        });
        for (const text of [JSON.stringify(entries), claviger.readLog()]) {
            assert.deepEqual(tracesOf(upstreamToken, text), []);
            assert.deepEqual(tracesOf(fresh.sessionToken, text), []);
            assert.deepEqual(tracesOf(granted.sessionToken, text), []);
        }
    });
});
