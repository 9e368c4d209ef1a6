// The authorization server of tests/support/node, people who sign in to it, and credentials that hold its tokens.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { browse } from '../support/node/browser.mjs';
import { fingerprint } from '../support/node/fault_front.mjs';
import { eventually, grant, node22, startNode } from './harness.mjs';
import { modernHeaders, modernRequest, post } from './wire.mjs';

export { browse, fingerprint };

/// One authorization server with an MCP server that trusts it, and everything a test may do to them.
export async function startAuthorizationServer() {
    const child = await startNode('authorization_server.mjs', [], { node: node22() });
    const { issuer, resource, control_port, callback, clients, assertion_key } = child.ready;
    async function control(method, target, body) {
        const response = await fetch(`http://127.0.0.1:${control_port}${target}`, {
            method,
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        if (!response.ok) throw new Error(`the authorization server knows no ${method} ${target}`);
        return response.json();
    }
    const log = () => control('GET', '/log');
    const issued = () => control('GET', '/issued');
    return {
        child,
        issuer,
        resource,
        callback,
        clients,
        assertion_key,
        tokenEndpoint: `${issuer}/token`,
        mode: (change) => control('POST', '/mode', change),
        resourceMode: (change) => control('POST', '/resource', change),
        fault: (fault) => control('POST', '/faults', fault),
        clearFaults: () => control('DELETE', '/faults'),
        release: () => control('POST', '/release'),
        drop: () => control('POST', '/drop'),
        expire: (token) => control('POST', '/expire', token === undefined ? {} : { token }),
        alive: async (token) => (await control('POST', '/alive', { token })).alive,
        revoke: (refresh_token) => control('POST', '/revoke', { refresh_token }),
        device: (decision) => control('POST', '/device', decision),
        issued,
        /// The last token of that kind for that resource; others are renewed all the time.
        async newest(kind, resource) {
            const found = (await issued()).findLast((one) => one.kind === kind && one.resource === resource);
            assert.ok(found, `no ${kind} was issued for ${resource}`);
            return found.value;
        },
        log,
        seen: () => control('GET', '/seen'),
        tokenRequests: async (grantType) =>
            (await log()).filter((one) => one.path === '/token' && (!grantType || one.grant === grantType)),
        /// Waits for a token request that is held by a fault.
        held: () => eventually('a token request is held', async () => (await log()).find((one) => one.held), 15_000),
    };
}

export const basicAuth = (id, secret) =>
    `Basic ${Buffer.from([id, secret].map((one) => encodeURIComponent(one)).join(':')).toString('base64')}`;

/// A token set, by authorization code and PKCE, without Claviger: {access_token, refresh_token, …}.
export async function login(as, { client = 'public', resource = as.resource, scope = 'mcp:read', user } = {}) {
    const verifier = randomBytes(32).toString('base64url');
    const start = new URL(`${as.issuer}/auth`);
    const query = {
        client_id: client,
        response_type: 'code',
        redirect_uri: as.callback,
        scope: `openid ${scope}`,
        resource,
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        state: 's',
    };
    for (const [name, value] of Object.entries(query)) start.searchParams.set(name, value);
    const { url, text } = await browse(start, { until: as.callback, user });
    const code = url.searchParams.get('code');
    assert.ok(code, `no code came back: ${url} ${text}`);

    const secret = as.clients[client]?.client_secret;
    const byPost = client === 'post';
    const response = await fetch(as.tokenEndpoint, {
        method: 'POST',
        headers: secret && !byPost ? { authorization: basicAuth(client, secret) } : {},
        body: new URLSearchParams({
            grant_type: 'authorization_code',
            code,
            redirect_uri: as.callback,
            code_verifier: verifier,
            resource,
            ...(secret && !byPost ? {} : { client_id: client }),
            ...(byPost ? { client_secret: secret } : {}),
        }),
    });
    const tokens = await response.json();
    assert.equal(response.status, 200, JSON.stringify(tokens));
    return tokens;
}

/// When a token ends that shall be over as soon as it is stored: what has ended is not taken.
export const soon = () => Date.now() + 600;

/// When a token set of now ends; for `expires_at`.
export const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();

/// The `auth` of a credential with these tokens. `expires_at` may be 'unknown' or a time; default: as the server said.
export function oauthAuth(as, tokens, { client = 'public', resource = as.resource, expires_at, refresh = {}, ...more } = {}) {
    const secret = as.clients[client]?.client_secret;
    const expiry = expires_at === 'unknown' ? null : (expires_at ?? inSeconds(tokens.expires_in));
    return {
        type: 'mcp_oauth',
        mcp_server_url: resource,
        access_token: tokens.access_token,
        expires_at: expiry,
        refresh: refresh && {
            token_endpoint: as.tokenEndpoint,
            client_id: client,
            refresh_token: tokens.refresh_token,
            resource,
            token_endpoint_auth: secret
                ? { type: `client_secret_${client === 'post' ? 'post' : 'basic'}`, client_secret: secret }
                : { type: 'none' },
            ...refresh,
        },
        ...more,
    };
}

let resources = 0;

/// Signs in, stores the tokens, and gives an agent with a session. Every credential has a resource of its own, so that
/// its requests can be told from all others. `dead`: the access token is expired, and everybody knows it; it may be
/// refreshed from now on, and `fault` is what that meets. `refused`: the server does not take it, and nobody knows yet.
export async function connected(
    claviger,
    as,
    { client, scope, dead = false, refused = false, fault, expires_at = refused ? 'unknown' : undefined, refresh, ...more } = {},
) {
    const resource = `${as.resource}/${++resources}`;
    const tokens = await login(as, { client, resource, scope });
    if (dead || refused) await as.expire(tokens.access_token);
    if (fault) await as.fault({ resource, grant: 'refresh_token', ...fault });
    let endsAt = 0;
    const authUntil = (expires_at) => oauthAuth(as, tokens, { client, resource, expires_at, refresh });
    const auth = dead ? () => authUntil(new Date((endsAt = soon())).toISOString()) : authUntil(expires_at);
    const granted = await grant(claviger, { url: resource, auth, ...more });
    if (dead) await sleep(Math.max(0, endsAt - Date.now()) + 20);
    const { pathname } = new URL(resource);
    return {
        ...granted,
        tokens,
        resource,
        credentialPath: `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}`,
        /// What the authorization server and the MCP server were asked because of this credential.
        refreshes: async () => (await as.tokenRequests('refresh_token')).filter((one) => one.resource === resource),
        seen: async () => (await as.seen()).filter((one) => one.path === pathname && one.rpc === 'tools/call'),
        /// A fault that only this credential meets.
        fault: (fault) => as.fault({ resource, ...fault }),
    };
}

/// One call of the tool in the modern era. `id` is found again in as.seen().
export const call = (granted, id = 1, tool = 'read_note', options = {}) =>
    post(
        granted.endpoint,
        granted.sessionToken,
        modernRequest(id, 'tools/call', { name: tool, arguments: {} }),
        modernHeaders('tools/call', tool),
        'POST',
        options,
    );

/// The answer of a tool, or a failed test that says what came instead.
export async function callWell(granted, id, tool, options) {
    const answer = await call(granted, id, tool, options);
    assert.ok(answer.message?.result, `the call failed (${answer.status}): ${answer.text}`);
    return answer;
}

/// Waits until what it holds lives long, after tokens with short lives: then nothing is under way any more.
export const settled = (claviger, granted) =>
    eventually('its token lives long', async () => {
        const { state, expires_at } = await grantOf(claviger, granted);
        return state === 'ready' && Date.parse(expires_at) > Date.now() + 60_000;
    });

/// The state of the grant behind a credential, as an operator sees it.
export const grantOf = (claviger, granted) => claviger.admin('GET', `${granted.credentialPath}/grant`);
