// An MCP server for tests that speaks both eras on one URL and remembers every request that reached it.
//
//   node fixture_server.mjs [--token-file FILE]
//
// Prints {"port":N,"control_port":M} when it listens (127.0.0.1 only). With a token file, which is read anew for every
// request, it demands that token as a bearer token. The control port answers GET /__seen with all requests
// so far, DELETE /__seen forgets them, DELETE /__sessions ends all sessions behind the clients' backs.
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { contractServer } from './fixture_contract.mjs';
import { packages } from './packages.mjs';

const { createMcpHandler, isInitializeRequest, isLegacyRequest } = packages('@modelcontextprotocol/server');
const {
    NodeStreamableHTTPServerTransport,
    localhostHostValidation,
    localhostOriginValidation,
    toNodeHandler,
    toWebRequest,
} = packages('@modelcontextprotocol/node');

const settings = parseArgs({ options: { 'token-file': { type: 'string' } } }).values;
const bodyLimitBytes = 8 << 20;
const rememberedRequests = 5000;

const seen = [];
const cancelled = [];
const sessions = new Map(); // id → { server, transport, watched }
const exchanges = new AsyncLocalStorage();

/// Keeps every event of one session in order, so that a client that lost its stream can read on.
function eventStore() {
    const events = [];
    return {
        async storeEvent(streamId, message) {
            events.push({ streamId, message });
            return String(events.length);
        },
        async getStreamIdForEventId(eventId) {
            return events[Number(eventId) - 1]?.streamId;
        },
        async replayEventsAfter(lastEventId, { send }) {
            const streamId = events[Number(lastEventId) - 1]?.streamId;
            for (const [index, event] of [...events.entries()].slice(Number(lastEventId))) {
                const empty = Object.keys(event.message).length === 0; // a priming event says nothing
                if (event.streamId === streamId && !empty) await send(String(index + 1), event.message);
            }
            return streamId;
        },
    };
}

const world = {
    exchange: () => exchanges.getStore().socket,
    cancelled: (id) => cancelled.push(id),
    watch: (id, uri) => sessions.get(id)?.watched.add(uri),
    unwatch: (id, uri) => sessions.get(id)?.watched.delete(uri),
    publish(event) {
        modern.bus.publish(event);
        for (const { server, watched } of sessions.values()) {
            const told =
                event.kind === 'tools_list_changed'
                    ? server.server.sendToolListChanged()
                    : event.kind === 'prompts_list_changed'
                      ? server.server.sendPromptListChanged()
                      : watched.has(event.uri)
                        ? server.server.sendResourceUpdated({ uri: event.uri })
                        : undefined;
            told?.catch(() => {}); // a client without an open stream misses it
        }
    },
};

const modern = createMcpHandler(() => contractServer('modern', world), { legacy: 'reject' });
const serveModern = toNodeHandler(modern);

async function openSession() {
    const session = { server: contractServer('legacy', world), watched: new Set() };
    session.transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: eventStore(),
        retryInterval: 300,
        onsessioninitialized: (id) => {
            sessions.set(id, session);
        },
        onsessionclosed: (id) => {
            sessions.delete(id);
        },
    });
    await session.server.connect(session.transport);
    return session;
}

function refuse(response, status, code, message, id = null) {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id }));
}

async function serveLegacy(request, response, body) {
    const id = request.headers['mcp-session-id'];
    if (id !== undefined) {
        const session = sessions.get(id);
        if (!session) return refuse(response, 404, -32001, 'Session not found');
        return session.transport.handleRequest(request, response, body);
    }
    if (!isInitializeRequest(body))
        return refuse(response, 400, -32000, 'Bad Request: Mcp-Session-Id is missing');
    const session = await openSession();
    return session.transport.handleRequest(request, response, body);
}

function authorized(request) {
    const file = settings['token-file'];
    return !file || request.headers.authorization === `Bearer ${readFileSync(file, 'utf8').trim()}`;
}

async function read(request) {
    const parts = [];
    let size = 0;
    for await (const part of request) {
        size += part.length;
        if (size > bodyLimitBytes) throw new Error(`the body is longer than ${bodyLimitBytes} bytes`);
        parts.push(part);
    }
    return Buffer.concat(parts).toString();
}

function remember(request, response, body) {
    const entry = {
        method: request.method,
        path: request.url,
        headers: request.headers,
        raw_headers: request.rawHeaders,
        body,
        status: null,
        answered: null,
    };
    response.on('close', () =>
        Object.assign(entry, { status: response.statusCode, answered: response.writableFinished }),
    );
    seen.push(entry);
    if (seen.length > rememberedRequests) seen.shift();
}

const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

async function serve(request, response) {
    const body = await read(request);
    remember(request, response, body);
    response.setHeader('server', 'claviger-fixture/1.0'); // three headers that must never reach an agent
    response.setHeader('set-cookie', 'fixture_session=chocolate; Path=/');
    response.setHeader('link', '<http://127.0.0.1/elsewhere>; rel="alternate"');
    if (!hostIsLocal(request, response) || !originIsLocal(request, response)) return;
    if (request.url.split('?')[0] !== '/mcp')
        return refuse(response, 404, -32601, 'There is only /mcp here.');
    if (!authorized(request)) {
        response.setHeader('www-authenticate', 'Bearer realm="fixture", error="invalid_token"');
        return refuse(response, 401, -32001, 'The fixture wants its token.');
    }
    if (request.method !== 'POST') {
        return request.headers['mcp-session-id']
            ? serveLegacy(request, response)
            : serveModern(request, response);
    }
    let message;
    try {
        message = JSON.parse(body);
    } catch {
        return refuse(response, 400, -32700, 'Parse error: the body is not JSON.');
    }
    const legacy = await isLegacyRequest(await toWebRequest(request, message));
    return legacy ? serveLegacy(request, response, message) : serveModern(request, response, message);
}

function control(request, response) {
    const answer = (value) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(value));
    };
    const what = `${request.method} ${request.url}`;
    if (what === 'GET /__seen') return answer({ requests: seen, cancelled });
    if (what === 'DELETE /__seen') {
        seen.length = cancelled.length = 0;
        return answer({});
    }
    if (what === 'DELETE /__sessions') {
        for (const { server } of sessions.values()) server.close().catch(() => {});
        sessions.clear();
        return answer({});
    }
    response.writeHead(404).end();
}

const listening = (server) =>
    new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => resolve(server.address().port));
    });

const server = createServer((request, response) => {
    exchanges
        .run(response, () => serve(request, response))
        .catch((error) => {
            console.error(error);
            if (!response.headersSent) refuse(response, 500, -32603, 'The fixture failed.');
            else response.destroy();
        });
});
const port = await listening(server);
const control_port = await listening(createServer(control));
console.log(JSON.stringify({ port, control_port }));
