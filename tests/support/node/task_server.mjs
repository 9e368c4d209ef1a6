// An MCP server that knows its callers by their token alone: whoever names a task, a request state or a cursor gets it.
// So only what stands before it can keep agents with one token apart.
//
//   node task_server.mjs
//
// Prints {"port":N} when it listens (127.0.0.1 only). Legacy messages are served by the official SDK with tasks and
// elicitation, modern ones by hand. GET /__seen gives the bodies and Mcp-Name headers of all POSTs so far.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { packages } from './packages.mjs';

const { McpServer } = packages('@modelcontextprotocol/sdk/server/mcp.js');
const { StreamableHTTPServerTransport } = packages('@modelcontextprotocol/sdk/server/streamableHttp.js');
const { ElicitResultSchema, ListToolsRequestSchema } = packages('@modelcontextprotocol/sdk/types.js');
const { InMemoryTaskStore, InMemoryTaskMessageQueue } = packages('@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js');

const versionKey = 'io.modelcontextprotocol/protocolVersion';
const bodyLimitBytes = 1 << 20;

/// The SDK's store binds tasks to the transport's session; this one, as a server with accounts would, to the account.
class AccountStore extends InMemoryTaskStore {
    createTask(params, requestId, request) {
        return super.createTask(params, requestId, request);
    }
    getTask(id) {
        return super.getTask(id);
    }
    storeTaskResult(id, status, result) {
        return super.storeTaskResult(id, status, result);
    }
    getTaskResult(id) {
        return super.getTaskResult(id);
    }
    updateTaskStatus(id, status, message) {
        return super.updateTaskStatus(id, status, message);
    }
    listTasks(cursor) {
        return super.listTasks(cursor);
    }
}

const taskStore = new AccountStore();
const taskMessageQueue = new InMemoryTaskMessageQueue();
const sessions = new Map();
const seen = [];

function legacyServer() {
    const server = new McpServer(
        { name: 'tasks', version: '1' },
        {
            capabilities: { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
            taskStore,
            taskMessageQueue,
        },
    );
    server.experimental.tasks.registerToolTask(
        'ask',
        { description: 'Asks for a name, as a task.', execution: { taskSupport: 'required' } },
        {
            async createTask({ taskStore: store, taskRequestedTtl }) {
                const task = await store.createTask({ ttl: taskRequestedTtl, pollInterval: 50 });
                const ask = async () => {
                    const asked = server.server.experimental.tasks.requestStream(
                        {
                            method: 'elicitation/create',
                            params: {
                                mode: 'form',
                                message: 'Who?',
                                requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
                            },
                        },
                        ElicitResultSchema,
                        { relatedTask: { taskId: task.taskId } },
                    );
                    await store.updateTaskStatus(task.taskId, 'input_required');
                    for await (const message of asked) {
                        if (message.type === 'error') throw message.error;
                        if (message.type !== 'result') continue;
                        const text = `Hello ${message.result.content?.name}`;
                        await store.storeTaskResult(task.taskId, 'completed', { content: [{ type: 'text', text }] });
                    }
                };
                ask().catch((error) => {
                    const content = [{ type: 'text', text: error.message }];
                    store.storeTaskResult(task.taskId, 'failed', { content, isError: true }).catch(() => {});
                });
                return { task };
            },
            getTask: ({ taskId, taskStore: store }) => store.getTask(taskId),
            getTaskResult: ({ taskId, taskStore: store }) => store.getTaskResult(taskId),
        },
    );
    // Two pages; the second is for whoever knows the cursor.
    server.server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
        const tool = (name) => ({ name, inputSchema: { type: 'object' }, execution: { taskSupport: 'required' } });
        if (params?.cursor === undefined) return { tools: [tool('ask')], nextCursor: 'page-two-of-the-account' };
        if (params.cursor === 'page-two-of-the-account') return { tools: [tool('second')] };
        throw Object.assign(new Error('Invalid cursor'), { code: -32602 });
    });
    return server;
}

async function serveLegacy(request, response, message) {
    const id = request.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (!transport) {
        if (id !== undefined) return response.writeHead(404).end();
        transport = new StreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            onsessioninitialized: (made) => sessions.set(made, transport),
        });
        await legacyServer().connect(transport);
    }
    return transport.handleRequest(request, response, message);
}

const modernTasks = new Map();
const modernStates = new Set();

function modernResult({ method, params }) {
    const complete = (result) => ({ result: { resultType: 'complete', ...result } });
    const unknown = { error: { code: -32602, message: 'Unknown' } };
    if (method === 'tools/call' && params.name === 'slow') {
        const taskId = `task ${randomUUID()} ä`;
        modernTasks.set(taskId, { taskId, status: 'working', ttlMs: null });
        return { result: { resultType: 'task', ...modernTasks.get(taskId) } };
    }
    if (method === 'tools/call' && params.requestState === undefined) {
        const requestState = randomUUID();
        modernStates.add(requestState);
        return { result: { resultType: 'input_required', requestState } };
    }
    if (method === 'tools/call')
        return modernStates.has(params.requestState)
            ? complete({ content: [{ type: 'text', text: 'went on' }] })
            : unknown;
    if (!method.startsWith('tasks/') || !modernTasks.has(params.taskId)) return unknown;
    if (method === 'tasks/cancel') modernTasks.get(params.taskId).status = 'cancelled';
    return complete(method === 'tasks/get' ? modernTasks.get(params.taskId) : {});
}

function serveModern(request, response, message) {
    const expected = message.params.taskId ?? message.params.name;
    const name = request.headers['mcp-name'] ?? '';
    const said = name.startsWith('=?base64?') ? Buffer.from(name.slice(9, -2), 'base64').toString() : name;
    const answer =
        message.method === 'subscriptions/listen'
            ? undefined
            : said === expected
              ? modernResult(message)
              : { error: { code: -32020, message: `Mcp-Name is '${said}', the body says '${expected}'` } };
    if (answer) {
        response.writeHead(200, { 'content-type': 'application/json' });
        return response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...answer }));
    }
    const params = { notifications: message.params.notifications };
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(
        `data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params })}\n\n`,
    );
}

async function serve(request, response) {
    const parts = [];
    let size = 0;
    for await (const part of request) {
        size += part.length;
        if (size > bodyLimitBytes) throw new Error(`the body is longer than ${bodyLimitBytes} bytes`);
        parts.push(part);
    }
    if (request.url === '/__seen') {
        response.writeHead(200, { 'content-type': 'application/json' });
        return response.end(JSON.stringify(seen));
    }
    if (request.method !== 'POST') return serveLegacy(request, response);
    const body = Buffer.concat(parts).toString();
    seen.push({ body, name: request.headers['mcp-name'] ?? null });
    const message = JSON.parse(body);
    return message.params?._meta?.[versionKey] === undefined
        ? serveLegacy(request, response, message)
        : serveModern(request, response, message);
}

const server = createServer((request, response) => {
    serve(request, response).catch((error) => {
        console.error(error);
        response.destroy();
    });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
