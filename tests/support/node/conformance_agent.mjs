// A tiny agent that has nothing but a session token of Claviger, for the official conformance suite in client mode: the
// suite's server sees Claviger as its client.
//
//   node conformance_agent.mjs SERVER-URL
//
// CLAVIGER_ADMIN_URL, CLAVIGER_ADMIN_KEY and CLAVIGER_AGENTS_URL name the Claviger; the suite sets MCP_CONFORMANCE_*.
import { adminClient, grant } from './admin_client.mjs';
import { browse } from './browser.mjs';
import { packages } from './packages.mjs';

const { Client, StreamableHTTPClientTransport } = packages('@modelcontextprotocol/client');

const [, , serverUrl] = process.argv;
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const modern = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28';
const { CLAVIGER_ADMIN_URL: adminUrl, CLAVIGER_ADMIN_KEY: key, CLAVIGER_AGENTS_URL: agentsUrl } = process.env;
const claviger = { admin: adminClient(adminUrl, key), agentsUrl };
const mostConsents = 2; // after the first
const byHand = 'https://conformance-test.local/client-metadata.json'; // the one that the suite wants to see

async function connected(granted, capabilities = {}) {
    const client = new Client(
        { name: 'tiny-agent', version: '1' },
        { capabilities, versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' } },
    );
    const headers = { authorization: `Bearer ${granted.sessionToken}` };
    await client.connect(new StreamableHTTPClientTransport(new URL(granted.endpoint), { requestInit: { headers } }));
    return client;
}

/// What a person does with a connect link. Claviger's public address is a name that leads back to it.
async function consent(vault, more) {
    const at = `/v1/vaults/${vault.id}/connect_links`;
    const link = await claviger.admin('POST', at, { server_url: serverUrl, ...more });
    if (link.url) {
        const { pathname } = new URL(link.url);
        const last = await browse(new URL(`${pathname}/start`, adminUrl), {
            until: `${adminUrl}/oauth/callback`,
            fetchLast: true,
            rename: (url) => (url.hostname === 'claviger.example.com' ? new URL(url.pathname + url.search, adminUrl) : url),
        });
        console.error(`the browser ends at ${last.url.pathname} with ${last.status}`);
    }
    const after = await claviger.admin('GET', `${at}/${link.id}`);
    if (after.status !== 'connected') throw new Error(`not connected (${after.status}): ${JSON.stringify(after.problem)}`);
    return after.credential_id;
}

/// What whoever registered a client at the authorization server knows: how that calls itself.
async function issuer() {
    const { origin, pathname } = new URL(serverUrl);
    for (const place of [`${origin}/.well-known/oauth-protected-resource${pathname}`, `${origin}/.well-known/oauth-protected-resource`]) {
        const answer = await fetch(place);
        if (answer.ok) return (await answer.json()).authorization_servers[0];
    }
    return origin;
}

/// Connects an account, then calls; whenever the answer asks for another consent, a person gives it.
async function authorized({ client, ...terms } = {}) {
    const vault = await claviger.admin('POST', '/v1/vaults', { display_name: scenario });
    const credential_id = await consent(vault, { client, ...terms });
    const granted = await grant(claviger, { url: serverUrl, vault });
    for (let consents = 0; ; ++consents) {
        try {
            const agent = await connected(granted);
            const { tools } = await agent.listTools();
            if (tools.length > 0) await agent.callTool({ name: tools[0].name, arguments: {} });
            return await agent.close();
        } catch (error) {
            console.error(`the call failed: ${error.message} ${JSON.stringify(error.data)}`);
            if (consents === mostConsents) throw error;
            await consent(vault, { credential_id });
        }
    }
}

/// For servers that ask for no token: any will do.
const unprotected = async (capabilities) => {
    const granted = await grant(claviger, { url: serverUrl, token: 'nobody-asks-for-it' });
    return connected(granted, capabilities);
};

async function callEverything(agent, argumentsOf = () => ({})) {
    const { tools } = await agent.listTools();
    for (const tool of tools) {
        const result = await agent.callTool({ name: tool.name, arguments: argumentsOf(tool) }).catch((error) => error);
        console.error(`${tool.name}: ${result.message ?? JSON.stringify(result).slice(0, 200)}`);
    }
    return agent;
}

/// A value for every property, so that every header that a schema names is sent.
const examples = ({ inputSchema }) =>
    Object.fromEntries(
        Object.entries(inputSchema.properties ?? {}).map(([name, { type }]) => [
            name,
            type === 'number' || type === 'integer' ? 3 : type === 'boolean' ? true : 'text',
        ]),
    );

const scenarios = {
    async initialize() {
        const agent = await unprotected();
        await agent.listTools();
        return agent;
    },
    tools_call: async () => {
        const agent = await unprotected();
        await agent.listTools();
        await agent.callTool({ name: 'add_numbers', arguments: { a: 5, b: 3 } });
        return agent;
    },
    async 'elicitation-sep1034-client-defaults'() {
        const agent = await unprotected({ elicitation: { form: { applyDefaults: true } } });
        agent.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }));
        return callEverything(agent);
    },
    'sse-retry': async () => callEverything(await unprotected()),
    /// Gives back the schema that it was shown.
    async 'json-schema-2020-12-preservation'() {
        const agent = await unprotected();
        const { tools } = await agent.listTools();
        const { inputSchema: schema } = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
        await agent.callTool({ name: 'json_schema_echo', arguments: { schema } });
        return agent;
    },
    async 'http-standard-headers'() {
        const agent = await callEverything(await unprotected(), examples);
        const { resources } = await agent.listResources().catch(() => ({ resources: [] }));
        for (const { uri } of resources) await agent.readResource({ uri });
        const { prompts } = await agent.listPrompts().catch(() => ({ prompts: [] }));
        for (const { name } of prompts) await agent.getPrompt({ name, arguments: {} });
        return agent;
    },
};
/// Whatever a server asks on the way is answered.
const others = async () => {
    const agent = await unprotected({ elicitation: { form: { applyDefaults: true } } });
    agent.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { confirmed: true } }));
    for (const { name, arguments: values } of context.toolCalls ?? []) {
        await agent.listTools();
        await agent.callTool({ name, arguments: values });
    }
    return context.toolCalls ? agent : callEverything(agent, examples);
};
const byScenario = async () => {
    const { client_id, client_secret, private_key_pem: private_key } = context;
    if (scenario === 'auth/pre-registration') return authorized({ issuer: await issuer(), client: { client_id, client_secret } });
    if (scenario === 'auth/basic-cimd' && !process.env.CLAVIGER_OWN_CLIENT)
        return authorized({ client: { client_id: byHand } });
    if (scenario.startsWith('auth/client-credentials'))
        return authorized({
            grant: 'client_credentials',
            issuer: await issuer(),
            client: { client_id, client_secret, private_key },
        });
    if (scenario === 'auth/enterprise-managed-authorization') {
        const { idp_issuer, idp_client_id, idp_id_token: subject_token } = context;
        await claviger.admin('POST', '/v1/oauth_clients', { issuer: idp_issuer, client_id: idp_client_id });
        return authorized({
            grant: 'id_jag',
            issuer: await issuer(),
            client: { client_id, client_secret },
            exchange: { subject_token, identity_provider: idp_issuer },
        });
    }
    if (scenario === 'auth/wif-jwt-bearer')
        return authorized({ grant: 'jwt_bearer', issuer: await issuer(), client: { client_id }, exchange: { subject_token: context.valid_jwt } });
    if (scenario.startsWith('auth/')) return authorized();
    const agent = await (scenarios[scenario] ?? others)();
    return agent.close();
};

await byScenario();
process.exit(0);
