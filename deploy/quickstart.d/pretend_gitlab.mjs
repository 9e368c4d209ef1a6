// The part of the GitLab API that the quickstart's tool call reaches. It wants one token, writes down what it was
// shown, and carelessly repeats the token in its answer, as real services do.
//
// node pretend_gitlab.mjs --port N --token-file FILE --log FILE. Prints one line when it listens on 127.0.0.1. In the
// log the token stands as its SHA-256, so that the log can be shown to people.
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
    options: { port: { type: 'string' }, 'token-file': { type: 'string' }, log: { type: 'string' } },
});
const token = readFileSync(values['token-file'], 'utf8').trim();

function project() {
    return {
        id: 42,
        name: 'lighthouse',
        path_with_namespace: 'harbour/lighthouse',
        description: `Keeps ships off the rocks. Mirrored from https://oauth2:${token}@gitlab.example/lighthouse.git`,
        web_url: 'https://gitlab.example/harbour/lighthouse',
    };
}

const things = {
    '/api/v4/user': () => ({ id: 1, username: 'keeper', name: 'Keeper', state: 'active' }),
    '/api/v4/version': () => ({ version: '18.0.0', revision: 'pretended' }),
    '/api/v4/projects/42': project,
};

const server = createServer((request, response) => {
    const shown =
        request.headers['private-token'] ?? (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const accepted = shown === token;
    appendFileSync(
        values.log,
        JSON.stringify({
            time: new Date().toISOString(),
            request: `${request.method} ${request.url}`,
            header: request.headers['private-token'] ? 'private-token' : 'authorization',
            token_characters: shown.length,
            token_sha256: createHash('sha256').update(shown).digest('hex'),
            accepted,
        }) + '\n',
    );
    const answer = (status, body) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
    };
    if (!accepted) return answer(401, { message: '401 Unauthorized' });
    const found = request.method === 'GET' ? things[request.url.split('?')[0]] : undefined;
    return found ? answer(200, found()) : answer(404, { message: '404 Not Found' });
});
server.listen(Number(values.port), '127.0.0.1', () => console.log('listening'));
