// What an authorization server says of its tokens when it is asked (RFC 7662): how long they live, that access was
// withdrawn; and servers that want to find something else in a token.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { eventually, grant, startClaviger } from './harness.mjs';
import { browse, call, callWell, connected, fingerprint, grantOf, startAuthorizationServer } from './oauth_world.mjs';

describe('An authorization server that is asked about its tokens', () => {
    let as;
    let claviger;
    let receiver;
    let numbers = 0;
    const events = [];
    before(async () => {
        as = await startAuthorizationServer();
        claviger = await startClaviger({ config: { webhooks: { allow_private: true } } });
        receiver = createServer(async (request, response) => {
            let body = '';
            for await (const part of request) body += part;
            events.push(JSON.parse(body));
            response.end();
        });
        await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
        await claviger.admin('POST', '/v1/webhooks', {
            name: 'receiver',
            url: `http://127.0.0.1:${receiver.address().port}/`,
            enabled_events: ['connection.needs_reauth', 'vault_credential.refresh_failed'],
        });
    });
    after(async () => {
        await claviger?.stop();
        receiver?.close();
    });

    const questions = async (token) =>
        (await as.log()).filter((one) => one.path === '/token/introspection' && one.token === fingerprint(token));

    /// Somebody connects an account; an agent may use it.
    async function connectedByLink({ vault, resource = `${as.resource}/asked-${++numbers}`, credential_id } = {}) {
        vault ??= await claviger.admin('POST', '/v1/vaults', { display_name: resource });
        const links = `/v1/vaults/${vault.id}/connect_links`;
        const link = await claviger.admin('POST', links, credential_id ? { credential_id } : { server_url: resource });
        const { status, text } = await browse(`${link.url}/start`, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true });
        assert.equal(status, 200, text);
        const done = await claviger.admin('GET', `${links}/${link.id}`);
        assert.equal(done.status, 'connected', JSON.stringify(done.problem));
        const granted = await grant(claviger, { url: resource, vault });
        const credentialPath = `/v1/vaults/${vault.id}/credentials/${done.credential_id}`;
        return { ...granted, vault, resource, credential_id: done.credential_id, credentialPath };
    }
    const newestToken = ({ resource }) => as.newest('access_token', resource);

    describe('for how long one lives', () => {
        it('is believed where the token answer does not say', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', remove: ['expires_in'] } });
            await callWell(granted, 1);
            const known = await eventually('the lifetime is known', async () => {
                const found = await grantOf(claviger, granted);
                return found.expiry_known_from === 'introspection' && found.next.action === 'refresh' && found;
            });
            const left = Date.parse(known.expires_at) - Date.now();
            assert.ok(left > 3_000_000 && left <= 3_600_000, known.expires_at);
            assert.equal(known.introspection.active, true);
            assert.equal(known.timeline.filter(({ action }) => action === 'introspect').length, 1);
            assert.equal((await questions(await newestToken(granted))).length, 1);
            await callWell(granted, 2);
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('is believed of a new connection as well', async () => {
            await as.fault({ kind: 'rewrite', remove: ['expires_in'], grant: 'authorization_code' });
            const granted = await connectedByLink();
            const { expiry_known_from, expires_at } = await grantOf(claviger, granted);
            assert.equal(expiry_known_from, 'introspection');
            assert.ok(Date.parse(expires_at) > Date.now() + 3_000_000, expires_at);
        });

        it('and does not answer costs nobody their token', async () => {
            await as.fault({ path: '/token/introspection', kind: 'drop_before' });
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', remove: ['expires_in'] } });
            await callWell(granted, 1);
            await eventually('the question is on record', async () =>
                (await grantOf(claviger, granted)).timeline.some(({ action }) => action === 'introspect'),
            );
            await callWell(granted, 2);
            const { state, expires_at, expiry_known_from } = await grantOf(claviger, granted);
            assert.deepEqual([state, expires_at, expiry_known_from], ['ready', null, 'unknown']);
            await as.clearFaults();
        });

        it('is not asked where a token says it itself', async () => {
            const granted = await connected(claviger, as, { dead: true });
            await callWell(granted, 1);
            await callWell(granted, 2);
            assert.deepEqual(await questions(await newestToken(granted)), []);
        });
    });

    describe('whether access was withdrawn', () => {
        it('ends a grant that nothing renews, and tells everybody', async () => {
            await as.mode({ issue_refresh: false });
            const granted = await connectedByLink();
            await as.mode({ issue_refresh: true });
            await callWell(granted, 1);
            const token = await newestToken(granted);
            assert.deepEqual(await questions(token), [], 'asked for a call that fared well');
            await as.expire(token); // its person withdraws access at the provider

            const refused = await call(granted, 2);
            assert.equal(refused.message.error.data.code, 'grant.needs_reauth', refused.text);
            assert.match(refused.message.error.message, /revoked_upstream/);
            assert.equal((await questions(token)).length, 1);
            const found = await grantOf(claviger, granted);
            assert.deepEqual([found.state, found.reason, found.token_is_served], ['needs_reauth', 'revoked_upstream', false]);
            assert.equal(found.introspection.active, false);
            const written = found.timeline.map(({ action, reason }) => [action, reason]);
            assert.deepEqual(written.slice(0, 2), [['update', 'grant.revoked_upstream'], ['introspect', null]]);
            const told = await eventually('the webhook', () =>
                events.find(({ data }) => data.id === granted.credential_id && data.type === 'connection.needs_reauth'),
            );
            assert.deepEqual([told.data.state, told.data.reason], ['needs_reauth', 'revoked_upstream']);
            assert.ok(events.some(({ data }) => data.id === granted.credential_id && data.type === 'vault_credential.refresh_failed'));

            await call(granted, 3);
            assert.equal((await questions(token)).length, 1, 'asked about a dead grant');
            // A person brings it back in place.
            await connectedByLink(granted);
            await callWell(granted, 4);
            assert.equal((await grantOf(claviger, granted)).introspection, null);
        });

        it('keeps a grant whose token only the MCP server refuses', async () => {
            await as.mode({ issue_refresh: false });
            const granted = await connectedByLink();
            await as.mode({ issue_refresh: true });
            await as.resourceMode({ refuse: 3 });
            for (const id of [1, 2, 3]) {
                const { message, text } = await call(granted, id);
                assert.equal(message.error.data.code, 'upstream.unauthorized', text);
            }
            assert.equal((await questions(await newestToken(granted))).length, 1, 'asked more than once a minute');
            await callWell(granted, 4);
            assert.equal((await grantOf(claviger, granted)).state, 'ready');
        });

        it('is asked by a validation, too', async () => {
            await as.mode({ issue_refresh: false });
            const granted = await connectedByLink();
            await as.mode({ issue_refresh: true });
            await as.expire(await newestToken(granted));
            const { status, refresh } = await claviger.admin('POST', `${granted.credentialPath}/mcp_oauth_validate`, {});
            assert.deepEqual([status, refresh.status], ['invalid', 'no_refresh_token']);
            const { state, reason } = await grantOf(claviger, granted);
            assert.deepEqual([state, reason], ['needs_reauth', 'revoked_upstream']);
        });
    });

    describe('for other claims, because the MCP server wants them', () => {
        const claims = JSON.stringify({ access_token: { 'canary-claim': { essential: true, value: '1700000000' } } });
        const demanding = (count) => {
            const challenge = `Bearer realm="", error="insufficient_claims", claims="${Buffer.from(claims).toString('base64')}"`;
            return as.resourceMode({ answers: { count, status: 401, headers: { 'www-authenticate': challenge } } });
        };
        after(() => as.resourceMode({ answers: { count: 0 } }));

        it('gets them in one token request, and the call goes on', async () => {
            const granted = await connected(claviger, as);
            await demanding(1);
            const { raw } = await callWell(granted, 1);
            assert.ok(!raw.includes('canary-claim'));
            const refreshes = await granted.refreshes();
            assert.deepEqual(refreshes.map(({ form }) => form.includes('claims')), [true]);
            const { claims_challenge, state } = await grantOf(claviger, granted);
            assert.deepEqual([claims_challenge.pending, state], [false, 'ready']);
        });

        it('is not asked again and again for a server that always wants more', async () => {
            const granted = await connected(claviger, as);
            await demanding(9);
            for (const id of [1, 2, 3]) {
                const { message, raw } = await call(granted, id);
                assert.equal(message.error.data.code, 'upstream.unauthorized');
                assert.ok(!raw.includes('canary-claim') && !raw.includes('YWNjZXNzX3Rva2Vu'));
            }
            await as.resourceMode({ answers: { count: 0 } });
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('and wants a person first: the connect link asks for them', async () => {
            const first = await connectedByLink();
            await as.fault({ resource: first.resource, kind: 'answer', status: 400, body: { error: 'interaction_required' } });
            await demanding(1);
            const { message, text } = await call(first, 1);
            assert.equal(message.error.data.code, 'grant.needs_reauth', text);
            assert.ok(!text.includes('canary-claim'));
            const shown = await grantOf(claviger, first);
            assert.deepEqual([shown.state, shown.reason, shown.claims_challenge.pending], ['needs_reauth', 'interaction_required', true]);
            assert.match(shown.meaning, /other claims/);
            assert.ok(!JSON.stringify(shown).includes('canary-claim'));
            await connectedByLink(first);
            const { query } = (await as.log()).findLast(({ path, query }) => path === '/auth' && query?.resource === first.resource);
            assert.deepEqual(JSON.parse(query.claims), JSON.parse(claims));
            await callWell(first, 2);
            assert.equal((await grantOf(claviger, first)).claims_challenge, null);
        });
    });
});
