// A client that proves itself by its certificate (RFC 8705): an authorization server that takes no other proof, and an
// MCP server that takes its tokens only over a connection with the same certificate.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, eventually, grant, makeStore, run, serve, temporaryFolder } from './harness.mjs';
import { callWell, grantOf } from './oauth_world.mjs';

const folder = temporaryFolder();
const at = (name) => path.join(folder, name);
const pem = (name) => readFileSync(at(name), 'utf8');

function openssl(...args) {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
    assert.equal(status, 0, `openssl ${args.join(' ')}: ${stderr}`);
}

/// `${name}.pem` and `${name}.key`; signed by `ca.pem` unless it is that.
function makeCertificate(name, extensions = []) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`)];
    if (name === 'ca') return openssl('req', '-x509', ...key, '-subj', '/CN=test authority', '-days', '2', '-out', at('ca.pem'));
    openssl('req', '-new', ...key, '-subj', `/CN=${name}`, '-out', at(`${name}.csr`));
    writeFileSync(at(`${name}.ext`), ['basicConstraints=CA:FALSE', ...extensions].join('\n'));
    openssl('x509', '-req', '-in', at(`${name}.csr`), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at(`${name}.ext`), '-out', at(`${name}.pem`));
}

const thumbprint = (der) => createHash('sha256').update(der).digest('base64url');
const shownBy = (request) => {
    const { raw } = request.socket.getPeerCertificate();
    return raw ? thumbprint(raw) : undefined;
};
const read = async (request) => {
    let body = '';
    for await (const part of request) body += part;
    return body;
};
const json = (response, status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
};

/// Three listeners: for browsers and metadata, for clients with a certificate, and the MCP server.
async function startServers(client) {
    const tls = { key: pem('server.key'), cert: pem('server.pem'), ca: pem('ca.pem') };
    const listen = async (options, serve) => {
        const server = https.createServer({ ...tls, ...options }, (request, response) => serve(request, response).catch((error) => json(response, 500, { error: String(error) })));
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        return { server, origin: `https://127.0.0.1:${server.address().port}` };
    };
    const log = []; // {path, form, shown}
    const tokens = new Map(); // access token -> {thumbprint, ends}
    const refreshTokens = new Map();
    const codes = new Map(); // code -> challenge
    const mode = { ttl: 3600 };
    let numbers = 0;

    const issue = (shown, renewable) => {
        const access_token = `canary-bound-${++numbers}`;
        tokens.set(access_token, { shown, ends: Date.now() + mode.ttl * 1000 });
        const set = { access_token, token_type: 'Bearer', expires_in: mode.ttl };
        if (!renewable) return set;
        set.refresh_token = `canary-renew-${numbers}`;
        refreshTokens.set(set.refresh_token, shown);
        return set;
    };
    const answers = {
        client_credentials: (_form, shown) => issue(shown, false),
        authorization_code: (form, shown) => {
            const challenge = codes.get(form.code);
            codes.delete(form.code);
            const given = createHash('sha256').update(form.code_verifier ?? '').digest('base64url');
            return challenge === given && issue(shown, true);
        },
        refresh_token: (form, shown) => refreshTokens.get(form.refresh_token) === shown && refreshTokens.delete(form.refresh_token) && issue(shown, true),
    };
    const mutual = await listen({ requestCert: true, rejectUnauthorized: true }, async (request, response) => {
        const form = Object.fromEntries(new URLSearchParams(await read(request)));
        const shown = shownBy(request);
        log.push({ path: request.url, form, shown, authorization: request.headers.authorization });
        if (form.client_id !== 'robot' || shown !== client) return json(response, 401, { error: 'invalid_client' });
        if (request.url === '/revoke') return json(response, 200, {});
        const set = answers[form.grant_type]?.(form, shown);
        return set ? json(response, 200, set) : json(response, 400, { error: 'invalid_grant' });
    });
    const resource = await listen({ requestCert: true, rejectUnauthorized: false }, async (request, response) => {
        const url = `${resource.origin}/mcp`;
        if (request.url.startsWith('/.well-known/'))
            return json(response, 200, { resource: url, authorization_servers: [open.origin], tls_client_certificate_bound_access_tokens: true });
        const token = tokens.get(request.headers.authorization?.replace(/^Bearer /, ''));
        const body = await read(request);
        const good = token && token.ends > Date.now() && token.shown === shownBy(request);
        if (!good) return json(response, 401, {}, { 'www-authenticate': `Bearer resource_metadata="${resource.origin}/.well-known/oauth-protected-resource/mcp"` });
        return json(response, 200, { jsonrpc: '2.0', id: JSON.parse(body || '{}').id, result: { content: [], protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'bound', version: '1' } } });
    });
    const open = await listen({}, async (request, response) => {
        const url = new URL(request.url, open.origin);
        if (url.pathname === '/authorize') {
            const code = randomBytes(8).toString('hex');
            codes.set(code, url.searchParams.get('code_challenge'));
            const back = new URL(url.searchParams.get('redirect_uri'));
            for (const [name, value] of [['code', code], ['state', url.searchParams.get('state')], ['iss', open.origin]]) back.searchParams.set(name, value);
            response.writeHead(302, { location: back.href });
            return response.end();
        }
        if (!url.pathname.startsWith('/.well-known/')) {
            log.push({ path: url.pathname, open: true });
            return json(response, 400, { error: 'invalid_request' });
        }
        return json(response, 200, {
            issuer: open.origin,
            authorization_endpoint: `${open.origin}/authorize`,
            token_endpoint: `${open.origin}/token`,
            revocation_endpoint: `${open.origin}/revoke`,
            token_endpoint_auth_methods_supported: ['tls_client_auth'],
            code_challenge_methods_supported: ['S256'],
            authorization_response_iss_parameter_supported: true,
            mtls_endpoint_aliases: { token_endpoint: `${mutual.origin}/token`, revocation_endpoint: `${mutual.origin}/revoke` },
        });
    });
    return {
        issuer: open.origin,
        tokenEndpoint: `${mutual.origin}/token`,
        resource: `${resource.origin}/mcp`,
        log,
        mode,
        tokens,
        stop: () => [mutual, resource, open].forEach(({ server }) => (server.closeAllConnections(), server.close())),
    };
}

describe('A client with a certificate', () => {
    let servers;
    let claviger;
    let trusted;
    let client;
    let shown;
    before(async () => {
        makeCertificate('ca');
        makeCertificate('server', ['subjectAltName=IP:127.0.0.1']);
        makeCertificate('robot');
        makeCertificate('stranger');
        shown = thumbprint(new X509Certificate(pem('robot.pem')).raw);
        servers = await startServers(shown);
        trusted = { upstream: { allow_private: true, ca_file: at('ca.pem') } };
        claviger = await serve(await makeStore({ config: trusted }));
        client = { client_id: 'robot', certificate: pem('robot.pem'), private_key: pem('robot.key'), token_endpoint_auth_method: 'tls_client_auth' };
    });
    after(async () => {
        await claviger?.stop();
        servers?.stop();
    });

    async function connected(more) {
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'bound' });
        const links = `/v1/vaults/${vault.id}/connect_links`;
        const link = await claviger.admin('POST', links, { server_url: servers.resource, issuer: servers.issuer, ...more });
        if (link.url) {
            const agent = new https.Agent({ ca: pem('ca.pem') });
            await follow(link.url, agent);
        }
        const { status, problem, credential_id } = await claviger.admin('GET', `${links}/${link.id}`);
        assert.equal(status, 'connected', JSON.stringify(problem));
        return { ...(await grant(claviger, { url: servers.resource, vault })), credentialPath: `/v1/vaults/${vault.id}/credentials/${credential_id}` };
    }

    /// What a browser does that trusts the authority of this test.
    async function follow(url, agent) {
        const left = await fetch(`${url}/start`, { redirect: 'manual' });
        assert.equal(left.status, 303, await left.text());
        const back = await new Promise((resolve, reject) =>
            https.get(left.headers.get('location'), { agent }, (answer) => (answer.resume(), resolve(answer.headers.location))).on('error', reject),
        );
        const cookie = left.headers.get('set-cookie').split(';')[0];
        const done = await fetch(back, { headers: { cookie } });
        assert.equal(done.status, 200, await done.text());
    }

    const requests = (type) => servers.log.filter(({ form }) => form?.grant_type === type);

    it('gets tokens in its own name, which work with that certificate alone, and their successors (7)', async () => {
        servers.mode.ttl = 3;
        const agent = await connected({ grant: 'client_credentials', client });
        await callWell(agent, 1);
        const [token] = [...servers.tokens.keys()].slice(-1);
        const stolen = await new Promise((resolve, reject) =>
            https
                .request(servers.resource, { method: 'POST', ca: pem('ca.pem'), headers: { authorization: `Bearer ${token}` } }, (answer) => (answer.resume(), resolve(answer.statusCode)))
                .on('error', reject)
                .end('{}'),
        );
        assert.equal(stolen, 401, 'the token is good without the certificate');
        await sleep(3_100);
        await callWell(agent, 2);
        servers.mode.ttl = 3600;
        const asked = requests('client_credentials');
        assert.ok(asked.length >= 2 && asked.every((one) => one.shown === shown && !one.authorization && !one.form.client_secret), JSON.stringify(asked));
        assert.ok(!servers.log.some(({ open }) => open), 'the endpoints without certificates were asked');
    });

    it('is what a person connects an account with, and what its tokens are renewed and given back with (7)', async () => {
        servers.mode.ttl = 3;
        const agent = await connected({ client });
        await callWell(agent, 1);
        await sleep(3_100);
        await callWell(agent, 2);
        servers.mode.ttl = 3600;
        await eventually('what is being renewed is there', async () => (await grantOf(claviger, agent)).state === 'ready');
        const { refresh } = (await claviger.admin('GET', agent.credentialPath)).auth;
        assert.equal(refresh.token_endpoint, servers.tokenEndpoint);
        assert.equal(refresh.token_endpoint_auth.type, 'tls_client_auth');
        assert.ok(requests('refresh_token').length >= 1 && requests('refresh_token').every((one) => one.shown === shown));
        const { status } = await claviger.admin('POST', `${agent.credentialPath}/mcp_oauth_validate`, {});
        assert.equal(status, 'valid');
        await claviger.admin('DELETE', agent.credentialPath);
        await eventually('the tokens are revoked', () => servers.log.some((one) => one.path === '/revoke' && one.shown === shown), 30_000);
    });

    it('is stored from the command line, and used for its issuer', async () => {
        writeFileSync(at('admin.key'), claviger.admin_api_key, { mode: 0o600 });
        const env = { PATH: process.env.PATH, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: at('admin.key') };
        const args = ['--issuer', servers.issuer, '--client-id', 'robot', '--certificate-file', at('robot.pem'), '--private-key-file', at('robot.key'), '--json'];
        const { code, stdout, stderr } = await run(binary, ['client', 'create', ...args], { env });
        assert.equal(code, 0, stderr + stdout);
        const stored = JSON.parse(stdout);
        assert.equal(stored.token_endpoint_auth_method, 'tls_client_auth');
        assert.doesNotMatch(stdout, /BEGIN/);
        const agent = await connected({ grant: 'client_credentials' });
        await callWell(agent, 1);
        await claviger.admin('DELETE', `/v1/oauth_clients/${stored.id}`);
    });

    it('is refused when its parts do not belong together, and what its server refuses is explained', async () => {
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'refused' });
        const links = `/v1/vaults/${vault.id}/connect_links`;
        const wish = { server_url: servers.resource, issuer: servers.issuer, grant: 'client_credentials' };
        const refused = async (given) => {
            try {
                await claviger.admin('POST', links, { ...wish, client: { client_id: 'robot', ...given } });
            } catch (error) {
                return String(error.message ?? error);
            }
            return assert.fail('it was taken');
        };
        assert.match(await refused({ certificate: pem('robot.pem'), private_key: pem('stranger.key') }), /belongs to another certificate/);
        assert.match(await refused({ certificate: pem('robot.pem') }), /private_key/);
        assert.match(await refused({ certificate: 'no certificate', private_key: pem('robot.key') }), /certificate/);
        assert.match(await refused({ ...client, token_endpoint_auth_method: 'client_secret_post' }), /certificate/);
        assert.match(await refused({ certificate: pem('stranger.pem'), private_key: pem('stranger.key') }), /does not accept|client/);
        assert.doesNotMatch(claviger.readLog(), /BEGIN|canary/);
    });
});
