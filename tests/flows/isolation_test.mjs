// Two agents, one credential: the server cannot tell them apart, so Claviger must.
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createRequire } from 'node:module';
import {
    accessLog,
    eventually,
    freshSecret,
    grant,
    makeStore,
    recordingFetch,
    serve,
    startClaviger,
    startNode,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const packages = createRequire(import.meta.url);
const { Client } = packages('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = packages('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { CallToolResultSchema, ElicitRequestSchema } = packages('@modelcontextprotocol/sdk/types.js');

describe('Agents that share a credential', () => {
    let claviger;
    let upstream;
    let alice;
    let bob;
    const seen = async () => (await fetch(`http://127.0.0.1:${upstream.ready.port}/__seen`)).json();

    before(async () => {
        upstream = await startNode('task_server.mjs');
        claviger = await startClaviger();
        const at = { url: `http://127.0.0.1:${upstream.ready.port}/mcp`, serverName: 'tasks' };
        alice = await grant(claviger, { ...at, token: freshSecret('shared') });
        bob = await grant(claviger, { ...at, shared: alice });
    });

    /// Nothing that the server has handed out may be read by the agent as the server knows it.
    async function connect(agent, name) {
        const recorder = recordingFetch({ authorization: `Bearer ${agent.sessionToken}` });
        const client = new Client(
            { name: 'flow', version: '1' },
            { capabilities: { elicitation: { form: {} }, tasks: { requests: { elicitation: { create: {} } } } } },
        );
        client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name } }));
        await client.connect(new StreamableHTTPClientTransport(new URL(agent.endpoint), { fetch: recorder.fetch }));
        return { client, recorder };
    }

    async function refused(work, code = -32602) {
        await assert.rejects(work, (error) => {
            assert.equal(error.code, code, error.message);
            return true;
        });
    }

    describe('in the legacy era, with the official SDK on both sides', () => {
        it('a task asks its own agent and ends there; another agent cannot see, read or end it', async () => {
            const mine = await connect(alice, 'Alice');
            const theirs = await connect(bob, 'Bob');
            const before = (await seen()).length;
            let taskId;
            let result;
            const stream = mine.client.experimental.tasks.callToolStream(
                { name: 'ask', arguments: {} },
                CallToolResultSchema,
                { task: { ttl: 60_000 } },
            );
            for await (const message of stream) {
                if (message.type === 'taskCreated') {
                    taskId = message.task.taskId;
                    const tasks = theirs.client.experimental.tasks;
                    await refused(tasks.getTask(taskId));
                    await refused(tasks.getTaskResult(taskId, CallToolResultSchema));
                    await refused(tasks.cancelTask(taskId));
                }
                if (message.type === 'error') throw message.error;
                if (message.type === 'result') result = message.result;
            }
            assert.equal(result.content[0].text, 'Hello Alice');
            assert.equal((await mine.client.experimental.tasks.getTask(taskId)).taskId, taskId);

            const bodies = (await seen()).slice(before).map(({ body }) => JSON.parse(body));
            const raw = bodies.find(({ method }) => method === 'tasks/get').params.taskId;
            assert.notEqual(raw, taskId);
            assert.equal(
                bodies.filter(({ method }) => method === 'tasks/cancel').length,
                0,
                'the task of another agent was cancelled',
            );
            assert.ok(!mine.recorder.received().includes(raw), 'the agent has seen the id that the server knows');
            const answers = bodies.filter(({ result: answer }) => answer?.action === 'accept');
            assert.equal(answers.length, 1);
            // The server's own id, leaked in whatever way, is nobody's.
            for (const { client } of [mine, theirs]) await refused(client.experimental.tasks.getTask(raw));

            const entries = await accessLog(claviger, bob.session.id);
            assert.ok(
                entries.some((entry) => JSON.stringify(entry).includes('task.unknown')),
                'the attempt of the other agent is not on record',
            );
            await mine.client.close();
            await theirs.client.close();
        });

        it('tasks are not listed, because a list would show those of all', async () => {
            const { client } = await connect(bob, 'Bob');
            await refused(client.experimental.tasks.listTasks(), -32601);
            await client.close();
        });

        it('a cursor opens the next page for the agent that got it, and for nobody else', async () => {
            const mine = await connect(alice, 'Alice');
            const theirs = await connect(bob, 'Bob');
            const { nextCursor, tools } = await mine.client.listTools();
            assert.equal(tools[0].name, 'ask');
            assert.ok(!nextCursor.includes('page-two'));
            assert.equal((await mine.client.listTools({ cursor: nextCursor })).tools[0].name, 'second');
            await refused(theirs.client.listTools({ cursor: nextCursor }));
            for (const { client } of [mine, theirs]) {
                await refused(client.listTools({ cursor: 'page-two-of-the-account' }));
                await client.close();
            }
        });
    });

    describe('in the modern era', () => {
        const ask = (agent, method, params, name) =>
            post(
                agent.endpoint,
                agent.sessionToken,
                modernRequest(1, method, params),
                modernHeaders(method, name ?? params.taskId ?? params.name),
            );

        it('a task is its agent’s, and the header says what the body says on both sides', async () => {
            const started = await ask(alice, 'tools/call', { name: 'slow', arguments: {} });
            const { taskId } = started.message.result;
            assert.ok(!taskId.startsWith('task '), taskId);
            const mine = await ask(alice, 'tasks/get', { taskId });
            assert.equal(mine.message.result?.status, 'working', mine.text);
            assert.equal(mine.message.result.taskId, taskId);
            const last = (await seen()).at(-1);
            const raw = JSON.parse(last.body).params.taskId;
            assert.match(raw, /^task .* ä$/);
            assert.equal(last.name, `=?base64?${Buffer.from(raw).toString('base64')}?=`);

            const before = (await seen()).length;
            for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
                const theirs = await ask(bob, method, { taskId });
                assert.equal(theirs.status, 200, theirs.text);
                assert.equal(theirs.message.error.code, -32602);
                assert.equal(theirs.message.error.data.code, 'task.unknown');
                assert.equal((await ask(alice, method, { taskId }, 'another')).message.error.code, -32020);
            }
            assert.equal((await seen()).length, before, 'a refused message reached the server');
            assert.equal((await ask(alice, 'tasks/cancel', { taskId })).status, 200);
            assert.equal((await ask(alice, 'tasks/get', { taskId })).message.result.status, 'cancelled');
        });

        it('a request state continues the call of the agent that got it', async () => {
            const begun = await ask(alice, 'tools/call', { name: 'rounds', arguments: {} });
            const { requestState } = begun.message.result;
            const again = { name: 'rounds', arguments: {}, inputResponses: {}, requestState };
            assert.equal((await ask(bob, 'tools/call', again)).message.error.data.code, 'state.unknown');
            assert.equal((await ask(alice, 'tools/call', again)).message.result.content[0].text, 'went on');
        });

        it('handles outlive a restart, as no table of them is kept', async () => {
            const store = await makeStore();
            const first = await serve(store);
            const at = { url: `http://127.0.0.1:${upstream.ready.port}/mcp`, serverName: 'tasks' };
            const agent = await grant(first, { ...at, token: freshSecret('restarted') });
            const { taskId } = (await ask(agent, 'tools/call', { name: 'slow', arguments: {} })).message.result;
            await first.stop();
            const second = await serve(store);
            const later = { ...agent, endpoint: `${second.agentsUrl}/mcp/tasks` };
            assert.equal((await ask(later, 'tasks/get', { taskId })).message.result?.taskId, taskId);
            await second.stop();
        });
    });

    it('do not hold a stopping server by streams that nobody waits for', async () => {
        const stopping = await startClaviger({ config: { limits: { drain_ms: 30_000 } } });
        const agent = await grant(stopping, {
            url: `http://127.0.0.1:${upstream.ready.port}/mcp`,
            token: freshSecret('stopping'),
            serverName: 'tasks',
        });
        const opened = await post(
            agent.endpoint,
            agent.sessionToken,
            rpc(1, 'initialize', {
                protocolVersion: '2025-11-25',
                capabilities: {},
                clientInfo: { name: 'flow', version: '1' },
            }),
        );
        const headers = {
            'mcp-session-id': opened.headers.get('mcp-session-id'),
            'mcp-protocol-version': '2025-11-25',
            accept: 'text/event-stream',
        };
        const begun = new Set();
        const get = post(agent.endpoint, agent.sessionToken, undefined, headers, 'GET', { onText: () => begun.add('get') });
        const listen = post(
            agent.endpoint,
            agent.sessionToken,
            modernRequest('l-1', 'subscriptions/listen', { notifications: { toolsListChanged: true } }),
            modernHeaders('subscriptions/listen'),
            'POST',
            { onText: () => begun.add('listen') },
        );
        await eventually('both streams are open', async () => {
            const log = await accessLog(stopping, agent.session.id);
            return begun.size === 2 && log.length >= 4 && (await seen()).at(-1).body.includes('subscriptions/listen');
        });
        const told = Date.now();
        stopping.child.kill('SIGTERM');
        await stopping.child.exited;
        assert.ok(Date.now() - told < 10_000, `stopping took ${Date.now() - told} ms`);
        const [ofGet, ofListen] = await Promise.all([get, listen]);
        assert.equal(ofGet.broken, undefined);
        assert.equal(ofListen.broken, undefined);
        assert.equal(ofListen.message.id, 'l-1');
        assert.equal(ofListen.message.result.resultType, 'complete');
        assert.equal(ofListen.message.result._meta['io.modelcontextprotocol/subscriptionId'], 'l-1');
    });
});
