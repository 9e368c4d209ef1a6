// An MCP server that speaks both eras on one URL; who may speak to it is up to the HTTP server around it.
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { packages } from './packages.mjs';

const { createMcpHandler, isInitializeRequest, isLegacyRequest } = packages('@modelcontextprotocol/server');
const { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } = packages('@modelcontextprotocol/node');

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

export function refuse(response, status, code, message, id = null) {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id }));
}

/// `makeServer(era, world)` makes the server for one session or, in the modern era, for one request. `world` reaches
/// beyond the call: `publish(event)` tells every subscriber of a change, `exchange()` is the HTTP exchange that carries
/// the current call.
export function dualEra(makeServer) {
    const cancelled = [];
    const sessions = new Map(); // id → { server, transport, watched }
    const exchanges = new AsyncLocalStorage();

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

    const modern = createMcpHandler(() => makeServer('modern', world), { legacy: 'reject' });
    const serveModern = toNodeHandler(modern);

    async function openSession() {
        const session = { server: makeServer('legacy', world), watched: new Set() };
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

    /// Answers one request whose body has been read.
    async function serve(request, response, body) {
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

    return {
        cancelled,
        serve: (request, response, body) => exchanges.run(response, () => serve(request, response, body)),
        /// Behind the clients' backs.
        endSessions() {
            for (const { server } of sessions.values()) server.close().catch(() => {});
            sessions.clear();
        },
    };
}
