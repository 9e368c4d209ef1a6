// Why a call was refused: the operator reads it in Claviger's log, in full; the agent only learns that it is so.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { accessLog, freshSecret, startClaviger, startUpstream } from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

describe('the log line of a refused call', () => {
    const wanted = 'https://mcp.linear.example/mcp';
    let claviger, session, upstream;
    const seen = [];

    before(async () => {
        upstream = await startUpstream((call) => seen.push(call));
        claviger = await startClaviger();
        const { admin } = claviger;
        const vault = async (name, ...urls) => {
            const made = await admin('POST', '/v1/vaults', { display_name: name });
            for (const mcp_server_url of urls)
                await admin('POST', `/v1/vaults/${made.id}/credentials`, {
                    auth: { type: 'static_bearer', mcp_server_url, token: freshSecret() },
                });
            return made;
        };
        const alice = await vault('alice', 'https://mcp.linear.example/sse', 'https://mcp.liner.example/mcp', wanted);
        const held = await admin('GET', `/v1/vaults/${alice.id}/credentials`);
        const archived = held.data.find(({ auth }) => auth.mcp_server_url === wanted);
        await admin('POST', `/v1/vaults/${alice.id}/credentials/${archived.id}/archive`);
        const bob = await vault('bob', wanted, 'https://mcp.slack.example/mcp');
        const carol = await vault('carol', wanted);
        await admin('POST', '/v1/environments', { name: 'staging', vault_bindings: [bob.id] });
        const environment = await admin('POST', '/v1/environments', {
            name: 'prod',
            vault_bindings: [alice.id, bob.id, carol.id],
            tool_rules: [
                { name: 'no deletions', effect: 'deny', tool: 'delete_*' },
                { name: 'no posts', effect: 'deny', server: 'slack' },
            ],
        });
        const agent = await admin('POST', '/v1/agents', {
            name: 'caller',
            model: 'any-model',
            mcp_servers: [
                { type: 'url', name: 'linear', url: wanted },
                { type: 'url', name: 'open', url: upstream.url },
            ],
            tools: ['linear', 'open'].map((name) => ({
                type: 'mcp_toolset',
                mcp_server_name: name,
                default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
            })),
        });
        session = await admin('POST', '/v1/sessions', {
            agent: agent.id,
            environment_id: environment.id,
            vault_ids: [alice.id, bob.id],
        });
        await admin('POST', `/v1/environments/${environment.id}`, { vault_bindings: [alice.id, carol.id] });
    });

    after(() => upstream?.stop());

    const call = (name) =>
        post(`${claviger.agentsUrl}/mcp/linear`, session.session_token, rpc(1, 'tools/call', { name, arguments: {} }));
    const lines = (event) =>
        claviger
            .readLog()
            .split('\n')
            .filter((line) => line.startsWith('{'))
            .map((line) => JSON.parse(line))
            .filter((line) => line.event === event);
    const lineOf = (event) => {
        const [line, ...more] = lines(event).filter(({ server }) => server === 'linear');
        assert.ok(line && more.length === 0, claviger.readLog());
        return line;
    };
    function assertNothingToldOf(answer, words) {
        for (const word of words) assert.ok(!answer.raw.includes(word), `the agent was told of ${word}: ${answer.raw}`);
    }

    it('that found no credential says what was searched and each that came near', async () => {
        const answer = await call('list_issues');
        assert.equal(answer.status, 200, answer.text);
        assert.deepEqual(answer.message.error, {
            code: 40301,
            message: 'No credential is available to this session for this server.',
            data: {
                code: 'credential.vault_not_bound',
                hint: "Ask an administrator; Claviger's own log says what was searched and what came near.",
            },
        });
        assertNothingToldOf(answer, ['alice', 'bob', 'carol', 'prod', 'staging', 'sse', 'liner', 'slack', 'archived']);
        const { level, code, server, session: of, explanation } = lineOf('call.without_credential');
        assert.deepEqual([level, code, server, of], ['warning', 'credential.vault_not_bound', 'linear', session.id]);
        assert.deepEqual(explanation.split('; '), [
            `no credential for ${wanted} in vaults [alice] bound to environment 'prod'`,
            "vault 'alice' has one but the credential is archived",
            "vault 'bob' has one but is bound only to 'staging'",
            "vault 'carol' has one but is not among the session's vaults",
            "vault 'alice' has one for https://mcp.liner.example/mcp (a similar host name)",
            "vault 'alice' has one for https://mcp.linear.example/sse (the same host, another path)",
        ]);
    });

    it('that a rule denies says what was considered', async () => {
        const answer = await call('delete_issue');
        assert.equal(answer.message.error.message, 'Unknown tool: delete_issue');
        assertNothingToldOf(answer, ['deletions', 'posts', 'prod', 'rule', 'denied']);
        const { level, code, rule, considered } = lineOf('call.denied');
        assert.deepEqual([level, code, rule], ['info', 'policy.denied', "environment 'prod' rule 'no deletions'"]);
        assert.deepEqual(considered.split('; '), [
            "environment 'prod' networking: networking is unrestricted: every public host may be reached",
            'no deletions: denies',
            "toolset 'linear': the tool is allowed",
            'no posts did not match: another server',
        ]);
    });

    it('for a server that no credential came near says so, and nothing reaches the server, whatever the method', async () => {
        const ask = (...message) => post(`${claviger.agentsUrl}/mcp/open`, session.session_token, ...message);
        for (const answer of [
            await ask(rpc(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'flow', version: '1' } })),
            await ask(rpc(2, 'tools/list')),
            await ask(modernRequest(3, 'tools/call', { name: 'any', arguments: {} }), modernHeaders('tools/call', 'any')),
        ]) {
            assert.equal(answer.status, 200, answer.text);
            assert.equal(answer.message.error?.code, 40301, answer.text);
            assert.equal(answer.message.error.data.code, 'credential.not_found');
        }
        assert.deepEqual(seen, []);
        const told = lines('call.without_credential').filter(({ server }) => server === 'open');
        const explanation = `no credential for ${upstream.url} in vaults [alice] bound to environment 'prod'`;
        assert.deepEqual(told.map((each) => each.explanation), Array(3).fill(explanation));
        const denied = (await accessLog(claviger, session.id)).filter(({ reason }) => reason === 'credential.not_found');
        assert.deepEqual(denied.map(({ kind, decision }) => [kind, decision]), Array(3).fill(['deny', 'denied']));
    });
});
