// Connecting accounts: a link, a person with a browser, a certified authorization server, and an agent that can call
// afterwards without having seen a token.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, eventually, grant, makeStore, run, serve, temporaryFolder } from './harness.mjs';
import { browse, call, callWell, fingerprint, grantOf, startAuthorizationServer, settled } from './oauth_world.mjs';

describe('A connect link', () => {
    let as;
    let store;
    let claviger;
    let numbers = 0;
    before(async () => {
        as = await startAuthorizationServer();
        const folder = path.join(temporaryFolder(), 'providers');
        mkdirSync(folder);
        // This server ends no more than it is asked to, but for what comes of one consent.
        const each = { format: 1, name: 'each-consent', title: 'A grant for each consent', refresh_token: { on_reconnect: 'revoke' } };
        const tenants = {
            format: 1,
            name: 'tenants',
            title: 'One issuer for many tenants',
            variables: { tenant: { description: 'Which.' } },
            endpoints_from: 'profile',
            issuer: `${as.issuer}/{tenant}`,
            templated_issuer: true,
            endpoints: { authorization: `${as.issuer}/auth`, token: as.tokenEndpoint },
            revocation: 'none',
        };
        // As Microsoft Entra wants it.
        const by_certificate = { format: 1, name: 'by-certificate', title: 'Keys by their certificates', client: { key_hint: 'x5t#S256' } };
        for (const profile of [each, tenants, by_certificate]) writeFileSync(path.join(folder, `${profile.name}.json`), JSON.stringify(profile));
        store = await makeStore({ config: { oauth: { providers_dir: folder } } });
        claviger = await serve(store);
    });
    after(() => claviger?.stop());

    /// A new link in a new vault, or in that of an earlier one, for a resource of its own.
    async function newLink({ vault, resource = `${as.resource}/connect-${++numbers}`, ...more } = {}) {
        vault ??= await claviger.admin('POST', '/v1/vaults', { display_name: `vault ${numbers}` });
        const links = `/v1/vaults/${vault.id}/connect_links`;
        const link = await claviger.admin('POST', links, { ...(more.credential_id ? {} : { server_url: resource }), ...more });
        const here = { vault, resource, link };
        return {
            ...here,
            look: () => claviger.admin('GET', `${links}/${link.id}`),
            tokenRequests: async (type) => (await as.tokenRequests(type)).filter((one) => one.resource === resource),
            authorization: async () => (await as.log()).findLast(({ path, query }) => path === '/auth' && query?.resource === resource)?.query,
            /// The person follows the link to the end; what the last page says.
            follow: (options = {}) => browse(`${link.url}/start`, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true, ...options }),
            /// An agent that may use what was connected.
            async agent() {
                const { credential_id } = await claviger.admin('GET', `${links}/${link.id}`);
                const granted = await grant(claviger, { url: resource, vault });
                return { ...granted, credential_id, credentialPath: `/v1/vaults/${vault.id}/credentials/${credential_id}` };
            },
        };
    }

    async function connect(options, person) {
        const made = await newLink(options);
        const { status, text } = await made.follow(person);
        assert.equal(status, 200, text);
        const { status: how, problem } = await made.look();
        assert.equal(how, 'connected', JSON.stringify(problem));
        return made;
    }

    const givenBack = (token) =>
        eventually(
            'the token is revoked at its server',
            async () => (await as.log()).some((one) => one.path === '/token/revocation' && one.token === fingerprint(token)),
            40_000,
        );
    /// What was connected last for that resource, as its server gave it.
    const newestSet = async ({ resource }) => ({ access: await as.newest('access_token', resource), refresh: await as.newest('refresh_token', resource) });
    /// By the books of the server, not only by what it was asked.
    async function isOver({ access, refresh }) {
        await givenBack(refresh);
        await eventually('the old set is good for nothing', async () => !(await as.alive(access)) && !(await as.alive(refresh)));
    }

    it('leads a person through the provider, and the agent can call, now and after the token has ended (1)', async () => {
        await as.mode({ access_ttl: 3 });
        const made = await newLink({ scopes: ['openid', 'mcp:read'] });
        assert.equal(made.link.status, 'waiting');
        const page = await fetch(made.link.url);
        assert.equal(page.status, 200);
        assert.ok((await page.text()).includes(made.resource));
        assert.equal((await made.look()).status, 'waiting', 'looking at a link has started it');
        const { status, text, headers } = await made.follow();
        await as.mode({ access_ttl: 3600 });
        assert.equal(status, 200, text);
        assert.doesNotMatch(`${text} ${[...headers]}`, /canary/);
        const asked = await made.authorization();
        assert.equal(asked.code_challenge_method, 'S256');
        assert.ok(asked.code_challenge.length >= 43 && asked.state.length >= 43, JSON.stringify(asked));
        assert.equal(asked.resource, made.resource);
        const [, claims] = (await as.newest('id_token', made.resource)).split('.').map((part) => Buffer.from(part, 'base64url').toString());
        assert.ok(asked.nonce.length >= 22 && JSON.parse(claims).nonce === asked.nonce, JSON.stringify(asked));
        assert.equal(asked.redirect_uri, `${claviger.adminUrl}/oauth/callback`);
        assert.match(asked.client_id, /^dynamic-/);
        const [exchange, ...again] = await made.tokenRequests('authorization_code');
        assert.deepEqual([exchange.status, again.length], [200, 0]);
        assert.ok(exchange.form.includes('code_verifier'));

        const agent = await made.agent();
        await callWell(agent, 1);
        await sleep(3_100);
        await callWell(agent, 2);
        assert.ok((await made.tokenRequests('refresh_token')).length >= 1);
        const { refresh } = (await claviger.admin('GET', agent.credentialPath)).auth;
        assert.equal(refresh.token_endpoint, as.tokenEndpoint);
        assert.equal((await grantOf(claviger, agent)).state, 'ready');
    });

    it('connects again in place: the id stays, the tokens are new (2)', async () => {
        const first = await connect();
        const agent = await first.agent();
        await callWell(agent, 1);
        const second = await connect({ vault: first.vault, resource: first.resource, credential_id: agent.credential_id });
        assert.equal((await second.look()).credential_id, agent.credential_id);
        await callWell(agent, 2);
        const used = [];
        const path = new URL(first.resource).pathname;
        for (const one of await as.seen()) if (one.path === path && one.rpc === 'tools/call') used.push(one.token);
        assert.equal(new Set(used).size, 2);
        assert.equal((await grantOf(claviger, agent)).epoch, 2);
    });

    it('gives the old tokens back when they belonged to another client (2)', async () => {
        const first = await connect();
        const agent = await first.agent();
        const old = await newestSet(first);
        assert.deepEqual([await as.alive(old.access), await as.alive(old.refresh)], [true, true]);
        const client = { client_id: 'post', client_secret: as.clients.post.client_secret, token_endpoint_auth_method: 'client_secret_post' };
        await connect({ vault: first.vault, resource: first.resource, credential_id: agent.credential_id, issuer: as.issuer, client });
        await isOver(old);
        const { access, refresh } = await newestSet(first);
        assert.deepEqual([await as.alive(access), await as.alive(refresh)], [true, true]);
        await callWell(agent, 1);
    });

    it('gives the old tokens back where each consent is a grant of its own (2)', async () => {
        const provider = 'each-consent';
        const first = await connect({ provider });
        const agent = await first.agent();
        await callWell(agent, 1);
        const old = await newestSet(first);
        await as.mode({ access_ttl: 3 });
        await connect({ vault: first.vault, resource: first.resource, credential_id: agent.credential_id, provider });
        await as.mode({ access_ttl: 3600 });
        await isOver(old);
        await callWell(agent, 2);
        await sleep(3_100);
        await callWell(agent, 3); // the new consent has not gone with the old one
        assert.equal((await grantOf(claviger, agent)).epoch, 2);
    });

    it('leaves the old tokens to their end where revoking them may end the new consent', async () => {
        const first = await connect();
        const agent = await first.agent();
        const old = await newestSet(first);
        await connect({ vault: first.vault, resource: first.resource, credential_id: agent.credential_id });
        await callWell(agent, 1);
        await sleep(2_000);
        assert.ok(!(await as.log()).some((one) => one.path === '/token/revocation' && one.token === fingerprint(old.refresh)));
        assert.equal(await as.alive(old.refresh), true);
    });

    it('changes nothing until the person is done (2)', async () => {
        const first = await connect();
        const agent = await first.agent();
        const second = await newLink({ vault: first.vault, resource: first.resource, credential_id: agent.credential_id });
        await callWell(agent, 1);
        const { status } = await second.follow({ allow: false });
        assert.ok(status >= 200);
        const { status: how, problem } = await second.look();
        assert.ok(['failed', 'waiting'].includes(how));
        assert.match(JSON.stringify(problem), /denied|declined|refused|no/i);
        await callWell(agent, 2);
        assert.equal((await grantOf(claviger, agent)).state, 'ready');
    });

    describe('takes the client', () => {
        it('that it registers itself, once for all links to that server (12)', async () => {
            const [one, two] = [await connect(), await connect()];
            const [first, second] = [await one.authorization(), await two.authorization()];
            assert.match(first.client_id, /^dynamic-/);
            assert.equal(first.client_id, second.client_id);
        });

        it('that comes with the link', async () => {
            const made = await connect({ issuer: as.issuer, client: { client_id: 'post', client_secret: as.clients.post.client_secret, token_endpoint_auth_method: 'client_secret_post' } });
            assert.equal((await made.authorization()).client_id, 'post');
        });

        it('that was registered by hand for the issuer, before all others (12)', async () => {
            const client_secret = as.clients['basic:1'].client_secret;
            const stored = await claviger.admin('POST', '/v1/oauth_clients', { issuer: as.issuer, client_id: 'basic:1', client_secret, token_endpoint_auth_method: 'client_secret_basic' });
            assert.ok(!JSON.stringify(stored).includes('canary'));
            const made = await connect();
            assert.equal((await made.authorization()).client_id, 'basic:1');
            assert.equal((await made.tokenRequests('authorization_code'))[0].auth, 'basic');
            await claviger.admin('DELETE', `/v1/oauth_clients/${stored.id}`);
        });
    });

    it('signs for a client that has a key, anew each time (6)', async () => {
        const key = createPrivateKey({ key: as.assertion_key, format: 'jwk' });
        const private_key = key.export({ type: 'pkcs8', format: 'pem' });
        await as.mode({ access_ttl: 3 });
        const made = await connect({
            issuer: as.issuer,
            client: { client_id: 'assertion', private_key, key_id: as.assertion_key.kid, token_endpoint_auth_method: 'private_key_jwt' },
        });
        const agent = await made.agent();
        await callWell(agent, 1);
        await sleep(3_100);
        await callWell(agent, 2); // the server takes no assertion twice
        await as.mode({ access_ttl: 3600 });
        await settled(claviger, agent);
        const requests = await made.tokenRequests();
        assert.ok(requests.length >= 2 && requests.every(({ status, form }) => status === 200 && form.includes('client_assertion')));
    });

    it('names the key by its certificate where the provider looks for that (6)', async () => {
        const folder = temporaryFolder();
        const at = (name) => path.join(folder, name);
        const key = createPrivateKey({ key: as.assertion_key, format: 'jwk' });
        writeFileSync(at('client.key'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
        const made = spawnSync('openssl', ['req', '-x509', '-new', '-key', at('client.key'), '-subj', '/CN=client', '-days', '2', '-out', at('client.pem')]);
        assert.equal(made.status, 0, String(made.stderr));
        const certificate = readFileSync(at('client.pem'), 'utf8');
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'by certificate' });
        const resource = `${as.resource}/connect-${++numbers}`;
        writeFileSync(at('admin.key'), claviger.admin_api_key, { mode: 0o600 });
        const words = ['credential', 'connect', '--vault', vault.id, '--server-url', resource, '--provider', 'by-certificate', '--issuer', as.issuer, '--no-wait'];
        const client = ['--client-id', 'assertion', '--client-auth', 'private_key_jwt', '--private-key-file', at('client.key'), '--certificate-file', at('client.pem')];
        const env = { ...process.env, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: at('admin.key') };
        const done = await run(binary, [...words, ...client, '--json'], { env });
        assert.equal(done.code, 0, done.stderr);
        const { status, text } = await browse(`${JSON.parse(done.stdout).url}/start`, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true });
        assert.equal(status, 200, text);
        const [exchanged] = (await as.tokenRequests('authorization_code')).filter((one) => one.resource === resource);
        assert.equal(exchanged.status, 200);
        assert.deepEqual(exchanged.assertion_header, {
            alg: 'ES256',
            typ: 'JWT',
            'x5t#S256': createHash('sha256').update(new X509Certificate(certificate).raw).digest('base64url'),
        });
    });

    describe('is of no use', () => {
        it('with a state that nobody knows, and no token is asked for (16)', async () => {
            const before = (await as.tokenRequests('authorization_code')).length;
            for (const query of ['', 'state=x&code=y', `state=${'a'.repeat(43)}&code=y&iss=${encodeURIComponent(as.issuer)}`, 'error=access_denied&error_description=canary-words&state=x']) {
                const answer = await fetch(`${claviger.adminUrl}/oauth/callback?${query}`);
                assert.ok(answer.status >= 400 && answer.status < 500, `${query}: ${answer.status}`);
                assert.ok(!(await answer.text()).includes('canary-words'), 'the words of nobody are shown');
            }
            assert.equal((await as.tokenRequests('authorization_code')).length, before);
        });

        it('in another browser than the one that began (21)', async () => {
            const made = await newLink();
            const { url } = await browse(`${made.link.url}/start`, { until: `${claviger.adminUrl}/oauth/callback` });
            assert.ok(url.searchParams.get('code'));
            const answer = await fetch(url);
            assert.ok(answer.status >= 400, `status ${answer.status}`);
            assert.equal((await made.tokenRequests()).length, 0);
            assert.notEqual((await made.look()).status, 'connected');
        });

        it('a second time, with the same answer of the provider (16)', async () => {
            const made = await newLink();
            const jar = new Map();
            const until = `${claviger.adminUrl}/oauth/callback`;
            const { url } = await browse(`${made.link.url}/start`, { until, jar });
            const first = await browse(url, { until, fetchLast: true, jar });
            assert.equal(first.status, 200, first.text);
            const again = await browse(url, { until, fetchLast: true, jar });
            assert.ok(again.status >= 400);
            assert.equal((await made.tokenRequests('authorization_code')).length, 1, 'a code was sent twice');
            await callWell(await made.agent(), 1);
        });

        it('when it comes from another issuer than the one that was asked (17)', async () => {
            for (const change of [(query) => query.set('iss', 'http://127.0.0.1:1'), (query) => query.delete('iss'), (query) => query.set('iss', `${as.issuer}/`)]) {
                const made = await newLink();
                const jar = new Map();
                const until = `${claviger.adminUrl}/oauth/callback`;
                const { url } = await browse(`${made.link.url}/start`, { until, jar });
                change(url.searchParams);
                const { status } = await browse(url, { until, fetchLast: true, jar });
                assert.ok(status >= 400, String(url));
                assert.equal((await made.tokenRequests()).length, 0, String(url));
            }
        });

        it('when another host, or another kind of issuer, answers for one of many tenants (17)', async () => {
            const provider = { provider: 'tenants', variables: { tenant: 'common' }, client: { client_id: 'public' }, scopes: ['mcp:read'] };
            for (const [answers, good] of [
                [`${as.issuer}/common`, true],
                [`${as.issuer}/9188040d-6c67-4c5b-b112-36a304b66dad`, true],
                [as.issuer, false],
                [`${as.issuer}/a/b`, false],
                ['http://127.0.0.1:1/common', false],
            ]) {
                const made = await newLink(provider);
                const jar = new Map();
                const until = `${claviger.adminUrl}/oauth/callback`;
                const { url } = await browse(`${made.link.url}/start`, { until, jar });
                url.searchParams.set('iss', answers);
                const { status, text } = await browse(url, { until, fetchLast: true, jar });
                assert.equal(status < 400, good, `${answers}: ${status} ${text}`);
                assert.equal((await made.tokenRequests()).length > 0, good, answers);
            }
        });

        it('after it was taken away', async () => {
            const made = await newLink();
            await claviger.admin('DELETE', `/v1/vaults/${made.vault.id}/connect_links/${made.link.id}`);
            for (const at of ['', '/start']) assert.ok((await fetch(made.link.url + at, { redirect: 'manual' })).status >= 400);
        });
    });

    describe('explains', () => {
        /// What the person and the operator are told.
        async function problem(options, faults) {
            const made = await newLink(options);
            await faults?.(made);
            const { status, text } = await made.follow();
            assert.ok(status >= 400, `it went through: ${status} ${text}`);
            const { problem: said, status: how } = await made.look();
            assert.notEqual(how, 'connected');
            assert.ok(said.message.length > 20 && said.hint.length > 20, JSON.stringify(said));
            assert.equal((await made.tokenRequests()).length, 0);
            return `${said.code} ${said.message} ${said.hint}`;
        }
        const resourceMetadata = async (metadata, work) => {
            await as.resourceMode({ metadata });
            try {
                return await work();
            } finally {
                await as.resourceMode({ metadata: {} });
            }
        };

        it('a server whose metadata names another resource (19)', async () => {
            const words = await resourceMetadata({ resource: 'http://127.0.0.1:1/other' }, () => problem());
            assert.match(words, /resource/);
        });

        it('metadata without end (19)', async () => {
            const begun = Date.now();
            await resourceMetadata({ answer: { body: '{' }, filler: 100 << 20 }, () => problem());
            assert.ok(Date.now() - begun < 20_000);
        });

        it('metadata that lead to another host (19)', async () => {
            for (const location of ['http://169.254.169.254/latest/meta-data/', 'http://localhost:1/x'])
                await resourceMetadata({ answer: { status: 302, headers: { location } } }, () => problem());
        });

        it('an authorization server without PKCE (20)', async () => {
            const words = await problem({}, () =>
                as.fault({ path: '/.well-known/oauth-authorization-server', kind: 'rewrite', remove: ['code_challenge_methods_supported'] }),
            );
            assert.match(words, /PKCE|S256/);
        });

        it('an authorization server that says it is another one (18)', async () => {
            await as.fault({ path: '/.well-known/oauth-authorization-server', kind: 'rewrite', set: { issuer: 'http://127.0.0.1:1' } });
            await as.fault({ path: '/.well-known/openid-configuration', kind: 'rewrite', set: { issuer: 'http://127.0.0.1:1' } });
            try {
                assert.match(await problem(), /issuer|itself|another/);
            } finally {
                await as.clearFaults();
            }
        });
    });

    it('sends no secret to an authorization server that only the MCP server names', async () => {
        const client = { client_id: 'post', client_secret: 'canary-of-another-issuer' };
        const before = (await as.log()).length;
        const made = await newLink({ issuer: 'https://as.example.com', client });
        assert.ok((await made.follow()).status >= 400);
        const { status, problem } = await made.look();
        assert.deepEqual([status, problem.code], ['failed', 'connect.other_issuer']);
        // Tokens of others are renewed and given back meanwhile.
        const asked = (await as.log()).slice(before).filter(({ resource = made.resource, token }) => resource === made.resource && !token);
        assert.ok(asked.every(({ path }) => path.startsWith('/.well-known/')), JSON.stringify(asked));
    });

    it('whose code gets no answer is not tried with the same code again', async () => {
        const made = await newLink();
        await as.fault({ kind: 'drop_after', grant: 'authorization_code' });
        const { status } = await made.follow();
        assert.ok(status >= 400);
        assert.equal((await made.tokenRequests('authorization_code')).length, 1);
        const { problem, status: how } = await made.look();
        assert.notEqual(how, 'connected');
        assert.ok(problem.message.length > 20);
    });

    it('asks for more when a call needed more, and for all of it together (14)', async () => {
        const made = await connect();
        const agent = await made.agent();
        await as.resourceMode({ needs: { write_note: 'mcp:write' } });
        try {
            const refused = await call(agent, 1, 'write_note');
            assert.ok(refused.message.error, refused.text);
            await callWell(agent, 2);
            const again = await connect({ vault: made.vault, resource: made.resource, credential_id: agent.credential_id });
            const { scope } = await again.authorization();
            assert.ok(scope.split(' ').includes('mcp:write') && scope.split(' ').includes('mcp:read'), scope);
            await callWell(agent, 3, 'write_note');
        } finally {
            await as.resourceMode({ needs: {} });
        }
    });

    it('gives the tokens back when the credential is deleted (13)', async () => {
        const made = await connect();
        const agent = await made.agent();
        const token = await as.newest('refresh_token', made.resource);
        await claviger.admin('DELETE', agent.credentialPath);
        await givenBack(token);
    });

    it('gives back the newest tokens when it is deleted during a refresh (40)', async () => {
        const resource = `${as.resource}/connect-${++numbers}`;
        await as.fault({ hold: 'after', resource, grant: 'refresh_token' });
        await as.mode({ access_ttl: 2 });
        const made = await connect({ resource });
        await as.mode({ access_ttl: 3600 });
        const agent = await made.agent();
        await sleep(2_000);
        const pending = call(agent, 'pending').catch(() => {});
        await as.held();
        const token = await as.newest('refresh_token', made.resource);
        await claviger.admin('DELETE', agent.credentialPath);
        await as.release();
        await pending;
        await givenBack(token);
    });

    it('needs nobody with client credentials, which are asked for again when they end (5)', async () => {
        await as.mode({ access_ttl: 3 });
        const client = { client_id: 'service', client_secret: as.clients.service.client_secret };
        const made = await newLink({ grant: 'client_credentials', issuer: as.issuer, client, scopes: ['mcp:read'] });
        assert.equal(made.link.status, 'connected', JSON.stringify(made.link));
        const agent = await made.agent();
        await callWell(agent, 1);
        await sleep(3_100);
        await callWell(agent, 2);
        await as.mode({ access_ttl: 3600 });
        await settled(claviger, agent);
        const requests = await made.tokenRequests('client_credentials');
        assert.ok(requests.length >= 2 && requests.every(({ status }) => status === 200));
    });

    it('can be finished on another device, also across a restart (9)', async () => {
        const made = await newLink({ grant: 'device_code', client: { client_id: 'device' }, scopes: ['openid', 'mcp:read'] });
        assert.ok(made.link.user_code && made.link.verification_uri, JSON.stringify(made.link));
        await eventually('it asks', async () => (await as.tokenRequests('urn:ietf:params:oauth:grant-type:device_code')).length > 0, 15_000);
        await claviger.kill();
        claviger = await serve(store);
        assert.equal((await as.device({ user_code: made.link.user_code })).found, true);
        await eventually('it is connected', async () => (await made.look()).status === 'connected', 20_000);
        await callWell(await made.agent(), 1);
    });
});
