// An agent without a model: connects with the official MCP client, lists the tools and calls one. All it has is the
// endpoint and a session token. Writes every byte that it sent and received into files, for the proof afterwards.
//
// node agent.mjs --endpoint URL --token-file FILE --record FOLDER
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
    options: {
        endpoint: { type: 'string' },
        'token-file': { type: 'string' },
        record: { type: 'string' },
        packages: { type: 'string' },
    },
});
const packages = createRequire(path.join(values.packages, 'package.json'));
const load = (name) => import(pathToFileURL(packages.resolve(name)));
const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');

const sessionToken = readFileSync(values['token-file'], 'utf8').trim();
const record = (name) => path.join(values.record, name);
for (const name of ['agent.sent', 'agent.received']) writeFileSync(record(name), '');
const headText = (headers) => [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
const masked = (text) => text.replaceAll(sessionToken, `${sessionToken.slice(0, 15)}…`);

async function recordingFetch(input, init = {}) {
    const headers = new Headers(init.headers);
    const sent = `${init.method ?? 'GET'} ${input}\r\n${headText(headers)}\r\n${init.body ?? ''}\r\n`;
    appendFileSync(record('agent.sent'), sent);
    if (String(init.body ?? '').includes('"tools/call"')) {
        console.log('What the agent sent:');
        for (const line of masked(sent).trim().split('\r\n')) console.log(`    ${line}`);
    }
    const response = await fetch(input, init);
    appendFileSync(record('agent.received'), `${response.status}\r\n${headText(response.headers)}\r\n`);
    if (response.body === null) return response;
    const copied = response.body.pipeThrough(
        new TransformStream({
            transform(part, controller) {
                appendFileSync(record('agent.received'), part);
                controller.enqueue(part);
            },
        }),
    );
    return new Response(copied, { status: response.status, headers: response.headers });
}

const limit = setTimeout(() => {
    console.error('agent: no answer within 30 seconds');
    process.exit(1);
}, 30_000);
const client = new Client({ name: 'quickstart-agent', version: '1.0.0' });
const requestInit = { headers: { authorization: `Bearer ${sessionToken}` } };
await client.connect(
    new StreamableHTTPClientTransport(new URL(values.endpoint), { fetch: recordingFetch, requestInit }),
);
const { tools } = await client.listTools();
console.log(`The agent sees ${tools.length} tool(s): ${tools.map(({ name }) => name).join(', ')}`);
const result = await client.callTool({ name: 'get_project', arguments: { project_id: '42' } });
const text = result.content?.[0]?.text ?? '';
if (result.isError || !text.includes('lighthouse')) {
    console.error(`agent: the call did not succeed: ${masked(JSON.stringify(result))}`);
    process.exit(1);
}
console.log('What the agent got:');
const { name, description } = JSON.parse(text);
console.log(`    name         ${name}`);
console.log(`    description  ${description}`);
await client.close();
clearTimeout(limit);
