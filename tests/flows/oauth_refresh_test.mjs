// Access tokens that run out, over the real wire: refreshed in time or when refused, once for everybody, and never lost.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, startClaviger } from './harness.mjs';
import { call, callWell, connected, fingerprint, startAuthorizationServer } from './oauth_world.mjs';

describe('A refreshed token', () => {
    let as;
    let claviger;
    before(async () => {
        as = await startAuthorizationServer();
        claviger = await startClaviger();
    });
    after(() => claviger?.stop());

    const statuses = async (granted, id) => (await granted.seen()).filter((one) => one.id === id).map((one) => one.status);

    it('is fetched before the call when the old one is known to be over (3)', async () => {
        const granted = await connected(claviger, as, { dead: true });
        await callWell(granted, 1);
        const [request, ...more] = await granted.refreshes();
        assert.equal(more.length, 0);
        assert.deepEqual([request.status, request.refresh], [200, fingerprint(granted.tokens.refresh_token)]);
        assert.match(request.accept, /application\/json/);
        const seen = await granted.seen();
        assert.deepEqual(seen.map(({ status, live }) => [status, live]), [[200, true]], 'the dead token was sent');
        await callWell(granted, 2);
        assert.equal((await granted.refreshes()).length, 1);
    });

    it('is fetched once for 100 calls at the same time (36)', async () => {
        const granted = await connected(claviger, as, { dead: true, fault: { hold: 'after' } });
        const calls = Array.from({ length: 100 }, (_, id) => call(granted, id));
        await as.held();
        await sleep(1_000); // all of them wait
        await as.release();
        const answers = await Promise.all(calls);
        assert.deepEqual([...new Set(answers.map(({ message }) => Boolean(message?.result)))], [true]);
        assert.equal((await granted.refreshes()).length, 1);
        const seen = await granted.seen();
        assert.equal(seen.length, 100);
        assert.equal(new Set(seen.map(({ token }) => token)).size, 1);
    });

    it('is fetched by itself, before the old one ends, and no call waits for it (3)', async () => {
        await as.mode({ access_ttl: 12 });
        const end = Date.now() + 12_000;
        const granted = await connected(claviger, as);
        await as.mode({ access_ttl: 3600 });
        await callWell(granted, 1);
        await eventually('a refresh by itself', async () => (await granted.refreshes()).length > 0);
        assert.ok((await granted.refreshes())[0].at < end, 'only when the old one had ended');
        await eventually('the new token is used', async () => {
            await callWell(granted, 2);
            return new Set((await granted.seen()).map(({ token }) => token)).size === 2;
        });
        assert.equal((await granted.refreshes()).length, 1);
        assert.ok((await granted.seen()).every(({ status }) => status === 200));
    });

    it('replaces one that the server refused, and the call is repeated once', async () => {
        for (const expires_at of ['unknown', undefined]) {
            const granted = await connected(claviger, as, { expires_at });
            await as.expire(granted.tokens.access_token);
            await callWell(granted, 1);
            assert.deepEqual(await statuses(granted, 1), [401, 200]);
            assert.equal((await granted.refreshes()).length, 1);
            await callWell(granted, 2);
            assert.deepEqual(await statuses(granted, 2), [200]);
        }
    });

    it('serves every call that was refused meanwhile, each repeated once (35)', async () => {
        const granted = await connected(claviger, as, { refused: true, fault: { delay_after: 200 } });
        await Promise.all(Array.from({ length: 20 }, (_, id) => callWell(granted, id)));
        assert.equal((await granted.refreshes()).length, 1);
        for (let id = 0; id < 20; ++id) {
            const got = await statuses(granted, id);
            assert.ok(got.at(-1) === 200 && got.length <= 2, `call ${id} was answered ${got}`);
        }
    });

    it('that the server refuses as well ends in an explained error, not in a loop (32)', async () => {
        const granted = await connected(claviger, as);
        await as.resourceMode({ refuse: 1000 });
        try {
            const first = await call(granted, 1);
            assert.ok(first.message.error, first.text);
            assert.match(first.message.error.message + first.message.error.data?.hint, /accept|refus/);
            assert.deepEqual(await statuses(granted, 1), [401, 401]);
            for (const id of [2, 3, 4]) assert.ok((await call(granted, id)).message.error);
            assert.equal((await granted.refreshes()).length, 1);
        } finally {
            await as.resourceMode({ refuse: 0 });
        }
    });

    it('keeps its refresh token when the answer brings none (4)', async () => {
        await as.mode({ rotate: false, access_ttl: 3 });
        const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', remove: ['refresh_token'], count: 9 } });
        try {
            await callWell(granted, 1);
            await sleep(3_200);
            await callWell(granted, 2);
        } finally {
            await as.mode({ rotate: true, access_ttl: 3600 });
        }
        const refreshes = await granted.refreshes();
        assert.ok(refreshes.length >= 2);
        assert.deepEqual([...new Set(refreshes.map((one) => one.refresh))], [fingerprint(granted.tokens.refresh_token)]);
    });

    describe('with client authentication (25)', () => {
        for (const [client, how] of [
            ['public', undefined],
            ['basic:1', 'basic'],
            ['post', undefined],
        ])
            it(`of the client '${client}'`, async () => {
                const granted = await connected(claviger, as, { client, dead: true });
                await callWell(granted, 1);
                const [request] = await granted.refreshes();
                assert.deepEqual([request.status, request.auth, request.client], [200, how, client]);
                assert.equal(request.form.includes('client_secret'), client === 'post');
            });
    });

    it('asks for scope and resource as the credential says', async () => {
        const granted = await connected(claviger, as, { dead: true, scope: 'mcp:read mcp:write', refresh: { scope: 'mcp:read' } });
        await callWell(granted, 1);
        const [request] = await granted.refreshes();
        assert.equal(request.resource, granted.resource);
        assert.ok([undefined, 'mcp:read'].includes(request.scope));
    });

    describe('with a lifetime that reads', () => {
        const cases = [['missing'], ['0', 0], ['-1', -1], ['"3600"', '3600'], ['3600.5', 3600.5], ['1e12', 1e12], ['"abc"', 'abc'], ['null', null], ['[]', []]];
        for (const [name, value] of cases)
            it(`${name} is used, and lost by nobody (23)`, async () => {
                const change = value === undefined ? { remove: ['expires_in'] } : { set: { expires_in: value } };
                const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', ...change } });
                await callWell(granted, 1);
                for (const id of [2, 3]) await callWell(granted, id);
                const refreshes = await granted.refreshes();
                assert.ok(refreshes.length <= 4 && refreshes.every(({ status }) => status === 200), `${refreshes.length} refreshes`);
            });
    });

    describe('that cannot be one', () => {
        const canaries = ['x-canary-header', 'canary-line'];
        for (const [name, set] of [
            ['with a line break in the access token', { access_token: 'a\r\nX-Canary-Header: canary-line' }],
            ['with a line feed in the access token', { access_token: 'a\nX-Canary-Header: canary-line' }],
            ['with a zero byte in the access token', { access_token: 'a\0b' }],
            ['with an empty access token', { access_token: '' }],
            ['with a number for an access token', { access_token: 7 }],
            ['of a type nobody knows', { token_type: 'mac' }],
        ])
            it(`${name} is refused and never sent (24)`, async () => {
                const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', set } });
                const { message, text, raw } = await call(granted, 1);
                assert.ok(message?.error, text);
                assert.ok(message.error.message.length > 20, text);
                for (const canary of canaries) assert.ok(!raw.toString('latin1').toLowerCase().includes(canary), text);
                assert.deepEqual(await granted.seen(), []);
                for (const { headers } of await as.seen()) assert.ok(!headers.includes('x-canary-header'));
            });

        it('with a line break in the refresh token reaches no header and no form (24)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'rewrite', set: { refresh_token: 'a\r\nX-Canary-Header: canary-line&grant_type=x' } } });
            await call(granted, 1);
            for (const { headers } of await as.seen()) assert.ok(!headers.includes('x-canary-header'));
            assert.ok((await granted.refreshes()).length <= 2);
        });
    });

    it('is fetched for many grants at once, but only by a few at a time (50)', async () => {
        const many = [];
        for (let index = 0; index < 12; ++index)
            many.push(await connected(claviger, as, { refused: true, fault: { delay_after: 400 } }));
        await Promise.all(many.map((one) => callWell(one, 1)));
        const requests = [];
        for (const one of many) requests.push(...(await one.refreshes()));
        assert.equal(requests.length, 12);
        const most = Math.max(...requests.map(({ together }) => together));
        assert.ok(most <= 4, `${most} at a time`);
        assert.ok(most > 1, 'one after the other');
    });
});
