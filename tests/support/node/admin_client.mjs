// The admin API, as far as tests need it to let an agent call something.

const adminBeta = 'managed-agents-2026-04-01';

/// Calls the admin API; throws on an unexpected status.
export const adminClient =
    (adminUrl, admin_api_key) =>
    async (method, target, body, { status = 200 } = {}) => {
        const response = await fetch(adminUrl + target, {
            method,
            headers: {
                'x-api-key': admin_api_key,
                'anthropic-version': '2023-06-01',
                'anthropic-beta': adminBeta,
                ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        const text = await response.text();
        if (response.status !== status)
            throw new Error(`${method} ${target} answered ${response.status}: ${text}`);
        return JSON.parse(text);
    };

let grants = 0;

/// Everything an agent needs to call one upstream with one token: vault, credential, environment, agent, session.
/// `toolset` replaces the agent's permissions, `environment` adds to the environment (tool_rules, config, limits).
/// `auth` replaces the token: any other credential for an MCP server, or a function that makes it in the last moment, because
/// its time runs. `vault` is taken with what is in it.
/// `shared` takes the result of an earlier grant and opens only another session of a new agent on the same vault.
export async function grant(
    claviger,
    { url, token, auth, vault: filled, serverName = 'upstream', toolset, environment = {}, shared },
) {
    const number = `${process.pid}-${++grants}`;
    let { vault, credential, environment: made } = shared ?? { vault: filled };
    const ownVault = !shared && !filled;
    if (ownVault) vault = await claviger.admin('POST', '/v1/vaults', { display_name: `flow vault ${number}` });
    if (!shared)
        made = await claviger.admin('POST', '/v1/environments', {
            name: `flow-${number}`,
            vault_bindings: [vault.id],
            ...environment,
        });
    const agent = await claviger.admin('POST', '/v1/agents', {
        name: `flow agent ${number}`,
        model: 'any-model',
        mcp_servers: [{ type: 'url', name: serverName, url }],
        tools: [
            {
                type: 'mcp_toolset',
                mcp_server_name: serverName,
                ...(toolset ?? {
                    default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
                }),
            },
        ],
    });
    const session = await claviger.admin('POST', '/v1/sessions', {
        agent: agent.id,
        environment_id: made.id,
        vault_ids: [vault.id],
    });
    if (ownVault)
        credential = await claviger.admin('POST', `/v1/vaults/${vault.id}/credentials`, {
            display_name: `flow credential ${number}`,
            auth: (typeof auth === 'function' ? auth() : auth) ?? { type: 'static_bearer', mcp_server_url: url, token },
        });
    return {
        vault,
        credential,
        environment: made,
        agent,
        session,
        sessionToken: session.session_token,
        endpoint: `${claviger.agentsUrl}/mcp/${serverName}`,
    };
}
