// Canary secrets in every field that takes one. Then everything that leaves the program is searched for them, in every
// form: answers, errors, metrics, the access log, the program's log, its output, and each file of the data folder.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually, freshSecret, makeStore, serve, temporaryFolder, tracesOf } from './harness.mjs';
import { getRoutes, secretPlaces, targetsOf } from './routes.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const secrets = new Map(); // what it is -> the canary
const heard = []; // { where, text, given }: every byte that was answered, and the one secret it may hold

const plant = (what, canary = freshSecret(what.replaceAll(/[^a-z]/g, '_'))) => {
    secrets.set(what, canary);
    return canary;
};

/// Where strings stand in a body, as kSecretPlaces writes it, with each string.
function* placesIn(value, at = []) {
    if (typeof value === 'string') yield [at.join('.'), value];
    else if (Array.isArray(value)) for (const item of value) yield* placesIn(item, at);
    else for (const [key, item] of Object.entries(value ?? {})) yield* placesIn(item, [...at, key]);
}
const planted = new Set(); // places that took a canary

function assertClean(where, bytes, given) {
    for (const [what, canary] of secrets)
        if (canary !== given) assert.deepEqual(tracesOf(canary, bytes), [], `${where} shows ${what}`);
}

function filesIn(folder) {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const file = path.join(folder, entry.name);
        return entry.isDirectory() ? filesIn(file) : entry.isFile() ? [file] : [];
    });
}

function assertCleanFolder(folder) {
    const files = filesIn(folder);
    assert.ok(files.length > 3, `only ${files.length} files in ${folder}`);
    let bytes = 0;
    for (const file of files) {
        const content = readFileSync(file);
        bytes += content.length;
        assertClean(path.relative(folder, file), content);
        assertClean(`the name of ${path.relative(folder, file)}`, file);
    }
    return bytes;
}

/// A server that gives back what it was sent, wherever it can.
function startEcho() {
    const server = http.createServer((request, response) => {
        let body = '';
        request.on('data', (part) => (body += part));
        request.on('end', () => {
            const credential = request.headers.authorization ?? 'nothing';
            const answer = (status, type, text) => {
                response.writeHead(status, { 'content-type': type, 'www-authenticate': credential, 'retry-after': credential });
                response.end(text);
            };
            const id = /"id":("[^"]*"|\d+)/.exec(body)?.[1] ?? 'null';
            const mode = new URL(request.url, 'http://x').pathname;
            const result = JSON.stringify({ credential, base64: Buffer.from(credential).toString('base64') });
            if (mode === '/refuses') return answer(401, 'application/json', JSON.stringify({ error: credential }));
            if (mode === '/breaks') return answer(500, 'text/html', credential);
            if (mode === '/html') return answer(200, 'text/html', credential);
            if (body.includes('"bad"')) return answer(400, 'application/json', `{"jsonrpc":"2.0","id":${id},"error":{"code":-1,"message":${result}}}`);
            return answer(200, 'application/json', `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"echo":${result}}}`);
        });
    });
    return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

describe('canary secrets', () => {
    let echo;
    let store;
    let claviger;
    let origin;
    let vault;
    const credentials = {};
    const ids = {}; // the word before an id in a path -> what can stand there
    const tokens = [];
    let connectUrl;

    /// Says anything to the admin API and remembers the whole answer. `given` is the secret this answer gives out.
    async function say(method, target, body, { key = claviger.admin_api_key, given, headers = {} } = {}) {
        const response = await fetch(claviger.adminUrl + target, {
            method,
            headers: { 'x-api-key': key, 'anthropic-beta': 'managed-agents-2026-04-01', 'content-type': 'application/json', ...headers },
            body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
        });
        const text = await response.text();
        const canaries = new Set(secrets.values());
        if (typeof body === 'object') for (const [place, value] of placesIn(body)) if (canaries.has(value)) planted.add(place);
        let json;
        try {
            json = JSON.parse(text);
        } catch {
            json = undefined; // metrics
        }
        const head = [...response.headers].map(([name, value]) => `${name}: ${value}\n`).join('');
        const secret = given === undefined ? undefined : json?.[given];
        if (secret !== undefined) secrets.set(`${given} of ${target} (${secrets.size})`, secret);
        heard.push({ where: `${method} ${target} (${response.status})`, text: head + text, given: secret });
        return { status: response.status, json };
    }
    const made = async (...call) => {
        const { status, json } = await say(...call);
        assert.equal(status, 200, JSON.stringify(json));
        return json;
    };

    before(async () => {
        echo = await startEcho();
        origin = `http://127.0.0.1:${echo.address().port}`;
        store = await makeStore({
            config: { log: { level: 'debug' }, webhooks: { allow_private: true }, backup: { dir: temporaryFolder() } },
        });
        secrets.set('first admin key', store.admin_api_key);
        secrets.set('key file', readFileSync(path.join(store.folder, 'seal.key')).toString('latin1').trim());
        claviger = await serve(store);

        vault = await made('POST', '/v1/vaults', { display_name: 'canaries' });
        const create = async (name, auth) => {
            credentials[name] = await made('POST', `/v1/vaults/${vault.id}/credentials`, { display_name: name, auth });
        };
        await create('bearer', { type: 'static_bearer', mcp_server_url: `${origin}/echo`, token: plant('static token') });
        await create('refused', { type: 'static_bearer', mcp_server_url: `${origin}/refuses`, token: plant('refused token') });
        await create('broken', { type: 'static_bearer', mcp_server_url: `${origin}/breaks`, token: plant('broken token') });
        await create('html', { type: 'static_bearer', mcp_server_url: `${origin}/html`, token: plant('html token') });
        await create('header', {
            type: 'static_bearer',
            mcp_server_url: `${origin}/header`,
            token: plant('header token'),
            injection: { header: 'X-Api-Key' },
        });
        for (const name of ['basic', 'post'])
            await create(`oauth ${name}`, {
                type: 'mcp_oauth',
                mcp_server_url: `${origin}/${name === 'post' ? 'refuses' : 'breaks'}/oauth`,
                access_token: plant(`access token ${name}`),
                refresh: {
                    token_endpoint: `${origin}/token`,
                    client_id: 'client',
                    refresh_token: plant(`refresh token ${name}`),
                    token_endpoint_auth: { type: `client_secret_${name}`, client_secret: plant(`client secret ${name}`) },
                },
            });
        await create('variable', {
            type: 'environment_variable',
            secret_name: 'DEPLOY_KEY',
            secret_value: plant('secret value'),
            networking: { type: 'unrestricted' },
        });

        const environment = await made('POST', '/v1/environments', { name: 'canaries', vault_bindings: [vault.id] });
        const servers = ['echo', 'refuses', 'breaks', 'html', 'header'];
        const agent = await made('POST', '/v1/agents', {
            name: 'canary agent',
            model: 'any-model',
            mcp_servers: servers.map((name) => ({ type: 'url', name, url: `${origin}/${name}` })),
            tools: servers.map((name) => ({
                type: 'mcp_toolset',
                mcp_server_name: name,
                default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
            })),
        });
        const session = await made(
            'POST', '/v1/sessions',
            { agent: agent.id, environment_id: environment.id, vault_ids: [vault.id] },
            { given: 'session_token' },
        );
        tokens.push(session.session_token);
        const more = await say('POST', `/v1/sessions/${session.id}/tokens`, {}, { given: 'token' });
        assert.equal(typeof more.json.token, 'string');
        tokens.push(more.json.token);
        for (const role of ['admin', 'operator', 'auditor', 'agent-runner']) {
            const key = await say('POST', '/v1/api_keys', { name: `canary ${role}`, role }, { given: 'key' });
            assert.equal(typeof key.json.key, 'string', JSON.stringify(key.json));
        }
        Object.assign(credentials, { environment, agent, session });
    });
    after(async () => {
        await claviger?.stop();
        echo?.close();
    });

    it('are used in calls, and no agent sees one', async () => {
        let answers = 0;
        for (const server of ['echo', 'refuses', 'breaks', 'html', 'header']) {
            for (const [index, token] of tokens.entries()) {
                for (const tool of ['good', 'bad']) {
                    const url = `${claviger.agentsUrl}/mcp/${server}`;
                    const name = `tool_${tool}`;
                    const call = { name, arguments: { kind: tool, note: secrets.get('static token').slice(0, 3) } };
                    for (const { raw, status } of [
                        await post(url, token, rpc(1, 'tools/call', call)),
                        await post(url, token, modernRequest(index, 'tools/call', call), modernHeaders('tools/call', name)),
                    ]) {
                        assert.ok(status >= 200);
                        heard.push({ where: `${server} for ${tool}`, text: raw.toString('latin1') });
                        ++answers;
                    }
                }
            }
        }
        assert.equal(answers, 40);
        const { entries } = await countedLog();
        assert.ok(entries.some(({ redactions }) => redactions > 0), 'the echo was never redacted, so nothing was tried');
    });

    it('of an agent that are not ours stay out of everything, too', async () => {
        for (const headers of [
            { authorization: `Bearer ${plant('token of nobody')}` },
            { authorization: `Basic ${plant('password of an agent')}` },
            { cookie: `session=${plant('cookie of an agent')}`, 'x-api-key': plant('api key of an agent') },
        ]) {
            const answer = await post(`${claviger.agentsUrl}/mcp/echo`, tokens[0], rpc(1, 'tools/call', { name: 'x', arguments: {} }), headers);
            heard.push({ where: 'an agent with other credentials', text: answer.raw.toString('latin1') });
        }
        const call = { name: 'tool', arguments: { password: plant('password in an argument') } };
        const refused = await post(`${claviger.agentsUrl}/mcp/none`, tokens[0], rpc(1, 'tools/call', call));
        heard.push({ where: 'an unknown server', text: refused.raw.toString('latin1') });
        const broken = await post(`${claviger.agentsUrl}/mcp/echo`, tokens[0], `{"jsonrpc":"2.0","method":"${plant('text that is not JSON')}`);
        heard.push({ where: 'a broken message', text: broken.raw.toString('latin1') });
        const query = await post(`${claviger.agentsUrl}/mcp/echo?token=${encodeURIComponent(plant('token in a query'))}`, null, rpc(1, 'ping'));
        heard.push({ where: 'a token in the query', text: query.raw.toString('latin1') });
    });

    async function countedLog() {
        const entries = [];
        let page = '';
        for (let pages = 0; pages < 100; ++pages) {
            const { json } = await say('GET', `/v1/access_log?limit=100${page}`);
            entries.push(...json.data);
            if (!json.next_page) return { entries };
            page = `&page=${encodeURIComponent(json.next_page)}`;
        }
        throw new Error('the access log does not end');
    }

    it('are taken in wherever the program takes secrets', async () => {
        const at = `/v1/vaults/${vault.id}`;
        const issuer = 'https://as.example.com';
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const key = () => plant('private key', privateKey.export({ type: 'pkcs8', format: 'pem' }));
        secrets.set('number of the private key', privateKey.export({ format: 'jwk' }).d);
        const link = await made(
            'POST', `${at}/connect_links`,
            { server_url: `${origin}/link`, issuer, client: { client_id: 'c', client_secret: plant('client secret of a link') } },
            { given: 'url' },
        );
        const signed = { client_id: 'c', private_key: key(), token_endpoint_auth_method: 'private_key_jwt' };
        await made('POST', `${at}/connect_links`, { server_url: `${origin}/link`, issuer, client: signed }, { given: 'url' });
        const exchanged = await say('POST', `${at}/connect_links`, {
            server_url: `${origin}/link`,
            issuer: origin,
            grant: 'jwt_bearer',
            client: { client_id: 'c', client_secret: plant('client secret of an exchange') },
            exchange: { subject_token: plant('subject token') },
        });
        assert.equal(exchanged.status, 403, JSON.stringify(exchanged.json)); // the echo is no authorization server
        const client = { issuer, client_id: 'by hand', client_secret: plant('client secret by hand'), token_endpoint_auth_method: 'client_secret_post' };
        await made('POST', '/v1/oauth_clients', client);
        await made('POST', '/v1/oauth_clients', { issuer: `${issuer}/other`, ...signed });

        const staged = { auth: { type: 'static_bearer', token: plant('staged token') }, promote: false };
        await made('POST', `${at}/credentials/${credentials.header.id}/rotate`, staged);
        const gone = await made('POST', `${at}/credentials`, {
            display_name: 'gone',
            auth: { type: 'static_bearer', mcp_server_url: `${origin}/gone`, token: plant('shredded token') },
        });
        const { shredding_id } = await made('POST', `${at}/credentials/${gone.id}/shred`, { rotate_vault: false });
        const hook = await made(
            'POST', '/v1/webhooks',
            { name: 'canary', url: `${origin}/hook`, enabled_events: ['vault.created'] },
            { given: 'signing_secret' },
        );

        const { json } = await say('GET', '/v1/seal/slots');
        const slot = json.slots[0].id;
        const opening = (what) => plant(what, randomBytes(32).toString('base64url'));
        const wrong = await say('POST', `/v1/seal/slots/${slot}/verify`, { opening_key: opening('opening key') });
        assert.equal(wrong.status, 409, JSON.stringify(wrong.json));
        const openings = { opening_keys: [{ slot, opening_key: opening('opening key of a rotation') }], paused: true };
        const refused = await say('POST', '/v1/keys/root/rotate', openings);
        assert.ok(refused.status >= 400 && refused.status < 500, JSON.stringify(refused.json));
        const operation = await made('POST', '/v1/keys/root/rotate', { paused: true });
        await made('POST', '/v1/backups', { name: 'canaries' });
        await eventually('a backup', async () => (await say('GET', '/v1/backups')).json.newest.state === 'done', 30_000);

        connectUrl = link.url;
        assert.ok(secretPlaces.length > 10, `${secretPlaces.length} places`);
        for (const place of secretPlaces) assert.ok(planted.has(place), `no canary was planted at ${place}`);

        Object.assign(ids, {
            vaults: [vault.id],
            credentials: Object.values(credentials).filter(({ id }) => id.startsWith('vcrd_')).map(({ id }) => id),
            environments: [credentials.environment.id],
            agents: [credentials.agent.id],
            sessions: [credentials.session.id],
            connect_links: [link.id],
            webhooks: [hook.id],
            shreddings: [shredding_id],
            operations: [operation.id],
        });
    });

    it('are shown by no endpoint', async () => {
        assert.ok(getRoutes.length > 30, `${getRoutes.length} routes`);
        for (const route of getRoutes) {
            const answers = [];
            for (const target of targetsOf(route, ids)) answers.push((await say('GET', target)).status);
            assert.ok(answers.includes(200), `${route}: ${answers.length > 0 ? `answered ${answers}` : 'nothing is here to ask it for'}`);
            assert.ok(answers.every((status) => status < 500), `${route} answered ${answers}`);
        }
        for (const target of ['/healthz', '/readyz', '/metrics']) assert.equal((await say('GET', target)).status, 200, target);
        const { pathname } = new URL(connectUrl);
        assert.equal((await say('GET', pathname)).status, 200);
        await say('GET', pathname.slice(0, -1)); // another link than was made
        for (const id of ids.credentials) {
            const at = `/v1/vaults/${vault.id}/credentials/${id}`;
            await say('POST', at, { display_name: `renamed ${id}` });
            await say('POST', `${at}/mcp_oauth_validate`, {});
        }
    });

    it('are repeated by no error', async () => {
        const at = `/v1/vaults/${vault.id}/credentials`;
        const bearer = `${at}/${credentials.bearer.id}`;
        const oauth = `${at}/${credentials['oauth basic'].id}`;
        const url = `${origin}/errors`;
        const refusals = [
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: `${origin}/echo`, token: plant('duplicate') } }, 409],
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: url, token: `${plant('token with a break')}\r\nX: y` } }],
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: url, token: [plant('token in a list')] } }],
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: url, token: plant('much too long').repeat(2_000) } }],
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: url, tokn: plant('misspelt') } }],
            ['POST', at, { auth: { type: plant('type'), mcp_server_url: url, token: 'x' } }],
            ['POST', at, { auth: { type: 'static_bearer', mcp_server_url: `https://u:${plant('password')}@h/`, token: 'x' } }],
            ['POST', at, { auth: { type: 'mcp_oauth', mcp_server_url: url, access_token: plant('access'), refresh: { refresh_token: plant('refresh') } } }],
            ['POST', at, { auth: { type: 'environment_variable', secret_name: 'A-B', secret_value: plant('value'), networking: {} } }],
            ['POST', at, { display_name: 7, auth: { type: 'static_bearer', mcp_server_url: url, token: plant('beside a bad name') } }],
            ['POST', at, `{"auth":{"type":"static_bearer","token":"${plant('in broken JSON')}"`],
            ['POST', at, `{"auth":{"token":"${plant('twice')}","token":"x"}}`],
            ['POST', at, plant('no JSON at all')],
            ['POST', `/v1/vaults/vlt_01none/credentials`, { auth: { type: 'static_bearer', mcp_server_url: url, token: plant('no vault') } }, 404],
            ['POST', bearer, { auth: { type: 'mcp_oauth', access_token: plant('another type') } }],
            ['POST', oauth, { auth: { type: 'mcp_oauth', refresh: { refresh_token: plant('half an update'), token_endpoint_auth: { type: 'none' } } } }],
            ['POST', '/v1/sessions', { agent: credentials.agent.id, environment_id: 'x', session_token: plant('session token') }],
            ['POST', '/v1/api_keys', { name: 'x', role: 'admin', key: plant('chosen key') }],
            ['POST', `/v1/${encodeURIComponent(plant('path'))}`, {}, 404],
            ['GET', `/v1/vaults?page=${encodeURIComponent(plant('cursor'))}`, undefined],
            ['GET', `/v1/access_log?tool=${encodeURIComponent(plant('filter'))}&limit=none`, undefined],
        ];
        for (const [method, target, body, status = 400] of refusals) {
            const answer = await say(method, target, body);
            assert.equal(answer.status, status, `${method} ${target} ${JSON.stringify(answer.json)}`);
            assert.ok(answer.json.error.message.length > 0);
        }
        const wrongKey = await say('GET', '/v1/vaults', undefined, { key: plant('wrong key') });
        assert.equal(wrongKey.status, 401);
        const wrongBearer = await say('GET', '/v1/vaults', undefined, { key: '', headers: { authorization: `Bearer ${plant('wrong bearer')}` } });
        assert.equal(wrongBearer.status, 401);
    });

    it('leave nothing behind when they are replaced', async () => {
        const at = `/v1/vaults/${vault.id}/credentials`;
        for (const [name, auth] of [
            ['bearer', { type: 'static_bearer', token: plant('second static token') }],
            ['oauth basic', { type: 'mcp_oauth', access_token: plant('second access token'), refresh: { refresh_token: plant('second refresh token') } }],
            ['variable', { type: 'environment_variable', secret_value: plant('second value') }],
        ])
            await made('POST', `${at}/${credentials[name].id}`, { auth });
        await made('POST', `${at}/${credentials.html.id}/archive`, {});
        await made('DELETE', `${at}/${credentials.broken.id}`);
        const fresh = await post(`${claviger.agentsUrl}/mcp/echo`, tokens[0], rpc(1, 'tools/call', { name: 'x', arguments: {} }));
        heard.push({ where: 'the echo of the second token', text: fresh.raw.toString('latin1') });
    });

    it('stand in no answer that was given so far', async () => {
        await countedLog();
        await say('GET', '/metrics');
        assert.ok(heard.length > 100, `only ${heard.length} answers`);
        for (const { where, text, given } of heard) assertClean(where, text, given);
        assert.equal(heard.filter(({ given }) => given !== undefined).length, 9, 'a secret is given out once, where it is made');
    });

    it('stand in no log, no output and no file of the data folder', async () => {
        assertCleanFolder(store.data);
        await claviger.stop();
        const bytes = assertCleanFolder(store.data);
        assert.ok(bytes > 50_000, `the data folder holds ${bytes} bytes`);
        const log = readFileSync(store.log, 'utf8');
        assert.match(log, /"?started/);
        assertClean('the log file', log);
        assertClean('standard error', claviger.child.errors());
        assertClean('standard output', claviger.child.output());
        for (const folder of [store.data, path.join(store.data, 'store')])
            assert.equal(statSync(folder).mode & 0o777, 0o700, `${folder} is open to others`);
    });

    it('would be found if they stood there', () => {
        const canary = secrets.get('client secret post');
        const planted = path.join(store.data, 'planted');
        for (const form of [canary, Buffer.from(`x${canary}`).toString('base64'), Buffer.from(canary).toString('hex')]) {
            writeFileSync(planted, `some bytes ${form} and more`);
            assert.throws(() => assertCleanFolder(store.data), /planted shows client secret post/);
        }
    });
});
