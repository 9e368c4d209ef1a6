// Every answer of the hosted routes is what the SDKs' own TypeScript types say, checked by the TypeScript compiler.
import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { run, startClaviger, temporaryFolder } from './harness.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const sdks = ['@anthropic-ai/sdk', 'anthropic-sdk-0.137', 'anthropic-sdk-0.86'];
const unknownTo086 = (answer) => answer.auth?.type === 'environment_variable' || answer.config?.type === 'self_hosted';

/// The narrowest type of a JSON value, as TypeScript text: a literal's types would be widened.
function typeOf(value) {
    if (Array.isArray(value)) return `Array<${value.length === 0 ? 'never' : value.map(typeOf).join(' | ')}>`;
    if (value === null || typeof value !== 'object') return JSON.stringify(value);
    return `{ ${Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}: ${typeOf(member)};`).join(' ')} }`;
}

/// What a method of the client resolves to.
const resultOf = (method) => `Awaited<ReturnType<Client${method.split('.').map((name) => `['${name}']`).join('')}>>`;

describe('Answers and the types of the SDKs', () => {
    let claviger;
    const answers = [];  // [method, answer]

    before(async () => {
        claviger = await startClaviger();
        const { admin } = claviger;
        const keep = async (method, ...request) => {
            const answer = await admin(...request);
            answers.push([method, answer]);
            return answer;
        };
        const vault = await keep('vaults.create', 'POST', '/v1/vaults', { display_name: 'a', metadata: { k: 'v' } });
        const credentials = `/v1/vaults/${vault.id}/credentials`;
        for (const auth of [
            { type: 'static_bearer', mcp_server_url: 'https://a.example', token: 't' },
            { type: 'mcp_oauth', mcp_server_url: 'https://b.example', access_token: 't' },
            {
                type: 'mcp_oauth', mcp_server_url: 'https://c.example', access_token: 't', expires_at: '2036-01-01T00:00:00Z',
                refresh: {
                    token_endpoint: 'https://c.example/token', client_id: 'c', refresh_token: 'r',
                    token_endpoint_auth: { type: 'client_secret_basic', client_secret: 's' },
                },
            },
        ]) await keep('vaults.credentials.create', 'POST', credentials, { auth });
        await keep('vaults.credentials.list', 'GET', `${credentials}?limit=2`);
        for (const auth of [
            {
                type: 'environment_variable', secret_name: 'A', secret_value: 'v',
                networking: { type: 'limited', allowed_hosts: ['a.example'] },
            },
            { type: 'environment_variable', secret_name: 'B', secret_value: 'v', networking: { type: 'unrestricted' } },
        ]) await keep('vaults.credentials.create', 'POST', credentials, { auth });

        await keep('environments.create', 'POST', '/v1/environments', { name: 'own', config: { type: 'self_hosted' } });
        const environment = await keep('environments.create', 'POST', '/v1/environments', {
            name: 'e', description: 'd', vault_bindings: [vault.id], tool_rules: [{ name: 'r', effect: 'deny' }],
            config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: ['a.example'] } },
        });
        const agent = await keep('agents.create', 'POST', '/v1/agents', {
            name: 'a', model: { id: 'm', effort: 'high', speed: 'fast' }, system: 's',
            mcp_servers: [{ type: 'url', name: 'x', url: 'https://a.example' }],
            tools: [{ type: 'mcp_toolset', mcp_server_name: 'x', configs: [{ name: 't', enabled: false }] }],
        });
        await keep('agents.versions.list', 'GET', `/v1/agents/${agent.id}/versions`);
        const session = await keep('sessions.create', 'POST', '/v1/sessions', {
            agent: agent.id, environment_id: environment.id, vault_ids: [vault.id],
        });
        await keep('sessions.list', 'GET', '/v1/sessions');
        await keep('sessions.archive', 'POST', `/v1/sessions/${session.id}/archive`);
        await keep('sessions.delete', 'DELETE', `/v1/sessions/${session.id}`);
        await keep('environments.delete', 'DELETE', `/v1/environments/${environment.id}`);
        await keep('agents.archive', 'POST', `/v1/agents/${agent.id}/archive`);
        await keep('vaults.archive', 'POST', `/v1/vaults/${vault.id}/archive`);
        await keep('vaults.delete', 'DELETE', `/v1/vaults/${vault.id}`);
    });
    after(() => claviger?.stop());

    for (const sdk of sdks) {
        it(`agree with ${sdk}`, async () => {
            const lines = [`import type Anthropic from '${sdk}';`, "type Client = Anthropic['beta'];"];
            answers.forEach(([method, answer], number) => {
                if (sdk.endsWith('0.86') && unknownTo086(answer)) return;
                // A page is an object with methods; its items are what can be compared.
                if (method.endsWith('.list')) {
                    lines.push(`declare const answer${number}: ${typeOf(answer.data)};`,
                        `export const checked${number}: ${resultOf(method)}['data'] = answer${number};`);
                } else {
                    lines.push(`declare const answer${number}: ${typeOf(answer)};`,
                        `export const checked${number}: ${resultOf(method)} = answer${number};`);
                }
            });
            const { display_name, ...incomplete } = answers[0][1];
            assert.equal(display_name, 'a');
            lines.push(`declare const incomplete: ${typeOf(incomplete)};`, '// @ts-expect-error: a field is missing',
                `export const refused: ${resultOf('vaults.create')} = incomplete;`);

            const folder = temporaryFolder();
            symlinkSync(path.join(here, 'node_modules'), path.join(folder, 'node_modules'));
            writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
            writeFileSync(path.join(folder, 'answers.ts'), lines.join('\n'));
            const compiled = await run(process.execPath, [
                path.join(here, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck',
                '--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', 'answers.ts',
            ], { cwd: folder, limitMs: 120_000 });
            assert.equal(compiled.code, 0, compiled.stdout + compiled.stderr);
        });
    }
});
