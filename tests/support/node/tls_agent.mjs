// An admin and an agent that trust what NODE_EXTRA_CA_CERTS names: grants access over the one listener, calls a tool
// with the official client over the other, and prints the text that came back.
//
//   node tls_agent.mjs UPSTREAM-URL UPSTREAM-TOKEN
//
// CLAVIGER_ADMIN_URL, CLAVIGER_ADMIN_KEY and CLAVIGER_AGENTS_URL name the Claviger.
import { adminClient, grant } from './admin_client.mjs';
import { packages } from './packages.mjs';

const { Client, StreamableHTTPClientTransport } = packages('@modelcontextprotocol/client');

const [, , url, token] = process.argv;
const { CLAVIGER_ADMIN_URL: adminUrl, CLAVIGER_ADMIN_KEY: key, CLAVIGER_AGENTS_URL: agentsUrl } = process.env;
const granted = await grant({ admin: adminClient(adminUrl, key), agentsUrl }, { url, token });
const headers = { authorization: `Bearer ${granted.sessionToken}` };
const client = new Client({ name: 'tls-agent', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(granted.endpoint), { requestInit: { headers } }));
const result = await client.callTool({ name: 'test_simple_text', arguments: {} });
console.log(result.content[0].text);
await client.close();
