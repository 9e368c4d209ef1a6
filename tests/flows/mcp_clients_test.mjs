// Published MCP clients through the real binary with nothing but a session token, in both eras; and what may
// never cross it in either direction.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as typesV1 from '@modelcontextprotocol/sdk/types.js';
import {
    Client as ClientV2,
    StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';
import {
    accessLog,
    eventually,
    freshSecret,
    grant,
    recordingFetch,
    startClaviger,
    startFixture,
    tracesOf,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const upstreamToken = freshSecret('upstream');
const agentCookie = 'agent_cookie=oatmeal';
const agentApiKey = 'agent-own-api-key-7f3e';
const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const answers = {
    elicit: async () => ({ action: 'accept', content: { username: 'ada', email: 'ada@example.com' } }),
    sample: async () => ({
        role: 'assistant',
        model: 'a-model',
        content: { type: 'text', text: 'forty-two' },
    }),
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
    ...[
        ['SDK v2, legacy', 'legacy', { mode: 'legacy' }],
        ['SDK v2, 2026-07-28', 'modern', { mode: { pin: '2026-07-28' } }],
    ].map(([name, era, versionNegotiation]) => ({
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
                    authorization: `Bearer ${granted.sessionToken}`,
                    cookie: agentCookie,
                    'x-api-key': agentApiKey,
                    'private-token': agentApiKey,
                });
                client = kind.make();
                await client.connect(
                    new kind.Transport(new URL(granted.endpoint), { fetch: recorder.fetch }),
                );
                try {
                    await use(client);
                } finally {
                    await client.close();
                }
                await nothingCrossed();
            }

            async function nothingCrossed() {
                assert.deepEqual(
                    tracesOf(upstreamToken, recorder.received()),
                    [],
                    'the agent received the injected token',
                );
                assert.doesNotMatch(
                    recorder.received().toString('latin1'),
                    /set-cookie|chocolate|claviger-fixture\/1\.0\r|rel="alternate"/i,
                );
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

            it('connects, lists and calls tools', () =>
                connected(async () => {
                    const { tools } = await client.listTools();
                    assert.ok(tools.length > 20);
                    const result = await kind.call(client, { name: 'test_simple_text', arguments: {} });
                    assert.equal(textOf(result), 'This is a simple text response for testing.');
                    const failed = await kind.call(client, { name: 'test_error_handling', arguments: {} });
                    assert.equal(failed.isError, true);
                    assert.equal(client.getServerVersion().name, 'claviger-fixture');
                    const methods = (await fixture.seen()).map(({ body }) => body && JSON.parse(body).method);
                    assert.ok(
                        methods.includes(kind.era === 'modern' ? 'server/discover' : 'initialize'),
                        methods.join(),
                    );
                    assert.ok(
                        !methods.includes(kind.era === 'modern' ? 'initialize' : 'server/discover'),
                        methods.join(),
                    );
                }));

            it('receives progress while the call runs', () =>
                connected(async () => {
                    const progress = [];
                    await kind.call(
                        client,
                        { name: 'test_tool_with_progress', arguments: {} },
                        { onprogress: (report) => progress.push(report.progress) },
                    );
                    assert.deepEqual(progress, [0, 50, 100]);
                }));

            it('is asked by the server: elicitation and sampling', () =>
                connected(async () => {
                    const elicited = await kind.call(client, {
                        name: 'test_elicitation',
                        arguments: { message: 'Who?' },
                    });
                    assert.equal(
                        textOf(elicited),
                        'User response: action=accept, content={"username":"ada","email":"ada@example.com"}',
                    );
                    const sampled = await kind.call(client, {
                        name: 'test_sampling',
                        arguments: { prompt: 'The answer?' },
                    });
                    assert.equal(textOf(sampled), 'LLM response: forty-two');
                }));

            it('reads resources and their templates', () =>
                connected(async () => {
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

            it('is told when a resource or the tools change', () =>
                connected(async () => {
                    const updated = [];
                    let toolsChanged = 0;
                    kind.on(
                        client,
                        'ResourceUpdatedNotificationSchema',
                        'notifications/resources/updated',
                        ({ params }) => {
                            updated.push(params.uri);
                        },
                    );
                    kind.on(
                        client,
                        'ToolListChangedNotificationSchema',
                        'notifications/tools/list_changed',
                        () => {
                            toolsChanged += 1;
                        },
                    );
                    const uri = 'test://watched-resource';
                    let listening;
                    if (kind.era === 'modern') {
                        listening = await client.listen({
                            toolsListChanged: true,
                            resourceSubscriptions: [uri],
                        });
                    } else {
                        await client.subscribeResource({ uri });
                    }
                    // A server may drop what it says before the stream for notifications is open, so it says it again.
                    await eventually('the notifications arrive', async () => {
                        await kind.call(client, { name: 'test_touch_resource', arguments: { uri } });
                        await kind.call(client, { name: 'test_trigger_tool_change', arguments: {} });
                        return updated.length > 0 && toolsChanged > 0;
                    });
                    assert.deepEqual([...new Set(updated)], [uri]);
                    if (listening) return listening.close();

                    /// What is said comes in order: when this has come, so has all that was said before.
                    const heardAll = async () => {
                        await sleep(100);
                        const before = toolsChanged;
                        await kind.call(client, { name: 'test_trigger_tool_change', arguments: {} });
                        await eventually('the next notification', () => toolsChanged > before);
                    };
                    await client.unsubscribeResource({ uri });
                    await heardAll();
                    const before = updated.length;
                    await kind.call(client, { name: 'test_touch_resource', arguments: { uri } });
                    await heardAll();
                    assert.equal(updated.length, before, 'still told after the subscription ended');
                }));

            it('gets prompts and completions', () =>
                connected(async () => {
                    const { prompts } = await client.listPrompts();
                    assert.ok(prompts.length >= 4);
                    const prompt = await client.getPrompt({
                        name: 'test_prompt_with_arguments',
                        arguments: { arg1: 'hello', arg2: 'wörld' },
                    });
                    assert.equal(
                        prompt.messages[0].content.text,
                        "Prompt with arguments: arg1='hello', arg2='wörld'",
                    );
                    const { completion } = await client.complete({
                        ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
                        argument: { name: 'arg1', value: 'par' },
                    });
                    assert.deepEqual(completion.values, ['paris', 'park', 'party']);
                }));

            it('cancels a call, and the server learns of it', () =>
                connected(async () => {
                    const abort = new AbortController();
                    const call = kind.call(
                        client,
                        { name: 'test_wait', arguments: {} },
                        { signal: abort.signal },
                    );
                    await eventually('the server runs the call', async () =>
                        (await fixture.seen()).some(({ body }) => body.includes('test_wait')),
                    );
                    abort.abort(new Error('the user changed their mind'));
                    await assert.rejects(call);
                    await eventually(
                        'the server sees the cancellation',
                        async () => (await fixture.cancelled()).length > 0,
                    );
                    const after = await kind.call(client, { name: 'test_simple_text', arguments: {} });
                    assert.equal(textOf(after), 'This is a simple text response for testing.');
                }));

            it('runs twenty calls at once and mixes none up', () =>
                connected(async () => {
                    const results = await Promise.all(
                        Array.from({ length: 20 }, (unused, level) =>
                            kind.call(client, { name: 'test_x_mcp_header', arguments: { level } }),
                        ),
                    );
                    assert.deepEqual(
                        results.map(textOf),
                        results.map((unused, level) => `region= level=${level}`),
                    );
                }));

            if (kind.era === 'modern') {
                it('is told at once when the server hangs up in the middle of a call', () =>
                    connected(async () => {
                        const begun = Date.now();
                        await assert.rejects(
                            kind.call(client, { name: 'test_hang_up', arguments: {} }, { timeout: 20_000 }),
                            (error) => {
                                assert.equal(typeof error.code, 'number', `not a JSON-RPC error: ${error}`);
                                const reserved =
                                    error.code >= -32768 && error.code <= -32000 && error.code !== -32603;
                                assert.ok(!reserved, `code ${error.code} is reserved`);
                                return true;
                            },
                        );
                        assert.ok(Date.now() - begun < 5_000, 'the client waited for its own timeout');
                    }));
            }

            if (kind.era === 'legacy') {
                it('resumes a stream that the server closed in the middle of a call', () =>
                    connected(async () => {
                        const result = await kind.call(client, { name: 'test_reconnection', arguments: {} });
                        assert.equal(textOf(result), 'The answer came after the stream was closed.');
                        assert.ok(
                            (await fixture.seen()).some(
                                ({ method, headers }) => method === 'GET' && headers['last-event-id'],
                            ),
                        );
                    }));

                it('resumes a call whose connection broke', () =>
                    connected(async () => {
                        const result = await kind.call(client, { name: 'test_hang_up', arguments: {} });
                        assert.equal(textOf(result), 'The connection broke on the way.');
                    }));

                it('starts anew when the server has lost its session', async () => {
                    let lost;
                    await connected(async () => {
                        await client.listTools();
                        await fixture.endSessions();
                        const headers = {
                            'mcp-session-id': client.transport.sessionId,
                            'mcp-protocol-version': '2025-11-25',
                        };
                        const next = await post(
                            granted.endpoint,
                            granted.sessionToken,
                            rpc(9, 'tools/list'),
                            headers,
                        );
                        assert.equal(next.status, 404, next.text);
                        assert.equal(next.message.error.code, -32001);
                        lost = client.transport.sessionId;
                    });
                    await connected(async () => {
                        assert.notEqual(client.transport.sessionId, lost);
                        const { tools } = await client.listTools();
                        assert.ok(tools.length > 20);
                    });
                });

                it('ends its session on both sides', () =>
                    connected(async () => {
                        await client.listTools();
                        const session = client.transport.sessionId;
                        await client.transport.terminateSession();
                        assert.ok((await fixture.seen()).some(({ method }) => method === 'DELETE'));
                        const gone = await post(
                            granted.endpoint,
                            granted.sessionToken,
                            rpc(9, 'tools/list'),
                            {
                                'mcp-session-id': session,
                                'mcp-protocol-version': '2025-11-25',
                            },
                        );
                        assert.equal(gone.status, 404);
                    }));

                it('never shows the session id of the server to the agent', () =>
                    connected(async () => {
                        await client.listTools();
                        const mine = client.transport.sessionId;
                        const theirs = (await fixture.seen())
                            .map(({ headers }) => headers['mcp-session-id'])
                            .filter(Boolean);
                        assert.ok(theirs.length > 0);
                        for (const id of theirs) {
                            assert.notEqual(id, mine);
                            assert.ok(
                                !recorder.received().includes(id),
                                'the session id of the server reached the agent',
                            );
                        }
                    }));
            }
        });
    }

    it('every call of a session is in the access log, and neither token is', async () => {
        const fresh = await grant(claviger, {
            url: fixture.url,
            token: upstreamToken,
            serverName: 'fixture',
        });
        await post(
            fresh.endpoint,
            fresh.sessionToken,
            modernRequest(1, 'tools/call', { name: 'test_simple_text', arguments: {} }),
            modernHeaders('tools/call', 'test_simple_text'),
        );
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
