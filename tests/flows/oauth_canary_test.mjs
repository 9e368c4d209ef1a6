// Every token, code and client secret that the authorization server gives out is a canary: after refreshes, failures,
// validations and crashes of all kinds none of them stands in an answer, a log, a metric or a file.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually, makeStore, serve, tracesOf } from './harness.mjs';
import { call, connected, startAuthorizationServer } from './oauth_world.mjs';
import { getRoutes, targetsOf } from './routes.mjs';
import { post, rpc } from './wire.mjs';

const filesIn = (folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const file = path.join(folder, entry.name);
        return entry.isDirectory() ? filesIn(file) : [file];
    });

describe('canary tokens of an authorization server', () => {
    const heard = []; // { where, text }
    let as;
    let store;
    let claviger;
    const granted = [];
    before(async () => {
        as = await startAuthorizationServer();
        store = await makeStore({ config: { log: { level: 'debug' } } });
        claviger = await serve(store);
        for (const client of ['public', 'basic:1', 'post']) granted.push(await connected(claviger, as, { client, dead: true }));
    });
    after(() => claviger?.stop());

    async function say(method, target, body) {
        const response = await fetch(claviger.adminUrl + target, {
            method,
            headers: { 'x-api-key': store.admin_api_key, 'content-type': 'application/json' },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        const head = [...response.headers].map(([name, value]) => `${name}: ${value}\n`).join('');
        const text = await response.text();
        heard.push({ where: `${method} ${target}`, text: head + text });
        return text;
    }
    async function asked(one, id, tool) {
        const { raw, message } = await call(one, id, tool);
        heard.push({ where: `call ${id}`, text: raw.toString('latin1') });
        return message;
    }

    it('are taken out of what a server echoes, from the first call after the refresh on', async () => {
        await as.resourceMode({ echo: true });
        for (const one of granted) {
            assert.ok((await asked(one, 'echo')).result);
            assert.ok((await asked(one, 'echo again')).result);
            const { raw } = await post(one.endpoint, one.sessionToken, rpc(1, 'tools/call', { name: 'read_note', arguments: {} }));
            heard.push({ where: 'legacy echo', text: raw.toString('latin1') });
            assert.ok((await one.seen()).length >= 3);
        }
        await as.resourceMode({ echo: false });
    });

    it('are not repeated when the token endpoint says them in its errors', async () => {
        for (const [status, error] of [[400, 'invalid_grant'], [401, 'invalid_client'], [400, 'unheard_of'], [503, 'temporarily_unavailable'], [200, 'bad_refresh_token']]) {
            const one = await connected(claviger, as, { client: 'post', refused: true });
            granted.push(one);
            const secret = as.clients.post.client_secret;
            const told = `${one.tokens.refresh_token} ${one.tokens.access_token} ${secret}`;
            await one.fault({ kind: 'answer', status, headers: { 'x-told': encodeURIComponent(told) }, body: { error, error_description: told, error_uri: `http://h/?${encodeURIComponent(told)}`, [told]: told } });
            assert.ok((await asked(one, `refused ${error}`)).error);
            await say('GET', `${one.credentialPath}/grant`);
            await say('POST', `${one.credentialPath}/mcp_oauth_validate`, {});
        }
    });

    it('are not repeated when the answer is no JSON, breaks off, or holds another type', async () => {
        for (const fault of [
            { kind: 'rewrite', set: { token_type: 'mac' } },
            { kind: 'rewrite', set: { access_token: 7 } },
            { kind: 'truncate' },
            { kind: 'reset' },
            { kind: 'drop_after' },
        ]) {
            const one = await connected(claviger, as, { dead: true, fault });
            granted.push(one);
            await asked(one, `after ${fault.kind}`);
            await asked(one, `after ${fault.kind} again`);
            await say('GET', `${one.credentialPath}/grant`);
        }
    });

    it('survive a kill in the middle of a refresh as canaries only in sealed form', async () => {
        const one = await connected(claviger, as, { dead: true, fault: { delay_after: 1_000 } });
        granted.push(one);
        const pending = call(one, 'killed').catch(() => {});
        await eventually('the request is there', async () => (await one.refreshes()).length === 1);
        await claviger.kill();
        await pending;
        claviger = await serve(store);
        for (const each of granted) each.endpoint = `${claviger.agentsUrl}/mcp/upstream`;
        await asked(one, 'after the kill');
    });

    it('are shown by no endpoint', async () => {
        for (const target of ['/metrics', '/healthz', '/readyz', '/v1/access_log?limit=100']) await say('GET', target);
        for (const route of getRoutes.filter((path) => !path.startsWith('vaults/{}/credentials/')))
            for (const target of targetsOf(route, { vaults: granted.map(({ vault }) => vault.id) })) await say('GET', target);
        for (const one of granted) {
            for (const route of getRoutes.filter((path) => path.startsWith('vaults/{}/credentials/{}')))
                await say('GET', one.credentialPath + route.slice('vaults/{}/credentials/{}'.length));
            await say('POST', `${one.credentialPath}/mcp_oauth_validate`, {});
            await say('GET', `/v1/access_log?session_id=${one.session.id}`);
        }
    });

    it('stand nowhere', async () => {
        await claviger.stop();
        const issued = await as.issued();
        const canaries = [
            ...issued.filter(({ kind }) => kind !== 'id_token').map(({ value }) => value),
            ...Object.values(as.clients).flatMap(({ client_secret }) => client_secret ?? []),
        ];
        assert.ok(canaries.length > 40, `only ${canaries.length} canaries`);
        assert.ok(heard.length > 150, `only ${heard.length} answers`);
        const places = [
            ...heard,
            ...filesIn(store.data).map((file) => ({ where: file, text: readFileSync(file).toString('latin1') })),
            { where: 'the log', text: readFileSync(store.log, 'latin1') },
            { where: 'stderr', text: claviger.child.errors() },
            { where: 'stdout', text: claviger.child.output() },
        ];
        for (const { where, text } of places) {
            assert.ok(!/canary-(at|rt|secret)/.test(text), `${where} holds the beginning of a canary`);
            for (const canary of canaries) assert.deepEqual(tracesOf(canary, text), [], `${where} shows ${canary.slice(0, 9)}`);
        }
    });

    it('would be found if they stood there', async () => {
        const [{ value }] = await as.issued();
        for (const text of [value, Buffer.from(`x${value}`).toString('base64'), encodeURIComponent(value)]) assert.ok(tracesOf(value, `a ${text} b`).length > 0);
    });
});
