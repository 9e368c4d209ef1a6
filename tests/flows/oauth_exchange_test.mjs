// Tokens for tokens, against real authorization servers: token exchange (RFC 8693), identity assertions (ID-JAG) and
// assertions that others made (RFC 7523), set up once and exchanged again when they run out.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, eventually, grant, run, startClaviger, temporaryFolder } from './harness.mjs';
import { call, callWell, connected, grantOf, login, startAuthorizationServer, settled } from './oauth_world.mjs';

const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange';
const bearerType = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

describe('A token that is exchanged for another', () => {
    let as; // of the MCP server
    let idp; // another one
    let claviger;
    let numbers = 0;

    before(async () => {
        as = await startAuthorizationServer();
        idp = await startAuthorizationServer();
        claviger = await startClaviger();
        await claviger.admin('POST', '/v1/oauth_clients', {
            issuer: idp.issuer,
            client_id: 'exchanger',
            client_secret: idp.clients.exchanger.client_secret,
        });
    });
    after(() => claviger?.stop());

    const client = () => ({ client_id: 'exchanger', client_secret: as.clients.exchanger.client_secret });

    /// A link of such a grant, which needs nobody, for a resource of its own.
    async function link(type, exchange, { vault, options, ...more } = {}) {
        vault ??= await claviger.admin('POST', '/v1/vaults', { display_name: `exchange ${++numbers}` });
        const resource = `${as.resource}/exchange-${++numbers}`;
        const body = { grant: type, issuer: as.issuer, client: client(), scopes: ['mcp:read'], exchange, ...more };
        if (!more.credential_id) body.server_url = resource;
        const made = await claviger.admin('POST', `/v1/vaults/${vault.id}/connect_links`, body, options);
        return { vault, resource, link: made, requests: async (grantType) => (await as.tokenRequests(grantType)).filter((one) => one.resource === resource) };
    }
    async function agentOf(made) {
        assert.equal(made.link.status, 'connected', JSON.stringify(made.link));
        const granted = await grant(claviger, { url: made.resource, vault: made.vault });
        return { ...granted, credentialPath: `/v1/vaults/${made.vault.id}/credentials/${made.link.credential_id}` };
    }
    /// An account that somebody has connected at that server, in a vault of its own.
    const person = (at, more) => connected(claviger, at, { client: 'post', ...more });

    describe('with a token exchange', () => {
        it('of another credential works, and is exchanged again when it ends (10)', async () => {
            const subject = await person(as);
            await as.mode({ access_ttl: 4 });
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            const agent = await agentOf(made);
            await callWell(agent, 1);
            await sleep(4_100);
            await callWell(agent, 2);
            await as.mode({ access_ttl: 3600 });
            await settled(claviger, agent);
            const requests = await made.requests(exchangeType);
            assert.ok(requests.length >= 2 && requests.every(({ status }) => status === 200), JSON.stringify(requests));
            assert.ok(requests[0].form.includes('subject_token_type'), requests[0].form);
            assert.equal(requests[0].client, 'exchanger');
            const { timeline } = await grantOf(claviger, subject);
            assert.ok(timeline.filter(({ reason }) => reason === 'grant.exchanged').length >= 2, JSON.stringify(timeline));
            const { state, renewable } = await grantOf(claviger, agent);
            assert.deepEqual([state, renewable], ['ready', true]);
        });

        it('renews that credential first', async () => {
            const subject = await person(as, { dead: true });
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            await callWell(await agentOf(made), 1);
            assert.equal((await subject.refreshes()).length, 1);
        });

        it('renews that credential, too, when its token died without anybody knowing', async () => {
            const subject = await person(as);
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            const agent = await agentOf(made);
            await as.expire(subject.tokens.access_token);
            await as.expire(await as.newest('access_token', made.resource));
            await callWell(agent, 1);
            assert.equal((await subject.refreshes()).length, 1);
            const statuses = (await made.requests(exchangeType)).map(({ status }) => status);
            assert.deepEqual(statuses, [200, 400, 200]);
            const { timeline } = await grantOf(claviger, subject);
            assert.ok(timeline.filter(({ reason }) => reason === 'grant.exchanged').length >= 3, JSON.stringify(timeline));
        });

        it('renews it for a link as well', async () => {
            const subject = await person(as);
            await as.expire(subject.tokens.access_token);
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            await callWell(await agentOf(made), 1);
            assert.deepEqual((await made.requests(exchangeType)).map(({ status }) => status), [400, 200]);
        });

        it('names that credential when even its renewed token is refused', async () => {
            const subject = await person(as);
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            const agent = await agentOf(made);
            await as.fault({ resource: made.resource, grant: exchangeType, kind: 'answer', status: 400, body: { error: 'invalid_grant' }, count: 2 });
            await as.expire(await as.newest('access_token', made.resource));
            assert.equal((await call(agent, 1)).message.error.data.code, 'grant.needs_reauth');
            const told = await grantOf(claviger, agent);
            assert.deepEqual([told.state, told.reason, told.subject_credential_id], ['needs_reauth', 'subject_refused', subject.credential.id]);
            assert.equal((await subject.refreshes()).length, 1);
        });

        it('says that the other credential has no token, and goes on when it has one', async () => {
            const subject = await person(as);
            const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            const agent = await agentOf(made);
            await claviger.admin('POST', `${subject.credentialPath}/suspend`);
            await as.expire(await as.newest('access_token', made.resource));
            const refused = await call(agent, 1);
            assert.equal(refused.message.error.data.code, 'grant.transient', refused.text);
            const { reason, meaning } = await eventually('it waits', async () => {
                const told = await grantOf(claviger, agent);
                return told.state === 'backoff' && told;
            });
            assert.equal(reason, 'subject_unusable');
            assert.match(meaning, /the credential whose token is exchanged/);
            await claviger.admin('POST', `${subject.credentialPath}/resume`);
            await eventually('it is exchanged again', async () => (await call(agent, 2)).message?.result, 20_000);
        });

        it('in which another credential acts says who, and keeps both fresh (10)', async () => {
            await as.mode({ disguise: false }); // so that the JWTs are whole
            const subject = await person(as);
            const service = { client_id: 'service', client_secret: as.clients.service.client_secret };
            const actor = await link('client_credentials', undefined, { vault: subject.vault, client: service });
            const actorPath = `/v1/vaults/${subject.vault.id}/credentials/${actor.link.credential_id}`;
            const both = { subject_credential_id: subject.credential.id, actor_credential_id: actor.link.credential_id };
            const made = await link('token_exchange', both, { vault: subject.vault });
            const agent = await agentOf(made);
            await callWell(agent, 1);
            const [first] = await made.requests(exchangeType);
            for (const field of ['subject_token', 'actor_token', 'actor_token_type']) assert.ok(first.form.includes(field), first.form);
            const told = await grantOf(claviger, agent);
            assert.deepEqual(told.act_chain, ['service', 'whoever-acted-before']);
            assert.deepEqual([told.subject_credential_id, told.actor_credential_id], [subject.credential.id, actor.link.credential_id]);

            await as.expire(await as.newest('access_token', actor.resource));
            await as.expire(await as.newest('access_token', made.resource));
            await callWell(agent, 2);
            assert.deepEqual((await made.requests(exchangeType)).map(({ status }) => status), [200, 400, 200]);
            assert.equal((await actor.requests('client_credentials')).length, 2);
            const { timeline } = await grantOf(claviger, { credentialPath: actorPath });
            assert.equal(timeline.filter(({ reason }) => reason === 'grant.exchanged_as_actor').length, 3, JSON.stringify(timeline));
            await as.mode({ disguise: true });
        });

        it('that was given is kept for the next time', async () => {
            const { access_token } = await login(as, { client: 'post' });
            const made = await link('token_exchange', { subject_token: access_token });
            const agent = await agentOf(made);
            await callWell(agent, 1);
            const shown = JSON.stringify([await claviger.admin('GET', agent.credentialPath), await grantOf(claviger, agent), made.link]);
            assert.ok(!shown.includes('canary'), shown);
            await as.expire(await as.newest('access_token', made.resource));
            await callWell(agent, 2);
            assert.equal((await made.requests(exchangeType)).length, 2);
        });

        it('is not shown when the server repeats it in a refusal', async () => {
            const subject = await person(as);
            const given = (await login(as, { client: 'post' })).access_token;
            for (const [exchange, token, vault] of [
                [{ subject_credential_id: subject.credential.id }, subject.tokens.access_token, subject.vault],
                [{ subject_token: given }, given, undefined],
            ]) {
                const made = await link('token_exchange', exchange, { vault });
                const agent = await agentOf(made);
                await as.expire(await as.newest('access_token', made.resource));
                const body = { error: 'invalid_request', error_description: `no ${token}`, echo: token };
                await as.fault({ resource: made.resource, grant: exchangeType, kind: 'answer', status: 400, body, count: 2 });
                const verdict = await claviger.admin('POST', `${agent.credentialPath}/mcp_oauth_validate`, {});
                assert.equal(verdict.refresh.status, 'failed');
                assert.ok(!JSON.stringify([verdict, await grantOf(claviger, agent)]).includes(token), JSON.stringify(verdict));
            }
        });

        it('goes nowhere but where it came from', async () => {
            const subject = await person(idp);
            const made = await link(
                'token_exchange',
                { subject_credential_id: subject.credential.id },
                { vault: subject.vault, options: { status: 400 } },
            );
            assert.match(JSON.stringify(made.link), /subject_elsewhere/);
            assert.deepEqual(await made.requests(exchangeType), []);
        });
    });

    describe('for an identity assertion (ID-JAG)', () => {
        it('by the refresh token of another credential works, and again when it ends (10)', async () => {
            const subject = await person(idp);
            await as.mode({ access_ttl: 4 });
            const made = await link('id_jag', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
            const agent = await agentOf(made);
            await callWell(agent, 1);
            await sleep(4_100);
            await callWell(agent, 2);
            await as.mode({ access_ttl: 3600 });
            await settled(claviger, agent);
            const [first, ...more] = (await idp.tokenRequests(exchangeType)).filter((one) => one.resource === made.resource);
            assert.ok(more.length >= 1, 'the chain was not gone through again');
            assert.deepEqual([first.status, first.client], [200, 'post']);
            assert.ok((await made.requests(bearerType)).every(({ status }) => status === 200));
        });

        it('by a token that was given, at the registered client of its issuer', async () => {
            const subject_token = 'an.id.token';
            await idp.mode({ assertions: { [subject_token]: { subject: 'alice', uses: 99 } } });
            const made = await link('id_jag', { subject_token, identity_provider: idp.issuer });
            await callWell(await agentOf(made), 1);
            const asked = (await idp.tokenRequests(exchangeType)).findLast((one) => one.resource === made.resource);
            assert.deepEqual([asked.status, asked.client], [200, 'exchanger']);
        });

        it('that the identity provider refuses says so, and nothing is stored', async () => {
            const made = await link('id_jag', { subject_token: 'nobody knows it', identity_provider: idp.issuer }, { options: { status: 400 } });
            assert.match(JSON.stringify(made.link), /invalid_grant/);
            const { data } = await claviger.admin('GET', `/v1/vaults/${made.vault.id}/credentials`);
            assert.deepEqual(data, []);
        });
    });

    describe('for an assertion that somebody else made', () => {
        it('works until that ends, and is connected again in place with another (10)', async () => {
            await as.mode({ assertions: { 'made-1': { subject: 'robot', uses: 2 } } });
            const made = await link('jwt_bearer', { subject_token: 'made-1' });
            const agent = await agentOf(made);
            await callWell(agent, 1);
            await as.expire(await as.newest('access_token', made.resource));
            await callWell(agent, 2);
            await as.expire(await as.newest('access_token', made.resource));
            await claviger.admin('POST', `${agent.credentialPath}/mcp_oauth_validate`, {}); // renews whatever its age
            assert.equal((await call(agent, 3)).message.error.data.code, 'grant.needs_reauth');
            await as.mode({ assertions: { 'made-2': { subject: 'robot', uses: 1 } } });
            const again = await link('jwt_bearer', { subject_token: 'made-2' }, { vault: made.vault, credential_id: made.link.credential_id });
            assert.equal(again.link.credential_id, made.link.credential_id);
            await callWell(agent, 4);
        });

        it('is set up from the command line, with the assertion in a file', async () => {
            await as.mode({ assertions: { 'made-3': { subject: 'robot', uses: 1 } } });
            const vault = await claviger.admin('POST', '/v1/vaults', { display_name: `exchange ${++numbers}` });
            const resource = `${as.resource}/exchange-${++numbers}`;
            const folder = temporaryFolder();
            const file = (name, text) => {
                writeFileSync(path.join(folder, name), text, { mode: 0o600 });
                return path.join(folder, name);
            };
            const env = { ...process.env, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: file('admin.key', claviger.admin_api_key) };
            const words = ['credential', 'connect', '--vault', vault.id, '--server-url', resource, '--issuer', as.issuer, '--grant', 'jwt_bearer', '--scope', 'mcp:read'];
            const secrets = ['--client-id', 'exchanger', '--client-secret-file', file('client', as.clients.exchanger.client_secret), '--subject-token-file', file('assertion', 'made-3')];
            const done = await run(binary, [...words, ...secrets, '--json'], { env });
            assert.equal(done.code, 0, done.stderr);
            await callWell(await grant(claviger, { url: resource, vault }), 1);
        });
    });

    it('is refused where it makes no sense', async () => {
        const subject = await person(as);
        const made = await link('token_exchange', { subject_credential_id: subject.credential.id }, { vault: subject.vault });
        for (const [type, exchange, says] of [
            ['token_exchange', undefined, /exchange: is required/],
            ['token_exchange', {}, /subject_token: or subject_credential_id/],
            ['token_exchange', { subject_token: 'a', subject_credential_id: subject.credential.id }, /not both/],
            ['token_exchange', { subject_credential_id: made.link.credential_id }, /has an exchanged token itself/],
            ['token_exchange', { subject_credential_id: subject.credential.id, subject_token_type: 'id_token' }, /access_token or refresh_token/],
            ['id_jag', { subject_token: 'a' }, /identity_provider/],
            ['id_jag', { subject_credential_id: subject.credential.id, identity_provider: idp.issuer }, /identity_provider/],
            ['jwt_bearer', { subject_credential_id: subject.credential.id }, /cannot be an assertion/],
            ['client_credentials', { subject_token: 'a' }, /belongs to the grants/],
            ['token_exchange', { subject_token: 'a', actor_token: 'b' }, /actor_token/],
            ['token_exchange', { subject_token: 'a', actor_token_type: 'access_token' }, /needs actor_credential_id/],
            ['token_exchange', { subject_token: 'a', actor_credential_id: made.link.credential_id }, /has an exchanged token itself/],
            ['token_exchange', { subject_credential_id: subject.credential.id, actor_credential_id: subject.credential.id }, /another credential than/],
            ['id_jag', { subject_credential_id: subject.credential.id, actor_credential_id: made.link.credential_id }, /belongs to the grant token_exchange/],
        ]) {
            const refused = await link(type, exchange, { vault: subject.vault, options: { status: 400 } });
            assert.match(JSON.stringify(refused.link), says);
        }
        const elsewhere = await link('token_exchange', { subject_credential_id: subject.credential.id }, { options: { status: 400 } });
        assert.match(JSON.stringify(elsewhere.link), /is in another vault/);
    });

    it('is in no log', () => {
        const log = claviger.readLog();
        for (const text of ['canary', 'made-1', 'an.id.token']) assert.ok(!log.includes(text), `the log holds ${text}`);
    });
});
