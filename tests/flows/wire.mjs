// MCP messages by hand, for what a well-behaved client never sends.
import http from 'node:http';

const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'flow', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
};

export const rpc = (id, method, params) => ({ jsonrpc: '2.0', id, method, ...(params ? { params } : {}) });

export const modernRequest = (id, method, params = {}) =>
    rpc(id, method, { ...params, _meta: { ...meta, ...params._meta } });

export const modernHeaders = (method, name) => ({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': name }),
});

/// Sends one request exactly as given (Host and all) and reads the whole answer. `raw` is every byte that came over
/// the socket, `message` the JSON-RPC message with an id or an error in it, whether it came as JSON or on a stream.
/// `hangUpAfter` closes the connection that many milliseconds after the first byte of the answer. `onText` is called when the
/// head has come, and with the whole text so far whenever more of the body has.
export function post(
    url,
    token,
    message,
    headers = {},
    method = 'POST',
    { limitMs = 15_000, hangUpAfter, onText } = {},
) {
    const target = new URL(url);
    const body =
        message === undefined ? undefined : typeof message === 'string' ? message : JSON.stringify(message);
    const all = {
        accept: 'application/json, text/event-stream',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...headers,
    };
    for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name];
    return new Promise((resolve, reject) => {
        const received = [];
        let head;
        let text = '';
        let hungUp = false;
        const request = http.request({
            host: target.hostname,
            port: target.port,
            path: target.pathname + target.search,
            method,
            headers: all,
            agent: false,
        });
        const done = (broken) => {
            clearTimeout(limit);
            request.destroy();
            if (!head) return reject(broken ?? new Error('the connection was closed without an answer'));
            const messages = messagesOf(head.headers['content-type'], text);
            resolve({
                status: head.statusCode,
                headers: new Headers(
                    Object.entries(head.headers).map(([name, value]) => [name, String(value)]),
                ),
                text,
                raw: Buffer.concat(received),
                messages,
                message: messages.findLast((one) => 'id' in one || 'error' in one),
                broken: broken && !hungUp ? broken.message : undefined,
            });
        };
        const limit = setTimeout(
            () =>
                reject(new Error(`no complete answer within ${limitMs} ms; so far: ${text.slice(0, 500)}`)) ||
                request.destroy(),
            limitMs,
        );
        request.on('socket', (socket) => socket.on('data', (part) => received.push(part)));
        request.on('error', done);
        request.on('response', (response) => {
            head = response;
            response.setEncoding('utf8');
            response.on('data', (part) => {
                text += part;
                onText?.(text);
            });
            onText?.(text);
            response.on('end', () => done());
            response.on('error', done);
            if (hangUpAfter !== undefined)
                setTimeout(() => {
                    hungUp = true;
                    request.destroy();
                }, hangUpAfter);
        });
        request.end(body);
    });
}

function messagesOf(type = '', text) {
    const parsed = (one) => {
        try {
            return [JSON.parse(one)].flat().filter((value) => value !== null && typeof value === 'object');
        } catch {
            return [];
        }
    };
    if (!type.startsWith('text/event-stream')) return parsed(text);
    return text.split(/\r?\n\r?\n/).flatMap((event) =>
        parsed(
            event
                .split(/\r?\n/)
                .filter((line) => line.startsWith('data:'))
                .map((line) => line.slice(5).trimStart())
                .join('\n'),
        ),
    );
}
