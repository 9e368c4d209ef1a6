// An MCP server that answers every call with nothing in particular, and demands no token.
import http from 'node:http';

/// Listens on 127.0.0.1. `called` sees { path, tool, token } of every call, with the token's scheme, and is waited for before the answer.
export async function startUpstream(called = () => {}) {
    const server = http.createServer((request, response) => {
        let body = '';
        request.on('data', (part) => (body += part));
        request.on('end', async () => {
            const { id, params } = JSON.parse(body || '{}');
            await called({ path: request.url, tool: params?.name, token: request.headers.authorization });
            response.writeHead(200, { 'content-type': 'application/json' });
            response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } }));
        });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${server.address().port}`;
    return {
        origin,
        url: `${origin}/mcp`,
        stop() {
            server.close();
            server.closeAllConnections();
        },
    };
}
