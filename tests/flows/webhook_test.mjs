// Webhooks and revocations over the wire: the real binary, real receivers, and the official SDKs as judges of signatures.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import current from '@anthropic-ai/sdk';
import before1 from 'anthropic-sdk-0.137';
import { binary, eventually, freePort, makeStore, run, serve, temporaryFolder } from './harness.mjs';

const docs = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../docs/webhooks.md');
const config = { webhooks: { allow_private: true } };
const canaries = ['CANARY-access', 'CANARY-refresh', 'CANARY-client'];

/// Answers like `answer` says and keeps what came.
async function startReceiver(answer = () => ({ status: 200 }), port = 0) {
    const seen = [];
    const server = http.createServer((request, response) => {
        let body = '';
        request.setEncoding('utf8');
        request.on('data', (part) => {
            body += part;
        });
        request.on('end', () => {
            const { status, headers = {}, text = '' } = answer(request, body);
            seen.push({ method: request.method, url: request.url, headers: request.headers, body });
            response.writeHead(status, headers).end(text);
        });
    });
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    const close = () =>
        new Promise((resolve) => {
            server.close(resolve);
            server.closeAllConnections();
        });
    return {
        seen,
        port: server.address().port,
        url: `http://127.0.0.1:${server.address().port}/hook`,
        events: (type) =>
            seen.filter(({ url }) => url === '/hook').filter(({ body }) => JSON.parse(body).data.type === type),
        close,
    };
}

/// The function that docs/webhooks.md shows, as its readers would use it.
async function exampleOfTheDocs() {
    const [, code] = readFileSync(docs, 'utf8').match(/```js\n([\s\S]*?)```/);
    const file = path.join(temporaryFolder(), 'verified.mjs');
    writeFileSync(file, code);
    return (await import(file)).verified;
}

const unwrap = (SDK, { body, headers }, key) =>
    new SDK({ apiKey: 'not used' }).beta.webhooks.unwrap(body, { headers, key });

describe('webhooks', () => {
    let store;
    let claviger;
    let receiver;
    let endpoint;

    const listen = (events, url = receiver.url) =>
        claviger.admin('POST', '/v1/webhooks', { url, enabled_events: events, name: 'test' });
    const arrived = (type, at = receiver) => eventually(type, () => at.events(type)[0]);

    before(async () => {
        store = await makeStore({ config });
        claviger = await serve(store);
        receiver = await startReceiver();
        endpoint = await listen(['vault.created', 'vault.archived']);
    });
    after(async () => {
        await claviger?.stop();
        await receiver?.close();
    });

    it('deliver what the SDKs and the example of the docs take for genuine, and nothing else', async () => {
        assert.match(endpoint.signing_secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'Alice' });
        const delivery = await arrived('vault.created');
        const verified = await exampleOfTheDocs();
        for (const SDK of [current, before1]) {
            const event = unwrap(SDK, delivery, endpoint.signing_secret);
            assert.equal(event.type, 'event');
            assert.equal(event.id, delivery.headers['webhook-id']);
            assert.equal(event.data.type, 'vault.created');
            assert.equal(event.data.id, vault.id);
            assert.equal(event.data.workspace_id, claviger.workspace_id);
            assert.match(event.data.organization_id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
            const forged = { ...delivery, body: delivery.body.replace('vault.created', 'vault.deleted') };
            assert.throws(() => unwrap(SDK, forged, endpoint.signing_secret));
            assert.throws(() => unwrap(SDK, delivery, `whsec_${Buffer.alloc(32).toString('base64')}`));
        }
        assert.equal(verified(endpoint.signing_secret, delivery.headers, delivery.body).data.id, vault.id);
        assert.throws(() => verified(endpoint.signing_secret, delivery.headers, `${delivery.body} `), /not signed/);
        const late = Date.now() / 1000 + 301;
        assert.throws(() => verified(endpoint.signing_secret, delivery.headers, delivery.body, late), /from now/);
    });

    it('show a secret once, and sign with both while it is replaced', async () => {
        const shown = await claviger.admin('GET', `/v1/webhooks/${endpoint.id}`);
        assert.equal(shown.signing_secret, undefined);
        const sdk = new current({ baseURL: claviger.adminUrl, apiKey: claviger.admin_api_key });
        const { signing_secret } = await sdk.beta.organization.webhooks.regenerateSigningSecret(endpoint.id);
        assert.notEqual(signing_secret, endpoint.signing_secret);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'Bob' });
        await claviger.admin('POST', `/v1/vaults/${vault.id}/archive`);
        const delivery = await arrived('vault.archived');
        for (const key of [signing_secret, endpoint.signing_secret])
            assert.equal(unwrap(current, delivery, key).data.id, vault.id);
        await claviger.admin('POST', `/v1/webhooks/${endpoint.id}/regenerate_signing_secret`, {
            previous_secret_lifetime_seconds: 0,
        });
        const test = await claviger.admin('POST', `/v1/webhooks/${endpoint.id}/test`);
        assert.deepEqual([test.delivered, test.status_code], [true, 200]);
        const tested = await arrived('webhook_endpoint.test');
        assert.throws(() => unwrap(current, tested, signing_secret));
        assert.equal(tested.headers['webhook-signature'].split(' ').length, 1);
    });

    it('are managed with the SDK of organization webhooks', async () => {
        const sdk = new current({ baseURL: claviger.adminUrl, apiKey: claviger.admin_api_key });
        const { webhooks } = sdk.beta.organization;
        const made = await webhooks.create({ url: receiver.url, enabled_events: ['agent.created'], name: 'sdk' });
        const all = [];
        for await (const each of webhooks.list({ limit: 1 })) all.push(each.id);
        assert.ok(all.includes(made.id) && all.includes(endpoint.id));
        const off = await webhooks.update(made.id, { state: 'disabled', enabled_events: [] });
        assert.deepEqual([off.state, off.enabled_events], ['disabled', ['agent.created']]);
        assert.deepEqual(await webhooks.delete(made.id), { id: made.id, type: 'webhook_endpoint_deleted' });
        await assert.rejects(webhooks.retrieve(made.id), { status: 404 });
    });

    it('are never redirected: a redirect disables the endpoint', async () => {
        const elsewhere = await startReceiver();
        const moved = await startReceiver(() => ({ status: 307, headers: { location: elsewhere.url } }));
        try {
            const { id } = await listen(['environment.created'], moved.url);
            await claviger.admin('POST', '/v1/environments', { name: 'moved', config: { type: 'cloud' } });
            const disabled = await eventually('disabled', async () => {
                const shown = await claviger.admin('GET', `/v1/webhooks/${id}`);
                return shown.state === 'disabled' && shown;
            });
            assert.match(disabled.disabled_reason, /redirect/);
            assert.equal(moved.seen.length, 1);
            assert.equal(elsewhere.seen.length, 0);
            const again = await claviger.admin('POST', `/v1/webhooks/${id}`, { state: 'enabled' });
            assert.deepEqual([again.state, again.disabled_reason], ['enabled', '']);
            await claviger.admin('DELETE', `/v1/webhooks/${id}`);
        } finally {
            await moved.close();
            await elsewhere.close();
        }
    });

    it('survive a kill: what was committed is delivered after the restart', async () => {
        const port = await freePort();
        const { id, signing_secret } = await listen(['vault.deleted'], `http://127.0.0.1:${port}/hook`);
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'Carol' });
        await claviger.admin('DELETE', `/v1/vaults/${vault.id}`);
        claviger.child.kill('SIGKILL');
        await claviger.child.exited;
        const late = await startReceiver(undefined, port);
        try {
            claviger = await serve(store);
            const delivery = await eventually('the delivery', () => late.events('vault.deleted')[0], 30_000);
            assert.equal(unwrap(current, delivery, signing_secret).data.id, vault.id);
            await eventually('nothing waits', async () => {
                const waiting = await claviger.admin('GET', `/v1/webhooks/${id}/deliveries`);
                return waiting.data.length === 0;
            });
            await claviger.admin('DELETE', `/v1/webhooks/${id}`);
        } finally {
            await late.close();
        }
    });

    it('say that a refresh failed, and carry no token; a deleted credential is revoked', async () => {
        // An MCP server that takes no token, and an authorization server that knows no refresh token.
        const requests = [];
        const server = await startReceiver((request, body) => {
            const json = { 'content-type': 'application/json' };
            const origin = `http://${request.headers.host}`;
            if (request.url === '/.well-known/oauth-authorization-server')
                return {
                    status: 200,
                    headers: json,
                    text: JSON.stringify({
                        issuer: origin,
                        token_endpoint: `${origin}/token`,
                        revocation_endpoint: `${origin}/revoke`,
                        response_types_supported: ['code'],
                    }),
                };
            if (request.url === '/token') return { status: 400, headers: json, text: '{"error":"invalid_grant"}' };
            if (request.url === '/revoke') {
                requests.push(new URLSearchParams(body));
                // The first try meets an outage.
                return requests.length === 1 ? { status: 503, headers: { 'retry-after': '1' } } : { status: 200 };
            }
            return { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } };
        });
        const alarms = await startReceiver();
        try {
            const types = [
                'vault_credential.refresh_failed',
                'connection.needs_reauth',
                'connection.deleted',
                'vault_credential.deleted',
            ];
            const { signing_secret } = await listen(types, alarms.url);
            const origin = `http://127.0.0.1:${server.port}`;
            const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'Dora' });
            const credentials = `/v1/vaults/${vault.id}/credentials`;
            const { id } = await claviger.admin('POST', credentials, {
                auth: {
                    type: 'mcp_oauth',
                    mcp_server_url: `${origin}/mcp`,
                    access_token: canaries[0],
                    refresh: {
                        token_endpoint: `${origin}/token`,
                        client_id: 'client',
                        refresh_token: canaries[1],
                        token_endpoint_auth: { type: 'client_secret_post', client_secret: canaries[2] },
                    },
                },
            });
            const verdict = await claviger.admin('POST', `${credentials}/${id}/mcp_oauth_validate`);
            assert.equal(verdict.status, 'invalid');
            const failed = await arrived('vault_credential.refresh_failed', alarms);
            const event = unwrap(current, failed, signing_secret);
            assert.deepEqual([event.data.id, event.data.vault_id], [id, vault.id]);
            const { data } = unwrap(current, await arrived('connection.needs_reauth', alarms), signing_secret);
            assert.deepEqual([data.state, data.reason], ['needs_reauth', 'invalid_grant']);

            await claviger.admin('DELETE', `${credentials}/${id}`);
            await arrived('vault_credential.deleted', alarms);
            await arrived('connection.deleted', alarms);
            await eventually('three requests', () => requests.length >= 3, 30_000);
            assert.deepEqual(
                requests.map((form) => [form.get('token'), form.get('token_type_hint'), form.get('client_secret')]),
                [
                    [canaries[1], 'refresh_token', canaries[2]],
                    [canaries[1], 'refresh_token', canaries[2]],
                    [canaries[0], 'access_token', canaries[2]],
                ],
            );
            const entries = await eventually('its entry', async () => {
                const log = await claviger.admin('GET', `/v1/access_log?credential_id=${id}`);
                const revoked = log.data.filter(({ action }) => action === 'revoke');
                return revoked.length === 2 && revoked;
            });
            assert.deepEqual(
                entries.map(({ decision, status }) => [decision, status]),
                [
                    ['allowed', 200],
                    ['denied', 503],
                ],
            );
            const told = alarms.seen.map(({ headers, body }) => JSON.stringify(headers) + body).join();
            for (const canary of canaries) assert.ok(!told.includes(canary), `${canary} was told`);
        } finally {
            await server.close();
            await alarms.close();
        }
    });

    it('are managed, and grants explained, from the command line', async () => {
        const folder = temporaryFolder();
        const keyFile = path.join(folder, 'admin.key');
        writeFileSync(keyFile, `${claviger.admin_api_key}\n`, { mode: 0o600 });
        const cli = async (words, code = 0) => {
            const done = await run(binary, [...words, '--url', claviger.adminUrl, '--api-key-file', keyFile]);
            assert.equal(done.code, code, `${words.join(' ')}: ${done.stderr}${done.stdout}`);
            return done.stdout + done.stderr;
        };
        const secretFile = path.join(folder, 'signing.secret');
        const told = await startReceiver();
        try {
            const event = ['--event', 'vault.archived'];
            await cli(['webhook', 'create', '--url-to', told.url, '--name', 'cli', ...event, '--save-secret', secretFile]);
            const secret = readFileSync(secretFile, 'utf8').trim();
            assert.match(secret, /^whsec_/);
            assert.match(await cli(['webhook', 'list']), /cli +enabled/);
            assert.match(await cli(['webhook', 'test', 'cli']), /^Accepted with status 200/);
            assert.equal(unwrap(current, told.events('webhook_endpoint.test')[0], secret).type, 'event');
            assert.match(await cli(['webhook', 'deliveries', 'cli']), /Nothing waits/);
            assert.match(await cli(['webhook', 'rotate-secret', 'cli']), /signs too until .*\n.*shown only now: whsec_/);
            await cli(['webhook', 'update', 'cli', '--disable']);
            assert.match(await cli(['webhook', 'get', 'cli']), /state +disabled/);
            await cli(['webhook', 'update', 'cli', '--enable', '--url-to', `http://127.0.0.1:${await freePort()}/`]);
            assert.match(await cli(['webhook', 'test', 'cli'], 1), /not reached/);
            await cli(['webhook', 'delete', 'cli', '--yes']);

            const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'Eve' });
            await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
                display_name: 'status',
                auth: { type: 'mcp_oauth', mcp_server_url: 'http://localhost:1/mcp', access_token: canaries[0] },
            });
            const status = await cli(['credential', 'status', 'status', '--vault', 'Eve']);
            assert.match(status, /^status  vcrd_01\w+  http:\/\/localhost:1\/mcp\n/);
            assert.match(status, /\nstate +ready\n/);
            assert.match(status, /\nto do +nothing\n/);
            assert.match(status, /\naccess token +[0-9a-f]{8}, obtained \d+ s ago/);
            assert.match(status, /\n\S+Z +create +ok +apikey_01/);
            assert.ok(!status.includes(canaries[0]));
            const json = JSON.parse(await cli(['credential', 'status', 'status', '--vault', 'Eve', '--json']));
            assert.equal(json.type, 'vault_credential_grant');
        } finally {
            await told.close();
        }
    });

    it('leave no secret in the log', () => {
        const log = readFileSync(store.log, 'utf8');
        for (const secret of [...canaries, 'whsec_']) assert.ok(!log.includes(secret), `${secret} is in the log`);
    });
});

describe('webhooks without leave to reach private addresses', () => {
    it('refuse endpoints inside, and send nothing there', async () => {
        const claviger = await serve(await makeStore());
        try {
            for (const url of ['http://hooks.example.com/', 'https://127.0.0.1/hook', 'https://localhost/hook']) {
                const refused = await claviger.admin(
                    'POST',
                    '/v1/webhooks',
                    { url, enabled_events: ['vault.created'] },
                    { status: 400 },
                );
                assert.match(refused.error.message, /^url: must/);
            }
        } finally {
            await claviger.stop();
        }
    });
});
