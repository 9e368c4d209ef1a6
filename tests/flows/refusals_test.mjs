// Why a call was refused: the operator reads it in Claviger's log, in full; the agent only learns that it is so.
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { freshSecret, startClaviger } from './harness.mjs';
import { post, rpc } from './wire.mjs';

describe('the log line of a refused call', () => {
    const wanted = 'https://mcp.linear.example/mcp';
    let claviger, session;

    before(async () => {
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
            mcp_servers: [{ type: 'url', name: 'linear', url: wanted }],
            tools: [
                {
                    type: 'mcp_toolset',
                    mcp_server_name: 'linear',
                    default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
                },
            ],
        });
        session = await admin('POST', '/v1/sessions', {
            agent: agent.id,
            environment_id: environment.id,
            vault_ids: [alice.id, bob.id],
        });
        await admin('POST', `/v1/environments/${environment.id}`, { vault_bindings: [alice.id, carol.id] });
    });

    const call = (name) =>
        post(`${claviger.agentsUrl}/mcp/linear`, session.session_token, rpc(1, 'tools/call', { name, arguments: {} }));
    const line = (event) => {
        const lines = claviger.readLog().split('\n').filter((one) => one.includes(`"${event}"`));
        assert.equal(lines.length, 1, claviger.readLog());
        return JSON.parse(lines[0]);
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
        const { level, code, server, session: of, explanation } = line('call.without_credential');
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
        const { level, code, rule, considered } = line('call.denied');
        assert.deepEqual([level, code, rule], ['info', 'policy.denied', "environment 'prod' rule 'no deletions'"]);
        assert.deepEqual(considered.split('; '), [
            "environment 'prod' networking: networking is unrestricted: every public host may be reached",
            'no deletions: denies',
            "toolset 'linear': the tool is allowed",
            'no posts did not match: another server',
        ]);
    });
});
