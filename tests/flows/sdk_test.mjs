// The official SDKs of three generations against the real binary, told nothing but its address and a key.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import current from '@anthropic-ai/sdk';
import before1 from 'anthropic-sdk-0.137';
import oldest from 'anthropic-sdk-0.86';

import { bodyWith, credentialFields, vaultFields } from './field_limits.mjs';
import { startClaviger, startFixture } from './harness.mjs';

const sdks = [
    ['1.11.0', current],
    ['0.137.0', before1],
    ['0.86.1', oldest],
];
const canaries = ['CANARY-token-1', 'CANARY-token-2', 'CANARY-refresh', 'CANARY-client', 'CANARY-value'];

/// A fetch that counts attempts and keeps every byte that came back.
function countingFetch() {
    const attempts = [];
    async function counting(input, init) {
        const response = await fetch(input, init);
        const text = await response.clone().text();
        attempts.push({ status: response.status, headers: response.headers, text, target: String(input), init });
        return response;
    }
    return { fetch: counting, attempts };
}

async function all(list) {
    const items = [];
    for await (const item of list) items.push(item);
    return items;
}

const failure = async (promise, what = 'it') => {
    try {
        await promise;
    } catch (error) {
        return error;
    }
    return assert.fail(`${what} should have been refused`);
};

const short = (value) => (JSON.stringify(value) ?? 'nothing').slice(0, 60);

for (const [version, SDK] of sdks) {
    describe(`SDK ${version}`, () => {
        let claviger;
        let client;
        let recorder;

        before(async () => {
            claviger = await startClaviger();
            recorder = countingFetch();
            client = new SDK({ baseURL: claviger.adminUrl, apiKey: claviger.admin_api_key, fetch: recorder.fetch });
        });
        after(async () => {
            await claviger?.stop();
            const log = readFileSync(`${claviger.folder}/claviger.log`, 'utf8') + claviger.child.errors();
            for (const canary of canaries) {
                assert.ok(!log.includes(canary), `${canary} is in the log`);
                for (const { text, target } of recorder.attempts)
                    assert.ok(!text.includes(canary), `${canary} came back from ${target}`);
            }
            for (const { headers, target } of recorder.attempts) {
                assert.match(headers.get('request-id') ?? '', /^req_01[1-9A-Za-z]{22}$/, target);
                assert.match(headers.get('content-type') ?? '', /^application\/json/, target);
            }
        });

        it('keeps vaults', async () => {
            const vault = await client.beta.vaults.create({ display_name: 'Alice', metadata: { user: 'u1' } });
            assert.equal(vault.type, 'vault');
            assert.match(vault._request_id, /^req_/);
            assert.deepEqual(await client.beta.vaults.retrieve(vault.id), vault);
            const renamed = await client.beta.vaults.update(vault.id, {
                display_name: 'Alice B.',
                metadata: { user: null, tier: 'gold' },
            });
            assert.equal(renamed.display_name, 'Alice B.');
            assert.deepEqual(renamed.metadata, { tier: 'gold' });
            const archived = await client.beta.vaults.archive(vault.id);
            assert.ok(archived.archived_at);
            assert.ok(!(await all(client.beta.vaults.list())).some(({ id }) => id === vault.id));
            assert.ok((await all(client.beta.vaults.list({ include_archived: true }))).some(({ id }) => id === vault.id));
            assert.deepEqual({ ...(await client.beta.vaults.delete(vault.id)) }, { id: vault.id, type: 'vault_deleted' });
            assert.ok((await failure(client.beta.vaults.retrieve(vault.id))) instanceof SDK.NotFoundError);
        });

        it('walks a list over three pages, also when one of them has become empty', async () => {
            const made = [];
            for (let i = 0; i < 5; ++i) made.push((await client.beta.vaults.create({ display_name: `page ${i}` })).id);
            const seen = await all(client.beta.vaults.list({ limit: 2 }));
            assert.deepEqual(seen.map(({ id }) => id), made.toReversed());

            const first = await client.beta.vaults.list({ limit: 2 });
            await Promise.all(made.slice(0, 3).map((id) => client.beta.vaults.delete(id)));
            const second = await first.getNextPage();
            assert.deepEqual(second.data, []);
            assert.equal(second.hasNextPage(), false);
        });

        it('keeps credentials of every kind and rotates them', async () => {
            const vault = await client.beta.vaults.create({ display_name: 'credentials' });
            const { credentials } = client.beta.vaults;
            const bearer = await credentials.create(vault.id, {
                display_name: 'Linear PAT',
                auth: { type: 'static_bearer', mcp_server_url: 'https://mcp.linear.app/mcp', token: canaries[0] },
            });
            assert.equal(bearer.type, 'vault_credential');
            assert.equal(bearer.vault_id, vault.id);
            assert.deepEqual(bearer.auth, { type: 'static_bearer', mcp_server_url: 'https://mcp.linear.app/mcp' });
            const oauth = await credentials.create(vault.id, {
                auth: {
                    type: 'mcp_oauth',
                    mcp_server_url: 'https://mcp.slack.com/mcp',
                    access_token: canaries[1],
                    expires_at: '2036-12-01T00:00:00Z',
                    refresh: {
                        token_endpoint: 'https://slack.com/api/oauth.v2.user.access',
                        client_id: '123.456',
                        scope: 'channels:read',
                        refresh_token: canaries[2],
                        token_endpoint_auth: { type: 'client_secret_post', client_secret: canaries[3] },
                    },
                },
            });
            assert.deepEqual(oauth.auth.refresh.token_endpoint_auth, { type: 'client_secret_post' });
            const variable = await credentials.create(vault.id, {
                auth: {
                    type: 'environment_variable',
                    secret_name: 'NOTION_API_KEY',
                    secret_value: canaries[4],
                    networking: { type: 'limited', allowed_hosts: ['api.notion.com'] },
                    injection_location: { header: true },
                },
            });
            assert.deepEqual(variable.auth.injection_location, { header: true, body: false });
            assert.equal((await all(credentials.list(vault.id, { limit: 1 }))).length, 3);

            const rotated = await credentials.update(bearer.id, {
                vault_id: vault.id,
                auth: { type: 'static_bearer', token: canaries[1] },
            });
            assert.equal(rotated.version, 2);
            assert.deepEqual(await credentials.retrieve(bearer.id, { vault_id: vault.id }), rotated);
            const archived = await credentials.archive(bearer.id, { vault_id: vault.id });
            assert.ok(archived.archived_at);
            assert.deepEqual({ ...(await credentials.delete(bearer.id, { vault_id: vault.id })) },
                { id: bearer.id, type: 'vault_credential_deleted' });
        });

        it('learns of a duplicate after one attempt', async () => {
            const vault = await client.beta.vaults.create({ display_name: 'duplicate' });
            const auth = { type: 'static_bearer', mcp_server_url: 'https://mcp.linear.app/mcp', token: canaries[0] };
            await client.beta.vaults.credentials.create(vault.id, { auth });
            const attempts = recorder.attempts.length;
            const error = await failure(client.beta.vaults.credentials.create(vault.id, {
                auth: { ...auth, mcp_server_url: 'https://MCP.linear.app:443/mcp/' },
            }));
            assert.ok(error instanceof SDK.ConflictError);
            assert.equal(error.status, 409);
            assert.equal(error.error.error.type, 'conflict_error');
            assert.match(error.requestID, /^req_/);
            assert.equal(recorder.attempts.length, attempts + 1);
        });

        /// Each value of the table in turn: those at the edge are taken, the others refused by the field's name.
        async function tryEach({ body, rows }, send) {
            for (const { at, named = at, good, bad } of rows) {
                for (const value of good) await send(bodyWith(body, at, value)).catch((error) => assert.fail(`${at} = ${short(value)}: ${error}`));
                for (const value of bad) {
                    const error = await failure(send(bodyWith(body, at, value)), `${at} = ${short(value)}`);
                    assert.ok(error instanceof SDK.BadRequestError, `${at} = ${short(value)}: ${error}`);
                    assert.equal(error.error.error.type, 'invalid_request_error');
                    const { message } = error.error.error;
                    assert.ok(message.startsWith(named) && /^[^ ]*: /.test(message.slice(named.length)), `${at} = ${short(value)}: ${message}`);
                    if (named === at) assert.ok(message.startsWith(`${at}: `), `${at} = ${short(value)}: ${message}`);
                    assert.equal(error.error.request_id, error.requestID);
                }
            }
        }

        it('is told which field of a vault was wrong, and by how much', async () => {
            const { vaults } = client.beta;
            await tryEach(vaultFields.create, (body) => vaults.create(body));
            await tryEach(vaultFields.update, async (body) => {
                const { id } = await vaults.create(vaultFields.create.body);
                return vaults.update(id, body);
            });
        });

        it('is told which field of a credential was wrong, and by how much', async () => {
            const { vaults } = client.beta;
            for (const { create, update } of credentialFields) {
                const made = async (body) => {
                    const { id } = await vaults.create({ display_name: 'one credential' }); // none is in another's way
                    return vaults.credentials.create(id, body);
                };
                await tryEach(create, made);
                await tryEach(update, async (body) => {
                    const { id, vault_id } = await made(create.body);
                    return vaults.credentials.update(id, { vault_id, ...body });
                });
            }
        });

        it('is told which field of anything else was wrong', async () => {
            const { beta } = client;
            const rows = [
                [() => beta.vaults.list({ limit: 1000 }), 'limit: '],
                [() => beta.vaults.list({ page: 'nonsense' }), 'page: '],
                [() => beta.environments.create({ name: 'e', config: { type: 'cloud', networking: { type: 'odd' } } }),
                    'config.networking.type: '],
                [() => beta.agents.create({ name: 'a', model: 'm', tools: [{ type: 'custom', name: 'x' }] }), 'tools[0].type: '],
                [() => beta.sessions.create({ environment_id: 'env_x' }), 'agent: '],
            ];
            for (const [attempt, start] of rows) {
                const error = await failure(attempt());
                assert.ok(error instanceof SDK.BadRequestError, `${start}: ${error}`);
                assert.equal(error.error.error.type, 'invalid_request_error');
                assert.ok(error.error.error.message.startsWith(start), error.error.error.message);
                assert.equal(error.error.request_id, error.requestID);
            }
        });

        it('binds vaults, environments and agents into sessions', async () => {
            const { beta } = client;
            const vault = await beta.vaults.create({ display_name: 'session' });
            const environment = await beta.environments.create({
                name: 'prod',
                config: { type: 'cloud', networking: { type: 'limited', allow_mcp_servers: true } },
            });
            assert.deepEqual(environment.config.packages.npm, []);
            assert.equal((await beta.environments.update(environment.id, { description: 'x' })).description, 'x');
            const agent = await beta.agents.create({
                name: 'Ops',
                model: 'claude-opus-5-5',
                mcp_servers: [{ type: 'url', name: 'linear', url: 'https://mcp.linear.app/mcp' }],
                tools: [{ type: 'mcp_toolset', mcp_server_name: 'linear' }],
            });
            assert.equal(agent.version, 1);
            const changed = await beta.agents.update(agent.id, { version: 1, description: 'd' });
            assert.equal(changed.version, 2);
            assert.ok((await failure(beta.agents.update(agent.id, { version: 1, name: 'n' }))) instanceof SDK.ConflictError);
            assert.equal((await all(beta.agents.versions.list(agent.id))).length, 2);

            const session = await beta.sessions.create({
                agent: { type: 'agent', id: agent.id, version: 1 },
                environment_id: environment.id,
                vault_ids: [vault.id],
                title: 'digest',
            });
            assert.equal(session.status, 'idle');
            assert.equal(session.agent.version, 1);
            assert.match(session.session_token, /^clv_session_/);
            assert.deepEqual(session.mcp_endpoints, { linear: `${claviger.agentsUrl}/mcp/linear` });
            const retrieved = await beta.sessions.retrieve(session.id);
            assert.equal(retrieved.session_token, undefined);
            assert.deepEqual((await all(beta.sessions.list({ agent_id: agent.id, limit: 1 }))).map(({ id }) => id), [session.id]);
            assert.equal((await beta.sessions.update(session.id, { title: null })).title, null);
            assert.ok((await failure(beta.sessions.update(session.id, { vault_ids: [] }))) instanceof SDK.BadRequestError);
            assert.ok((await failure(beta.environments.delete(environment.id))) instanceof SDK.ConflictError);
            assert.equal((await beta.sessions.archive(session.id)).status, 'terminated');
            assert.equal((await beta.sessions.delete(session.id)).type, 'session_deleted');
            assert.equal((await beta.environments.delete(environment.id)).type, 'environment_deleted');
            assert.ok((await beta.agents.archive(agent.id)).archived_at);
        });

        it('is refused with the right errors', async () => {
            const another = { baseURL: claviger.adminUrl, maxRetries: 0, fetch: recorder.fetch };
            const stranger = new SDK({ ...another, apiKey: 'clv_admin_unknown' });
            assert.ok((await failure(stranger.beta.vaults.list())) instanceof SDK.AuthenticationError);
            const runner = await claviger.admin('POST', '/v1/api_keys', { name: 'runner', role: 'agent-runner' });
            const limited = new SDK({ ...another, apiKey: runner.key });
            assert.ok((await failure(limited.beta.vaults.list())) instanceof SDK.PermissionDeniedError);
            assert.deepEqual((await limited.beta.agents.list()).data.length >= 0, true);
            assert.ok((await failure(client.messages.create({ model: 'm', max_tokens: 1, messages: [] }))) instanceof
                SDK.NotFoundError);
        });

        it('works below a path prefix', async () => {
            const prefixed = new SDK({
                baseURL: `${claviger.adminUrl}/tools/vault/`,
                apiKey: claviger.admin_api_key,
                fetch: recorder.fetch,
            });
            assert.ok(Array.isArray((await prefixed.beta.vaults.list()).data));
        });

        it('validates a credential against the live server', { skip: !hasValidate(SDK) }, async () => {
            const fixture = await startFixture(canaries[0]);
            const vault = await client.beta.vaults.create({ display_name: 'validate' });
            const { credentials } = client.beta.vaults;
            const credential = await credentials.create(vault.id, {
                auth: { type: 'mcp_oauth', mcp_server_url: fixture.url, access_token: canaries[0] },
            });
            const verdict = await credentials.mcpOAuthValidate(credential.id, { vault_id: vault.id });
            assert.equal(verdict.status, 'valid', JSON.stringify(verdict));
            await credentials.update(credential.id, {
                vault_id: vault.id,
                auth: { type: 'mcp_oauth', access_token: canaries[1] },
            });
            const refused = await credentials.mcpOAuthValidate(credential.id, { vault_id: vault.id });
            assert.equal(refused.status, 'invalid', JSON.stringify(refused));
            assert.equal(refused.refresh.status, 'no_refresh_token');
        });
    });
}

function hasValidate(SDK) {
    return 'mcpOAuthValidate' in new SDK({ apiKey: 'none' }).beta.vaults.credentials;
}
