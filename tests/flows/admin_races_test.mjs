// Many admins at once against the real binary: limits hold, nothing happens twice, nothing is half done.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { startClaviger } from './harness.mjs';

describe('The admin API under many hands', () => {
    let claviger;
    before(async () => { claviger = await startClaviger(); });
    after(() => claviger?.stop());

    const call = async (method, target, body, headers = {}) => {
        const response = await fetch(claviger.adminUrl + target, {
            method,
            headers: {
                'x-api-key': claviger.admin_api_key,
                'anthropic-beta': 'managed-agents-2026-04-01',
                ...headers,
            },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        return { status: response.status, body: await response.json() };
    };
    const bearer = (url) => ({ auth: { type: 'static_bearer', mcp_server_url: url, token: 't' } });
    const count = (answers, status) => answers.filter((answer) => answer.status === status).length;
    const newVault = async () => (await call('POST', '/v1/vaults', { display_name: 'race' })).body.id;

    it('lets one of many equal credentials in', async () => {
        const list = `/v1/vaults/${await newVault()}/credentials`;
        const answers = await Promise.all(Array.from({ length: 30 }, () => call('POST', list, bearer('https://a.example'))));
        assert.equal(count(answers, 200), 1);
        assert.equal(count(answers, 409), 29);
        assert.equal((await call('GET', list)).body.data.length, 1);
    });

    it('lets twenty of many different credentials in', async () => {
        const list = `/v1/vaults/${await newVault()}/credentials`;
        const answers = await Promise.all(
            Array.from({ length: 40 }, (_, number) => call('POST', list, bearer(`https://s${number}.example`))));
        assert.equal(count(answers, 200), 20);
        assert.equal(count(answers, 400), 20);
        assert.equal((await call('GET', `${list}?limit=100`)).body.data.length, 20);
    });

    it('loses no update of an agent that two people lock', async () => {
        const agent = (await call('POST', '/v1/agents', { name: 'a', model: 'm' })).body;
        let won = 0;
        for (let version = 1; version <= 5; ++version) {
            const answers = await Promise.all(Array.from({ length: 8 }, (_, number) =>
                call('POST', `/v1/agents/${agent.id}`, { version, description: `${version} ${number}` })));
            won += count(answers, 200);
            assert.equal(count(answers, 409), 7);
        }
        assert.equal(won, 5);
        assert.equal((await call('GET', `/v1/agents/${agent.id}`)).body.version, 6);
    });

    it('creates once for a request that a client sends again and again', async () => {
        const again = () => call('POST', '/v1/vaults', { display_name: 'sent again' }, { 'x-stainless-retry-count': '1' });
        const answers = [...await Promise.all(Array.from({ length: 20 }, again)), await again()];
        assert.equal(count(answers, 200) + count(answers, 409), answers.length);
        assert.equal(answers.at(-1).status, 200);
        assert.equal(new Set(answers.filter(({ status }) => status === 200).map(({ body }) => body.id)).size, 1);
        const { data } = (await call('GET', '/v1/vaults?limit=100')).body;
        assert.equal(data.filter((vault) => vault.display_name === 'sent again').length, 1);
    });

    it('refuses a session on a vault that is being deleted, or deletes under it, but never breaks', async () => {
        const agent = (await call('POST', '/v1/agents', { name: 'a', model: 'm' })).body.id;
        const environment = (await call('POST', '/v1/environments', { name: 'e' })).body.id;
        const vault = await newVault();
        const answers = await Promise.all([
            ...Array.from({ length: 10 }, () =>
                call('POST', '/v1/sessions', { agent, environment_id: environment, vault_ids: [vault] })),
            call('DELETE', `/v1/vaults/${vault}`),
            ...Array.from({ length: 10 }, () => call('POST', `/v1/vaults/${vault}/credentials`, bearer('https://a.example'))),
        ]);
        for (const { status, body } of answers) assert.ok([200, 404, 409].includes(status), JSON.stringify(body));
        assert.equal((await call('GET', `/v1/vaults/${vault}`)).status, 404);
    });
});
