// Providers as they are: emulated services, whose token endpoints answer in their own shapes, connected and refreshed
// with the built-in profiles, only their addresses changed.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, freePort, grant, node22, run, startClaviger, startNode, startUpstream, temporaryFolder } from './harness.mjs';
import { browse, call, callWell, grantOf, soon } from './oauth_world.mjs';

describe('An emulated provider', () => {
    const tokens = []; // [path, Authorization]
    const profiles = {};
    let emulators;
    let server;
    let claviger;
    let origin;

    /// The built-in profile with the addresses of the emulator, for the MCP server of this test under /NAME.
    async function profileOf(folder, name, service, endpoints) {
        const shown = await run(binary, ['provider', 'show', name, '--json']);
        const profile = JSON.parse(shown.stdout);
        const base = emulators.ready.services[service];
        const here = Object.entries(endpoints).map(([which, at]) => [which, at && base + at]);
        delete profile.evidence; // of facts about the real one
        Object.assign(profile, {
            name: `emulated-${name}`,
            issuer: base + profile.issuer.replace(/^https:\/\/[^/]*/, '').replace('{tenant}', 'common'),
            endpoints: Object.fromEntries(here.filter(([, at]) => at)),
            server_urls: [`${origin}/${name}`],
            grants: profile.grants.filter((one) => one !== 'device_code'), // the emulators have none
            revocation: endpoints.revocation ? profile.revocation : 'none',
            variables: profile.variables?.installation_id ? { installation_id: profile.variables.installation_id } : {},
        });
        profiles[name] = profile;
        writeFileSync(path.join(folder, `${profile.name}.json`), JSON.stringify(profile));
    }

    before(async () => {
        const port = await freePort();
        emulators = await startNode('provider_emulators.mjs', [`http://127.0.0.1:${port}/oauth/callback`], { node: node22() });
        server = await startUpstream(({ path: where, token }) => tokens.push([where, token]));
        origin = server.origin;
        const folder = path.join(temporaryFolder(), 'providers');
        mkdirSync(folder);
        await profileOf(folder, 'google', 'google', { authorization: '/o/oauth2/v2/auth', token: '/oauth2/token', revocation: '/oauth2/revoke' });
        await profileOf(folder, 'microsoft-entra', 'microsoft', { authorization: '/oauth2/v2.0/authorize', token: '/oauth2/v2.0/token' });
        await profileOf(folder, 'linear', 'linear', { authorization: '/oauth/authorize', token: '/oauth/token', revocation: '/oauth/revoke' });
        await profileOf(folder, 'slack', 'slack', { authorization: '/oauth/v2/authorize', token: '/api/oauth.v2.access', revocation: '/api/auth.revoke' });
        await profileOf(folder, 'github', 'github', { authorization: '/login/oauth/authorize', token: '/login/oauth/access_token' });
        await profileOf(folder, 'github-app-installation', 'github', { token: '/app/installations/{installation_id}/access_tokens' });
        for (const { name } of Object.values(profiles)) {
            const tested = await run(binary, ['provider', 'test', path.join(folder, `${name}.json`)]);
            assert.equal(tested.code, 0, tested.stdout + tested.stderr);
        }
        claviger = await startClaviger({ config: { admin: { port }, oauth: { providers_dir: folder } } });
    });
    after(async () => {
        await claviger?.stop();
        server?.stop();
    });

    const sent = (name) => tokens.filter(([at]) => at === `/${name}`).map(([, token]) => token);

    /// A link for this provider, which a person follows to the end.
    async function connect(name, more = {}) {
        const vault = await claviger.admin('POST', '/v1/vaults', { display_name: name });
        const links = `/v1/vaults/${vault.id}/connect_links`;
        const url = `${origin}/${name}`;
        const link = await claviger.admin('POST', links, { provider: `emulated-${name}`, server_url: url, client: emulators.ready.client, ...more });
        if (link.url) await browse(`${link.url}/start`, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true });
        const after = await claviger.admin('GET', `${links}/${link.id}`);
        assert.equal(after.status, 'connected', JSON.stringify(after));
        return { ...(await grant(claviger, { url, vault })), credentialPath: `/v1/vaults/${vault.id}/credentials/${after.credential_id}` };
    }

    for (const [name, scopes, prefix] of [
        ['google', ['openid', 'email'], 'google_'],
        ['microsoft-entra', ['openid', 'User.Read'], 'microsoft_'],
        ['linear', ['read'], ''],
        ['slack', ['chat:write'], 'xoxb-'],
        ['github', ['repo'], 'gho_'],
    ])
        it(`like ${name} is connected, and its token is used (29)`, async () => {
            const agent = await connect(name, { scopes });
            await callWell(agent, 1);
            assert.ok(sent(name).at(-1).startsWith(`Bearer ${prefix}`), sent(name).at(-1));
            assert.equal((await grantOf(claviger, agent)).state, 'ready');
        });

    it('like GitHub mints tokens for an installation of an app (11)', async () => {
        const { app_id, installation_id, private_key } = emulators.ready.github_app;
        const agent = await connect('github-app-installation', {
            grant: 'github_installation',
            client: { client_id: String(app_id), private_key },
            variables: { installation_id: String(installation_id) },
        });
        await callWell(agent, 1);
        assert.match(sent('github-app-installation').at(-1), /^Bearer ghs_/);
        const { refresh } = await claviger.admin('POST', `${agent.credentialPath}/mcp_oauth_validate`, {});
        assert.equal(refresh, null);
    });

    describe('refreshes', () => {
        /// A credential with these tokens, whose access token has ended.
        async function handedOver(name, refresh_token, client_secret = emulators.ready.client.client_secret) {
            const url = `${origin}/${name}`;
            let endsAt;
            const { token } = profiles[name].endpoints;
            const auth = () => ({
                type: 'mcp_oauth',
                mcp_server_url: url,
                access_token: 'ended',
                expires_at: new Date((endsAt = soon())).toISOString(),
                refresh: {
                    token_endpoint: token,
                    client_id: emulators.ready.client.client_id,
                    refresh_token,
                    token_endpoint_auth: { type: 'client_secret_post', client_secret },
                },
            });
            const granted = await grant(claviger, { url, auth });
            await sleep(Math.max(0, endsAt - Date.now()) + 20);
            return { ...granted, credentialPath: `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}` };
        }

        /// A token set that this test signs in for by itself.
        async function signIn(name, scope) {
            const { authorization, token } = profiles[name].endpoints;
            const redirect_uri = `${claviger.adminUrl}/oauth/callback`;
            const query = { ...emulators.ready.client, redirect_uri, response_type: 'code', scope, state: 's', access_type: 'offline' };
            const { url } = await browse(`${authorization}?${new URLSearchParams(query)}`, { until: redirect_uri });
            const body = new URLSearchParams({ ...emulators.ready.client, grant_type: 'authorization_code', code: url.searchParams.get('code'), redirect_uri });
            return (await fetch(token, { method: 'POST', body })).json();
        }

        for (const [name, scope] of [
            ['google', 'openid email'],
            ['microsoft-entra', 'openid offline_access User.Read'],
            ['linear', 'read'],
        ])
            it(`as ${name} answers it (4)`, async () => {
                const { refresh_token } = await signIn(name, scope);
                assert.ok(refresh_token);
                const agent = await handedOver(name, refresh_token);
                await callWell(agent, 1);
                assert.notEqual(sent(name).at(-1), 'Bearer ended');
                assert.equal((await grantOf(claviger, agent)).state, 'ready');
                // Google gives no new refresh token, the others rotate: whichever is stored now works.
                const endsAt = soon();
                const { auth } = await claviger.admin('POST', agent.credentialPath, {
                    auth: { type: 'mcp_oauth', expires_at: new Date(endsAt).toISOString() },
                });
                assert.ok(auth.expires_at);
                await sleep(Math.max(0, endsAt - Date.now()) + 20);
                await callWell(agent, 2);
                assert.equal((await grantOf(claviger, agent)).state, 'ready');
            });

        for (const [name, secret, state] of [
            ['google', undefined, 'needs_reauth'],
            ['microsoft-entra', undefined, 'needs_reauth'],
            ['linear', undefined, 'needs_reauth'],
            ['github', undefined, 'needs_reauth'],
            ['slack', undefined, 'needs_reauth'],
            ['google', 'wrong', 'needs_config'],
            ['microsoft-entra', 'wrong', 'needs_config'],
            ['linear', 'wrong', 'needs_config'],
            ['github', 'wrong', 'needs_config'],
            ['slack', 'wrong', 'needs_config'],
        ])
            it(`that ${name} refuses${secret ? ' because of the client' : ''} end in ${state}, whatever the status (29, 30)`, async () => {
                const agent = await handedOver(name, 'no-such-refresh-token', secret);
                const { message, text } = await call(agent, 1);
                assert.ok(message?.error, text);
                assert.equal((await grantOf(claviger, agent)).state, state);
            });
    });
});
