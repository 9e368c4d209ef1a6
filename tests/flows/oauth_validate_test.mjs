// mcp_oauth_validate: every row of its table, as a real probe of a real server and a real token endpoint.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freePort, makeStore, serve } from './harness.mjs';
import { callWell, connected, startAuthorizationServer } from './oauth_world.mjs';

const asksOfStrangers = 2; // server/discover and initialize

describe('mcp_oauth_validate', () => {
    let as;
    let store;
    let claviger;
    before(async () => {
        as = await startAuthorizationServer();
        store = await makeStore();
        claviger = await serve(store);
    });
    after(() => claviger?.stop());

    async function validate(granted) {
        const verdict = await claviger.admin('POST', `${granted.credentialPath}/mcp_oauth_validate`, {});
        assert.deepEqual(
            [verdict.type, verdict.credential_id, verdict.vault_id],
            ['vault_credential_validation', granted.credential.id, granted.vault.id],
        );
        assert.ok(!JSON.stringify(verdict).includes('canary'), JSON.stringify(verdict));
        return verdict;
    }
    /// A credential whose access token the server refuses, although nobody knew.
    const refused = async (options) => {
        const granted = await connected(claviger, as, options);
        await as.expire(granted.tokens.access_token);
        return granted;
    };

    it('is valid when the probe passes', async () => {
        const granted = await connected(claviger, as);
        const before = (await as.seen()).length;
        const { status, mcp_probe, refresh, has_refresh_token } = await validate(granted);
        const asked = (await as.seen()).slice(before);
        assert.deepEqual(asked.map(({ rpc, live }) => [rpc, live]), [['server/discover', true], ['tools/list', true]]);
        assert.deepEqual({ status, mcp_probe, refresh, has_refresh_token }, { status: 'valid', mcp_probe: null, refresh: null, has_refresh_token: true });
    });

    it('is invalid when the token is refused and there is no refresh token', async () => {
        const { status, mcp_probe, refresh, has_refresh_token } = await validate(await refused({ refresh: null }));
        assert.equal(status, 'invalid');
        assert.deepEqual([mcp_probe.method, mcp_probe.http_response.status_code], ['initialize', 401]);
        assert.deepEqual([refresh, has_refresh_token], [{ status: 'no_refresh_token', http_response: null }, false]);
    });

    for (const [status_code, error, verdict] of [
        [400, 'invalid_grant', 'invalid'],
        [401, 'invalid_client', 'invalid'],
        [403, 'access_denied', 'invalid'],
        [408, 'timeout', 'unknown'],
        [429, 'slow_down', 'unknown'],
        [500, 'server_error', 'unknown'],
        [503, 'temporarily_unavailable', 'unknown'],
    ])
        it(`is ${verdict} when the token endpoint answers ${status_code}`, async () => {
            const granted = await refused();
            await granted.fault({ kind: 'answer', status: status_code, body: { error, error_description: granted.tokens.refresh_token } });
            const { status, mcp_probe, refresh } = await validate(granted);
            assert.equal(mcp_probe.http_response.status_code, 401);
            assert.equal(refresh.status, 'failed');
            assert.deepEqual([refresh.http_response.status_code, refresh.http_response.content_type, refresh.http_response.body_truncated], [status_code, 'application/json', false]);
            assert.equal(JSON.parse(refresh.http_response.body).error, error);
            assert.equal(status, verdict);
        });

    it('is unknown when the token endpoint cannot be reached', async () => {
        const granted = await refused({ refresh: { token_endpoint: `http://127.0.0.1:${await freePort()}/token` } });
        const { status, refresh } = await validate(granted);
        assert.deepEqual([status, refresh], ['unknown', { status: 'connect_error', http_response: null }]);
    });

    it('is valid after a refresh that the server takes, and the new tokens are kept before it answers', async () => {
        const granted = await refused();
        const { status, refresh } = await validate(granted);
        assert.deepEqual([status, refresh.status], ['valid', 'succeeded']);
        assert.equal((await granted.refreshes()).length, 1);
        await claviger.kill();
        claviger = await serve(store);
        await callWell({ ...granted, endpoint: `${claviger.agentsUrl}/mcp/upstream` });
        assert.equal((await granted.refreshes()).length, 1);
    });

    it('is not valid when the server refuses the new token, too', async () => {
        const granted = await connected(claviger, as);
        await as.resourceMode({ refuse: 1000 });
        const { status, mcp_probe, refresh } = await validate(granted);
        await as.resourceMode({ refuse: 0 });
        assert.equal(refresh.status, 'succeeded');
        assert.equal(mcp_probe.http_response.status_code, 401);
        assert.notEqual(status, 'valid');
        assert.equal((await granted.refreshes()).length, 1);
    });

    for (const status_code of [429, 500, 503])
        it(`is unknown when the server answers ${status_code}`, async () => {
            const granted = await connected(claviger, as);
            await as.resourceMode({ answers: { count: asksOfStrangers, status: status_code, body: `busy ${granted.tokens.access_token}` } });
            const { status, mcp_probe, refresh } = await validate(granted);
            assert.deepEqual([status, mcp_probe.http_response.status_code, refresh], ['unknown', status_code, null]);
            assert.match(mcp_probe.http_response.body, /^busy /);
        });

    it('is invalid when the server answers 403', async () => {
        const granted = await connected(claviger, as);
        await as.resourceMode({ answers: { count: asksOfStrangers, status: 403, body: 'no' } });
        const { status, mcp_probe, refresh } = await validate(granted);
        assert.deepEqual([status, mcp_probe.http_response.status_code, refresh], ['invalid', 403, null]);
    });

    it('cuts what is long', async () => {
        const granted = await connected(claviger, as);
        await as.resourceMode({ answers: { count: asksOfStrangers, status: 500, body: 'x'.repeat(100_000) } });
        const { mcp_probe } = await validate(granted);
        assert.equal(mcp_probe.http_response.body_truncated, true);
        assert.ok(mcp_probe.http_response.body.length <= 4096);
    });

    it('refuses credentials of other types', async () => {
        const granted = await connected(claviger, as);
        const at = `/v1/vaults/${granted.vault.id}/credentials`;
        const other = await claviger.admin('POST', at, { auth: { type: 'static_bearer', mcp_server_url: `${as.resource}/static`, token: 'a-token' } });
        await claviger.admin('POST', `${at}/${other.id}/mcp_oauth_validate`, {}, { status: 400 });
    });
});
