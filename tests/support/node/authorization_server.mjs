// A certified OpenID provider behind a front that breaks things on demand, and an MCP server that trusts its tokens.
//
//   node authorization_server.mjs        (Node 22 or later)
//
// Prints {"issuer":URL,"resource":URL,"control_port":N,"clients":{…}} when it listens (127.0.0.1 only). The control port:
//   POST /mode          {rotate, grace_ms, access_ttl, issue_refresh, old_access_dies, disguise, …}: see `mode`
//   POST /resource      the same for the MCP server: see resource_server.mjs
//   POST /faults        adds one, DELETE clears them: see fault_front.mjs
//   POST /release, /drop  lets held requests go on, or drops their connections
//   GET  /log, /seen    what reached the authorization server, and the MCP server
//   GET  /issued        every token and code that was ever given out
//   POST /expire        {token}, or {} for all: live access tokens die before their time
//   POST /alive         {token}: whether an access or refresh token is good by the provider's books
//   POST /revoke        {refresh_token}: the whole grant is gone
//   POST /device        {user_code, allow}: what the user says on the other device
// Tokens may be exchanged as well: see exchange_grants.mjs.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { opaquePart, registerExchanges } from './exchange_grants.mjs';
import { faultFront, plainToken, readBody } from './fault_front.mjs';
import { packages } from './packages.mjs';
import { resourceServer } from './resource_server.mjs';

const { Provider, errors } = await import(packages.resolve('oidc-provider'));

const scopes = ['mcp:read', 'mcp:write', 'files:read', 'files:write'];
// Of native clients: any port. The second is Claviger's own.
const callback = 'http://127.0.0.1/callback';
const callbacks = [callback, 'http://127.0.0.1/oauth/callback'];

const mode = {
    token_path: '/token',
    disguise: true,
    rotate: true,
    grace_ms: 0, // how long a used refresh token gets the same answer again; 0: its second use ends the grant
    access_ttl: 3600, // seconds
    issue_refresh: true,
    old_access_dies: false, // when the refresh token is used
    assertions: {}, // assertion → {subject, uses}: what the jwt-bearer grant takes, and how often
};
const resourceMode = {
    refuse: 0,
    answers: { count: 0 },
    needs: {},
    resource: 'exact',
    challenge: true,
    metadata: {},
    scopes_supported: ['mcp:read'],
};

function newKey(alg) {
    const { privateKey } = alg.startsWith('ES')
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomBytes(4).toString('hex') };
}
const publicPart = ({ kty, crv, x, y, alg, use, kid }) => ({ kty, crv, x, y, alg, use, kid });

const assertionKey = newKey('ES256');
const oddSecret = () => `canary-secret_${randomBytes(9).toString('hex')}:/+%=& ~`;
const codeGrants = {
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    response_types: ['code'],
};
const native = { application_type: 'native', redirect_uris: callbacks };
const ownGrants = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const exchangeGrants = [tokenExchange, jwtBearer];
const clients = [
    { client_id: 'public', ...native, ...codeGrants, token_endpoint_auth_method: 'none' },
    { client_id: 'basic:1', client_secret: oddSecret(), ...native, ...codeGrants },
    {
        client_id: 'post',
        client_secret: oddSecret(),
        ...native,
        ...codeGrants,
        token_endpoint_auth_method: 'client_secret_post',
    },
    {
        client_id: 'assertion',
        ...native,
        ...codeGrants,
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [publicPart(assertionKey)] },
    },
    { client_id: 'service', client_secret: oddSecret(), ...ownGrants },
    { client_id: 'exchanger', client_secret: oddSecret(), ...ownGrants, grant_types: exchangeGrants },
    {
        client_id: 'device',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        redirect_uris: [],
        response_types: [],
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    },
];

const listening = (server, port = 0) =>
    new Promise((resolve, reject) => {
        server.once('error', reject);
        server.keepAliveTimeout = 120_000; // a client that is held up must not meet a connection that was just given up
        server.listen(port, '127.0.0.1', () => resolve(server.address().port));
    });

const failing = (name, serve) => (request, response) =>
    serve(request, response).catch((error) => {
        if (request.destroyed || response.destroyed) return; // the other side has gone
        console.error(`${name}:`, error);
        if (!response.headersSent) response.writeHead(500);
        response.end();
    });

let innerPort;
const front = faultFront(() => innerPort, mode);
const issuer = `http://127.0.0.1:${await listening(createServer(failing('front', front.serve)))}`;

const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [newKey('RS256'), newKey('ES256')] },
    cookies: { keys: ['a key of a test'] },
    scopes: ['openid', 'offline_access', ...scopes],
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, name: id }) }),
    pkce: { required: () => true },
    rotateRefreshToken: () => mode.rotate,
    issueRefreshToken: (_context, client) => mode.issue_refresh && client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    ttl: {
        AccessToken: () => mode.access_ttl,
        ClientCredentials: () => mode.access_ttl,
        AuthorizationCode: 60,
        Grant: 86_400,
        IdToken: 3600,
        Interaction: 600,
        RefreshToken: 86_400,
        Session: 3600,
        DeviceCode: 600,
    },
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        introspection: { enabled: true, allowedPolicy: () => true },
        revocation: { enabled: true },
        deviceFlow: { enabled: true },
        registration: { enabled: true, idFactory: () => `dynamic-${randomBytes(6).toString('hex')}` },
        registrationManagement: { enabled: true },
        pushedAuthorizationRequests: { enabled: true },
        dPoP: { enabled: true },
        resourceIndicators: {
            enabled: true,
            defaultResource: (_context, _client, oneOf) => oneOf,
            useGrantedResource: () => true,
            getResourceServerInfo: (_context, resource) => {
                if (!resource.startsWith('http://127.0.0.1:')) throw new errors.InvalidTarget('unknown resource');
                return {
                    scope: scopes.join(' '),
                    audience: resource,
                    accessTokenTTL: mode.access_ttl,
                    accessTokenFormat: 'opaque',
                };
            },
        },
    },
});
provider.proxy = true;
provider.on('server_error', (_context, error) => console.error('provider:', error));
registerExchanges(provider, { errors, scopes, assertions: () => mode.assertions, accessTtl: () => mode.access_ttl });

/// Access tokens that are alive by the provider's books, by grant.
const liveTokens = new Map();
provider.on('access_token.saved', (token) => {
    const older = liveTokens.get(token.grantId) ?? new Set();
    if (mode.old_access_dies) for (const one of older) expire(one);
    liveTokens.set(token.grantId, older.add(token.jti));
});
const accessToken = async (plain) =>
    (await provider.AccessToken.find(plain)) ?? (await provider.ClientCredentials.find(plain));
const expire = async (token) => (await accessToken(token))?.destroy();

async function find(token) {
    const found = await accessToken(opaquePart(token));
    if (!found?.isValid) return undefined;
    return { scopes: [...found.scopes], resource: [found.aud].flat()[0] };
}

const page = (response, title, form) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(`<!doctype html><title>${title}</title><form method="post">${form}</form>`);
};

/// The pages a person would see: one asks who they are, the other whether they agree.
async function interact(request, response) {
    const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
    if (request.method === 'GET')
        return prompt.name === 'login'
            ? page(response, 'Sign in', '<input name="user"><button>Sign in</button>')
            : page(response, 'Consent', '<button name="allow" value="yes">Allow</button><button name="allow" value="no">Deny</button>');

    const said = new URLSearchParams((await readBody(request)).toString());
    let result;
    if (said.get('allow') === 'no') {
        result = { error: 'access_denied', error_description: 'The user said no.' };
    } else if (prompt.name === 'login') {
        result = { login: { accountId: said.get('user') } };
    } else {
        const grant = grantId
            ? await provider.Grant.find(grantId)
            : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
        const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
        if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
        if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
        for (const [resource, missing] of Object.entries(missingResourceScopes ?? {}))
            grant.addResourceScope(resource, missing.join(' '));
        result = { consent: { grantId: await grant.save() } };
    }
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function decideDevice({ user_code, allow = true, user = 'alice' }) {
    const code = await provider.DeviceCode.findByUserCode(user_code.replaceAll(/[^A-Z0-9]/g, ''));
    if (!code) return { found: false };
    if (allow) {
        const grant = new provider.Grant({ accountId: user, clientId: code.clientId });
        grant.addOIDCScope(code.params.scope ?? '');
        const [resource] = [code.params.resource].flat();
        if (resource) grant.addResourceScope(resource, scopes.join(' '));
        const authTime = Math.floor(Date.now() / 1000);
        Object.assign(code, { accountId: user, grantId: await grant.save(), scope: code.params.scope, authTime, resource });
    } else {
        Object.assign(code, { error: 'access_denied', errorDescription: 'The user said no.' });
    }
    await code.save();
    return { found: true };
}

async function alive({ token }) {
    const found = (await accessToken(opaquePart(token))) ?? (await provider.RefreshToken.find(plainToken(token)));
    return { alive: Boolean(found?.isValid) };
}

async function revoke({ refresh_token }) {
    const found = await provider.RefreshToken.find(plainToken(refresh_token));
    if (!found) return { found: false };
    for (const one of liveTokens.get(found.grantId) ?? []) await expire(one);
    await provider.RefreshToken.revokeByGrantId(found.grantId);
    return { found: true };
}

const pages = provider.callback();
innerPort = await listening(
    createServer(
        failing('provider', async (request, response) =>
            request.url.startsWith('/interaction/') ? interact(request, response) : pages(request, response),
        ),
    ),
);

const resources = resourceServer({ issuer, find, mode: resourceMode });
const resourcePort = await listening(createServer(failing('resource', resources.serve)));

const controls = {
    'POST /mode': (body) => Object.assign(mode, body),
    'POST /resource': (body) => Object.assign(resourceMode, body),
    'POST /faults': (body) => front.addFault(body),
    'DELETE /faults': () => front.clearFaults(),
    'POST /release': () => front.release(),
    'POST /drop': () => front.drop(),
    'GET /log': () => front.log,
    'GET /seen': () => resources.seen,
    'GET /issued': () => front.issued,
    'POST /expire': ({ token }) =>
        Promise.all(token ? [expire(opaquePart(token))] : [...liveTokens.values()].flatMap((all) => [...all].map(expire))),
    'POST /alive': alive,
    'POST /revoke': revoke,
    'POST /device': decideDevice,
};
const control_port = await listening(
    createServer(
        failing('control', async (request, response) => {
            const act = controls[`${request.method} ${request.url}`];
            const body = await readBody(request);
            const value = act && (await act(body.length > 0 ? JSON.parse(body) : {}));
            response.writeHead(act ? 200 : 404, { 'content-type': 'application/json' });
            response.end(JSON.stringify(value ?? null));
        }),
    ),
);

console.log(
    JSON.stringify({
        issuer,
        resource: `http://127.0.0.1:${resourcePort}/mcp`,
        control_port,
        callback,
        clients: Object.fromEntries(clients.map(({ client_id, client_secret }) => [client_id, { client_secret }])),
        assertion_key: assertionKey,
    }),
);
