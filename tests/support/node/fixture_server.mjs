// An MCP server for tests that speaks both eras on one URL and remembers every request that reached it.
//
//   node fixture_server.mjs [--token-file FILE]
//
// Prints {"port":N,"control_port":M} when it listens (127.0.0.1 only). With a token file, which is read anew for every
// request, it demands the token of one of its lines as a bearer token. The control port answers GET /__seen with all requests
// so far, GET /__connections with the number of connections that are open, DELETE /__seen forgets the requests, DELETE /__sessions ends all sessions behind the clients' backs.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { dualEra, refuse } from './dual_era.mjs';
import { contractServer } from './fixture_contract.mjs';
import { packages } from './packages.mjs';

const { localhostHostValidation, localhostOriginValidation } = packages('@modelcontextprotocol/node');

const settings = parseArgs({ options: { 'token-file': { type: 'string' } } }).values;
const bodyLimitBytes = 8 << 20;
const rememberedRequests = 5000;

const seen = [];
const mcp = dualEra(contractServer);

function authorized(request) {
    const file = settings['token-file'];
    if (!file) return true;
    const tokens = readFileSync(file, 'utf8').trim().split('\n');
    return tokens.some((token) => request.headers.authorization === `Bearer ${token}`);
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
    return mcp.serve(request, response, body);
}

function control(request, response) {
    const answer = (value) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(value));
    };
    const what = `${request.method} ${request.url}`;
    if (what === 'GET /__seen') return answer({ requests: seen, cancelled: mcp.cancelled });
    if (what === 'GET /__connections')
        return server.getConnections((error, connections) => answer({ connections: error ? null : connections }));
    if (what === 'DELETE /__seen') {
        seen.length = mcp.cancelled.length = 0;
        return answer({});
    }
    if (what === 'DELETE /__sessions') {
        mcp.endSessions();
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
    serve(request, response).catch((error) => {
        console.error(error);
        if (!response.headersSent) refuse(response, 500, -32603, 'The fixture failed.');
        else response.destroy();
    });
});
const port = await listening(server);
const control_port = await listening(createServer(control));
console.log(JSON.stringify({ port, control_port }));
