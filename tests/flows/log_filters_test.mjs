// The access log's filters, by the API and by the command line: two of everything, each called with everything else.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { binary, freshSecret, run, startClaviger } from './harness.mjs';
import { startUpstream } from '../support/node/plain_upstream.mjs';
import { post, rpc } from './wire.mjs';

const agents = ['ann', 'bob'];
const environments = ['here', 'there'];
const servers = ['left', 'right'];
const tools = ['read', 'write'];

describe('the filters of the access log', () => {
    const upstreams = [];
    const ids = {}; // name → id
    const calls = []; // { agent, environment, server, tool }
    let claviger;
    let keyFile;

    before(async () => {
        claviger = await startClaviger();
        const { admin } = claviger;
        keyFile = path.join(claviger.folder, 'admin.key');
        writeFileSync(keyFile, `${claviger.admin_api_key}\n`, { mode: 0o600 });
        for (const _ of servers) upstreams.push(await startUpstream());
        const vault = await admin('POST', '/v1/vaults', { display_name: 'both' });
        for (const { url } of upstreams)
            await admin('POST', `/v1/vaults/${vault.id}/credentials`, {
                auth: { type: 'static_bearer', mcp_server_url: url, token: freshSecret() },
            });
        const mcp_servers = servers.map((name, i) => ({ type: 'url', name, url: upstreams[i].url }));
        for (const name of environments) ids[name] = (await admin('POST', '/v1/environments', { name, vault_bindings: [vault.id] })).id;
        for (const name of agents) {
            const permission = { enabled: true, permission_policy: { type: 'always_allow' } };
            const toolset = (server) => ({ type: 'mcp_toolset', mcp_server_name: server, default_config: permission });
            ids[name] = (await admin('POST', '/v1/agents', { name, model: 'm', mcp_servers, tools: servers.map(toolset) })).id;
        }
        for (const agent of agents)
            for (const environment of environments) {
                const session = await admin('POST', '/v1/sessions', {
                    agent: ids[agent],
                    environment_id: ids[environment],
                    vault_ids: [vault.id],
                });
                for (const server of servers)
                    for (const tool of tools) {
                        const call = rpc(1, 'tools/call', { name: tool, arguments: {} });
                        const answer = await post(session.mcp_endpoints[server], session.session_token, call);
                        assert.ok(answer.message.result, answer.text);
                        calls.push({ agent, environment, server, tool });
                    }
            }
    });
    after(async () => {
        for (const upstream of upstreams) upstream.stop();
        await claviger?.stop();
    });

    const api = async (filters) => {
        const query = new URLSearchParams({ kind: 'use_intent', limit: 1000, ...filters });
        return (await claviger.admin('GET', `/v1/access_log?${query}`)).data;
    };
    const cli = async (filters) => {
        const flags = Object.entries(filters).flatMap(([flag, value]) => [`--${flag}`, value]);
        const listed = await run(binary, ['log', 'list', '--kind', 'use_intent', '--limit', '0', '--json', ...flags], {
            env: { CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: keyFile },
        });
        assert.equal(listed.code, 0, listed.stderr);
        return JSON.parse(listed.stdout).data;
    };
    const nameOf = (id) => Object.keys(ids).find((name) => ids[name] === id);
    const seen = (entries) =>
        entries
            .map(({ agent_id, environment_id, server, tool }) => ({ agent: nameOf(agent_id), environment: nameOf(environment_id), server, tool }))
            .reverse();

    it('all calls are on record', async () => {
        assert.equal(calls.length, 16);
        assert.deepEqual(seen(await api({})), calls);
    });

    const filters = [
        ['agent', agents, (name) => ({ agent_id: ids[name] })],
        ['environment', environments, (name) => ({ environment_id: ids[name] })],
        ['server', servers, (name) => ({ server: name })],
        ['tool', tools, (name) => ({ tool: name })],
    ];
    for (const [what, names, query] of filters)
        it(`${what}: its calls and no others`, async () => {
            for (const name of names) {
                const wanted = calls.filter((call) => call[what] === name);
                assert.deepEqual(seen(await api(query(name))), wanted, `API, ${name}`);
                assert.deepEqual(seen(await cli({ [what]: name })), wanted, `CLI, ${name}`);
            }
        });

    it('all of them together', async () => {
        for (const call of calls) {
            assert.deepEqual(seen(await api(Object.assign({}, ...filters.map(([what, , query]) => query(call[what]))))), [call]);
        }
        const [last] = calls.slice(-1);
        assert.deepEqual(seen(await cli(last)), [last]);
        assert.deepEqual(await api({ tool: 'left' }), []);
    });
});
