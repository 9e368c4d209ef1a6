// As much of the GitLab API as mcp-gitlab needs for a few tools. Accepts one token (--token-file), remembers what
// it was shown, and repeats the token in the answers of one careless project.
//
// Prints {"port":N,"control_port":M} when it listens (127.0.0.1 only); GET on the control port answers all requests.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

const token = readFileSync(
    parseArgs({ options: { 'token-file': { type: 'string' } } }).values['token-file'],
    'utf8',
).trim();
const seen = [];
const issues = [];
const when = '2026-01-02T03:04:05.000Z';
const user = {
    id: 1,
    username: 'ada',
    name: 'Ada',
    state: 'active',
    avatar_url: null,
    web_url: 'http://gitlab.test/ada',
};
const project = (id, description) => ({
    id,
    name: `project-${id}`,
    path_with_namespace: `team/project-${id}`,
    description,
    web_url: `http://gitlab.test/team/project-${id}`,
});

function issue(projectId, { title, description = '' }) {
    const iid = issues.length + 1;
    issues.push({
        id: 100 + iid,
        iid,
        project_id: projectId,
        title,
        description,
        state: 'opened',
        author: user,
        assignees: [],
        labels: [],
        milestone: null,
        created_at: when,
        updated_at: when,
        closed_at: null,
        web_url: `http://gitlab.test/issues/${iid}`,
    });
    return issues.at(-1);
}

const routes = [
    ['GET', /^\/api\/v4\/user$/, () => ({ ...user, email: 'ada@example.com' })],
    ['GET', /^\/api\/v4\/projects\/42$/, () => project(42, 'A project like any other')],
    [
        'GET',
        /^\/api\/v4\/projects\/13$/,
        (request) =>
            project(
                13,
                `cloned with https://oauth2:${token}@gitlab.test and ${Buffer.from(`:${token}`).toString('base64')}; ` +
                    `header was ${request.headers.authorization ?? request.headers['private-token']}`,
            ),
    ],
    ['POST', /^\/api\/v4\/projects\/42\/issues$/, (request, body) => issue(42, JSON.parse(body)), 201],
    ['GET', /^\/api\/v4\/projects\/42\/issues$/, () => issues],
    ['GET', /^\/api\/v4\/version$/, () => ({ version: '18.0.0', revision: 'fake' })],
];

async function serve(request, response) {
    let body = '';
    for await (const part of request) body += part;
    seen.push({ method: request.method, path: request.url, headers: request.headers, body });
    const answer = (status, value) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(value));
    };
    const shown =
        request.headers['private-token'] ?? (request.headers.authorization ?? '').replace(/^Bearer /, '');
    if (shown !== token) return answer(401, { message: '401 Unauthorized' });
    const path = request.url.split('?')[0];
    const route = routes.find(([method, pattern]) => method === request.method && pattern.test(path));
    if (!route) return answer(404, { message: `404 ${request.method} ${path} is not in this fake` });
    return answer(route[3] ?? 200, route[2](request, body));
}

const listening = (server) =>
    new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => resolve(server.address().port));
    });
const port = await listening(
    createServer((request, response) => {
        serve(request, response).catch((error) => {
            console.error(error);
            response.destroy();
        });
    }),
);
const control_port = await listening(
    createServer((request, response) => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(seen));
    }),
);
console.log(JSON.stringify({ port, control_port }));
