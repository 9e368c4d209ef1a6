// Every field of vaults and credentials: what it takes at its edge, and what is refused by its name.
//
// A row is { at, named, good, bad }: each value is put at the place `at` of a body that is right but for it; a refusal
// begins with `named`, which is `at` unless a row says otherwise. undefined leaves the field out.

const x = (count) => 'x'.repeat(count);
const pairs = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));
const texts = (count, make) => Array.from({ length: count }, (_, i) => make(i));
const url = (length) => 'https://a.example/'.padEnd(length, 'x');

const noText = [7, true, ['x'], { x: 'x' }];
const noObject = ['x', 7, ['x']];
const absent = [undefined, null];
const noUrl = ['', url(2048), 'ftp://a.example', 'a.example', 'https://user@a.example', 'https://a.example/#x', 'https://a.example/\n', ...noText];
const noHeaderValue = ['', x(8193), 'CANARY-token-1\n', ' CANARY-token-1', 'CANARY-token-1 ', 'CANARY-tökén', 'CANARY-\u0000', ...noText];
const noSecret = (most) => ['', x(most + 1), 'CANARY-\u0000', ...noText];
const noTime = ['tomorrow', '2001-01-01T00:00:00Z', '2036-02-30T00:00:00Z', ...noText];
const later = '2036-12-01T00:00:00Z';

const metadata = [
    { at: 'metadata', good: [pairs(16), {}], bad: [pairs(17), ...noObject] },
    { at: 'metadata.k', good: [x(512), 'é'.repeat(512), ''], bad: [x(513), ...noText] },
    { at: `metadata.${x(64)}`, good: ['v'], bad: [] },
    { at: 'metadata', named: `metadata.${x(60)}`, good: [], bad: [{ [x(65)]: 'v' }] },
];
const unknown = (...places) => places.map((place) => ({ at: [place, 'owner'].filter(Boolean).join('.'), good: [], bad: ['me', null] }));

const schemed = (scheme) => ({ header: 'x-key', scheme });
const injection = [
    { at: 'auth.injection', good: [], bad: noObject },
    { at: 'auth.injection.header', good: [x(64)], bad: ['', x(65), 'a b', 'x\n', 'Content-Type', 'mcp-session-id', ...noText] },
    {
        at: 'auth.injection', named: 'auth.injection.scheme', good: [x(64), ''].map(schemed),
        bad: [x(65), 'a b', 'x\n', ...noText].map(schemed),
    },
    { at: 'auth.injection', named: 'auth.injection.owner', good: [], bad: [{ header: 'x-key', owner: 'me' }] },
    { at: 'auth.allowed_tools', good: [texts(256, (i) => `tool${i}`), [x(128)]], bad: [texts(257, (i) => `tool${i}`), ['a', 'a'], 'x', 7] },
    { at: 'auth.allowed_tools', named: 'auth.allowed_tools[0]', good: [], bad: [[''], [x(129)], [7]] },
];
const networking = [
    { at: 'auth.networking', good: [{ type: 'unrestricted' }], bad: noObject },
    { at: 'auth.networking.type', good: [], bad: [...absent, 'odd', 7] },
    { at: 'auth.networking.allowed_hosts', good: [texts(16, (i) => `h${i}.example`)], bad: [...absent, [], texts(17, (i) => `h${i}.example`), 'x', 7] },
    {
        at: 'auth.networking.allowed_hosts', named: 'auth.networking.allowed_hosts[0]', good: [['*.a.example'], ['192.0.2.1']],
        bad: [[''], [x(256)], ['https://a.example'], ['a.example:443'], ['a.example/x'], ['::1'], ['a b'], [7]],
    },
    { at: 'auth.injection_location', good: [{ header: true }, { body: true }], bad: [null, { header: false, body: false }, ...noObject] },
    { at: 'auth.injection_location.header', good: [true], bad: [null, 'yes', 1] },
    { at: 'auth.injection_location.body', good: [true], bad: [null, 'yes', 1] },
];

export const vaultFields = {
    create: {
        body: { display_name: 'a' },
        rows: [
            { at: 'display_name', good: [x(255), 'é'.repeat(255)], bad: [...absent, '', x(256), 'a\nb', ...noText] },
            { at: 'metadata.k', good: [], bad: [null] },
            ...metadata,
            ...unknown(''),
        ],
    },
    update: {
        body: {},
        rows: [
            { at: 'display_name', good: [x(255)], bad: ['', x(256), 'a\nb', ...noText] },
            ...metadata,
            ...unknown(''),
        ],
    },
};

const named = {
    create: [
        { at: 'display_name', good: [x(255), '', null], bad: [x(256), 'a\nb', ...noText] },
        { at: 'metadata.k', good: [], bad: [null] },
        ...metadata,
        { at: 'auth', good: [], bad: [...absent, ...noObject] },
        { at: 'auth.type', good: [], bad: [...absent, 'oauth', ...noText] },
        { at: 'rotate_by', good: [later, null], bad: noTime },
    ],
    update: [
        { at: 'display_name', good: [x(255), null], bad: ['', x(256), 'a\nb', ...noText] },
        ...metadata,
        { at: 'auth', good: [undefined], bad: noObject },
        { at: 'auth.type', good: [], bad: [...absent, 'oauth', ...noText] },
        { at: 'rotate_by', good: [later], bad: noTime },
    ],
};
const fixed = (...places) => places.map((at) => ({ at, good: [], bad: ['https://b.example', 'B'] }));

/// One entry for each type of credential: the bodies of a creation and of an update, and their rows.
export const credentialFields = [
    {
        create: {
            body: { auth: { type: 'static_bearer', mcp_server_url: url(20), token: 't' } },
            rows: [
                ...named.create,
                { at: 'auth.mcp_server_url', good: [url(2047)], bad: [...absent, ...noUrl] },
                { at: 'auth.token', good: [x(8192)], bad: [...absent, ...noHeaderValue] },
                ...injection,
                ...unknown('', 'auth'),
            ],
        },
        update: {
            body: { auth: { type: 'static_bearer' } },
            rows: [
                ...named.update,
                { at: 'auth.type', good: [], bad: ['mcp_oauth'] },
                { at: 'auth.token', good: [x(8192), null], bad: noHeaderValue },
                ...injection,
                ...fixed('auth.mcp_server_url', 'auth.secret_name'),
                ...unknown('', 'auth'),
            ],
        },
    },
    {
        create: {
            body: {
                auth: {
                    type: 'mcp_oauth', mcp_server_url: url(20), access_token: 't',
                    refresh: {
                        token_endpoint: 'https://a.example/token', client_id: 'c', refresh_token: 'r',
                        token_endpoint_auth: { type: 'client_secret_post', client_secret: 's' },
                    },
                },
            },
            rows: [
                ...named.create,
                { at: 'auth.mcp_server_url', good: [url(2047)], bad: [...absent, ...noUrl] },
                { at: 'auth.access_token', good: [x(8192)], bad: [...absent, ...noHeaderValue] },
                { at: 'auth.expires_at', good: [later, null], bad: noTime },
                { at: 'auth.refresh', good: absent, bad: noObject },
                { at: 'auth.refresh.token_endpoint', good: [url(2047)], bad: [...absent, ...noUrl] },
                { at: 'auth.refresh.client_id', good: [x(1024)], bad: [...absent, '', x(1025), 'a\nb', ...noText] },
                { at: 'auth.refresh.scope', good: [x(8192), ...absent], bad: ['', x(8193), 'a\nb', ...noText] },
                { at: 'auth.refresh.resource', good: [url(2047), ...absent], bad: ['', url(2048), 'a.example', 'https://a.example/#x', 'a\nb', ...noText] },
                { at: 'auth.refresh.refresh_token', good: [x(8192)], bad: [...absent, ...noSecret(8192)] },
                { at: 'auth.refresh.token_endpoint_auth', good: [{ type: 'none' }], bad: [...absent, ...noObject] },
                { at: 'auth.refresh.token_endpoint_auth.type', good: [], bad: [...absent, 'odd', ...noText] },
                { at: 'auth.refresh.token_endpoint_auth.client_secret', good: [x(512)], bad: [...absent, ...noSecret(512)] },
                ...unknown('auth', 'auth.refresh', 'auth.refresh.token_endpoint_auth'),
            ],
        },
        update: {
            body: { auth: { type: 'mcp_oauth', refresh: { token_endpoint_auth: { type: 'client_secret_basic' } } } },
            rows: [
                ...named.update,
                { at: 'auth.access_token', good: [x(8192), null], bad: noHeaderValue },
                { at: 'auth.expires_at', good: [later, null], bad: noTime },
                { at: 'auth.refresh', good: [undefined], bad: noObject },
                { at: 'auth.refresh.scope', good: [x(8192), '', null], bad: [x(8193), 'a\nb', ...noText] },
                { at: 'auth.refresh.refresh_token', good: [x(8192), null], bad: noSecret(8192) },
                { at: 'auth.refresh.token_endpoint_auth', good: [null], bad: noObject },
                { at: 'auth.refresh.token_endpoint_auth.type', good: [], bad: [...absent, 'none', ...noText] },
                { at: 'auth.refresh.token_endpoint_auth.client_secret', good: [x(512), null], bad: noSecret(512) },
                ...fixed('auth.mcp_server_url', 'auth.refresh.token_endpoint', 'auth.refresh.client_id', 'auth.refresh.resource'),
                ...unknown('auth', 'auth.refresh', 'auth.refresh.token_endpoint_auth'),
            ],
        },
    },
    {
        create: {
            body: {
                auth: {
                    type: 'environment_variable', secret_name: 'A', secret_value: 'v',
                    networking: { type: 'limited', allowed_hosts: ['a.example'] }, injection_location: { header: true, body: false },
                },
            },
            rows: [
                ...named.create,
                { at: 'auth.secret_name', good: [x(255)], bad: [...absent, '', x(256), '1A', 'A-B', 'PATH', 'Path', 'LD_PRELOAD', ...noText] },
                { at: 'auth.secret_value', good: [x(4096), 'two\nlines'], bad: [...absent, ...noSecret(4096)] },
                { at: 'auth.networking', good: [], bad: absent },
                ...networking,
                ...unknown('auth', 'auth.networking', 'auth.injection_location'),
            ],
        },
        update: {
            body: { auth: { type: 'environment_variable', networking: { type: 'limited', allowed_hosts: ['a.example'] } } },
            rows: [
                ...named.update,
                { at: 'auth.secret_value', good: [x(4096), null], bad: noSecret(4096) },
                { at: 'auth.networking', good: absent, bad: [] },
                ...networking,
                ...fixed('auth.secret_name', 'auth.mcp_server_url'),
                ...unknown('auth', 'auth.networking', 'auth.injection_location'),
            ],
        },
    },
];

/// The body with another value at that place.
export function bodyWith(body, place, value) {
    const copy = structuredClone(body);
    const names = place.split('.');
    const last = names.pop();
    let object = copy;
    for (const name of names) object = object[name] ??= {};
    object[last] = value;
    return copy;
}
