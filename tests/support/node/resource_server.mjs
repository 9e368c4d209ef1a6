// An MCP server under /mcp that demands live access tokens of an authorization server, says where to get them (RFC 9728),
// and remembers who called.
import { dualEra, refuse } from './dual_era.mjs';
import { fingerprint, readBody } from './fault_front.mjs';
import { packages } from './packages.mjs';

const { McpServer, fromJsonSchema } = packages('@modelcontextprotocol/server');

const rememberedRequests = 50_000;

/// Small, because one is made for each call.
function smallServer() {
    const server = new McpServer({ name: 'claviger-resource', version: '1.0.0' }, { capabilities: { tools: {} } });
    for (const [name, description] of [
        ['read_note', 'Gives a note'],
        ['write_note', 'Takes a note'],
    ])
        server.registerTool(
            name,
            { description, inputSchema: fromJsonSchema({ type: 'object', properties: { note: { type: 'string' } } }) },
            async ({ note }) => ({ content: [{ type: 'text', text: `${name}: ${note ?? 'nothing'}` }] }),
        );
    return server;
}

/// `find(token)` gives what the authorization server knows of a live token: {scopes, resource}; nothing otherwise.
/// `mode` may be changed at any time:
///   refuse      so many requests with a live token are refused with 401 all the same
///   answers     so many requests are answered with {status, headers, body} instead
///   needs       tool name → scope that a call of it needs
///   resource    'exact': the token must have been issued for this URL; 'any'
///   challenge   false: 401 comes without WWW-Authenticate
///   metadata    members of its metadata that are changed; or {answer: {status, headers, body}, filler: bytes} for another
///               answer, with so many bytes after it
///   echo        true: every call gets its own access token back, in a header and in the answer
export function resourceServer({ issuer, find, mode }) {
    const seen = [];
    const mcp = dualEra(smallServer);

    const metadataUrl = (request, path) =>
        `http://${request.headers.host}/.well-known/oauth-protected-resource${path}`;

    function challenge(request, response, path, words) {
        if (mode.challenge === false) return;
        const named = Object.entries({ ...words, resource_metadata: metadataUrl(request, path) });
        response.setHeader('www-authenticate', `Bearer ${named.map(([name, value]) => `${name}="${value}"`).join(', ')}`);
    }

    function metadata(request, response, path) {
        const { answer, filler = 0, ...changed } = mode.metadata;
        if (answer) {
            response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
            response.write(answer.body ?? ' ');
            return fill(response, filler);
        }
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(
            JSON.stringify({
                resource: `http://${request.headers.host}${path}`,
                authorization_servers: [issuer],
                scopes_supported: mode.scopes_supported,
                bearer_methods_supported: ['header'],
                resource_name: 'Flow resource',
                ...changed,
            }),
        );
    }

    async function serve(request, response) {
        const [path] = request.url.split('?');
        const wellKnown = /^\/\.well-known\/oauth-protected-resource(\/.*)?$/.exec(path);
        if (wellKnown) return metadata(request, response, wellKnown[1] ?? '/mcp');
        if (!/^\/mcp(\/|$)/.test(path)) return refuse(response, 404, -32601, 'There is only /mcp here.');

        const body = (await readBody(request)).toString();
        const call = called(body);
        const [scheme, token] = (request.headers.authorization ?? '').split(' ');
        const live = scheme === 'Bearer' && token ? await find(token) : undefined;
        const entry = {
            at: Date.now(),
            path,
            method: request.method,
            ...call,
            token: token && fingerprint(token),
            live: live !== undefined,
            headers: Object.keys(request.headers),
        };
        response.on('close', () => Object.assign(entry, { status: response.statusCode }));
        seen.push(entry);
        if (seen.length > rememberedRequests) seen.shift();

        if (mode.answers.count > 0) {
            --mode.answers.count;
            const { status, headers, body: text } = mode.answers;
            response.writeHead(status, { 'content-type': 'text/plain', ...headers });
            return response.end(text ?? '');
        }
        const mine = mode.resource === 'any' || live?.resource === `http://${request.headers.host}${path}`;
        if (!live || !mine || mode.refuse > 0) {
            if (live && mine) --mode.refuse;
            challenge(request, response, path, token ? { error: 'invalid_token' } : {});
            return refuse(response, 401, -32001, 'A live access token is needed.');
        }
        const needed = mode.needs[call.tool];
        if (needed && !live.scopes.includes(needed)) {
            challenge(request, response, path, { error: 'insufficient_scope', scope: needed });
            return refuse(response, 403, -32001, `The scope ${needed} is needed.`);
        }
        if (mode.echo && call.rpc === 'tools/call') {
            const text = `${token} ${encodeURIComponent(token)} ${Buffer.from(token).toString('base64')}`;
            response.writeHead(200, { 'content-type': 'application/json', 'x-token': token });
            return response.end(
                JSON.stringify({ jsonrpc: '2.0', id: call.id, result: { content: [{ type: 'text', text }] } }),
            );
        }
        return mcp.serve(request, response, body);
    }

    return { seen, serve };
}

function called(body) {
    try {
        const { id, method: rpc, params } = JSON.parse(body);
        return { id, rpc, tool: params?.name };
    } catch {
        return {};
    }
}

/// Ends the answer after so many bytes more, or when nobody reads them.
function fill(response, bytes) {
    const part = Buffer.alloc(Math.min(bytes, 1 << 20), ' ');
    if (part.length === 0 || response.destroyed) return response.end();
    if (response.write(part)) setImmediate(fill, response, bytes - part.length);
    else {
        response.once('drain', () => fill(response, bytes - part.length));
        response.once('error', () => {});
    }
}
