// Token endpoints that fail, in every way they do: what still works goes on, what is lost is named, nothing is deleted.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, rmSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, makeStore, metric, serve, startClaviger, temporaryFolder } from './harness.mjs';
import { call, callWell, connected, fingerprint, grantOf, login, oauthAuth, startAuthorizationServer } from './oauth_world.mjs';

describe('A token endpoint that fails', () => {
    let as;
    let claviger;
    before(async () => {
        as = await startAuthorizationServer();
        claviger = await startClaviger();
    });
    after(() => claviger?.stop());

    /// Calls once, expects a refusal, and gives what the agent is told.
    async function refused(granted, id = 'refused') {
        const { message, text, raw } = await call(granted, id);
        assert.ok(message?.error, `the call went through: ${text}`);
        const { code, hint } = message.error.data;
        assert.ok(message.error.message.length > 20 && hint?.length > 10, text);
        assert.ok(!raw.includes('canary'), text);
        return { code, words: `${message.error.message} ${hint}` };
    }
    const state = async (granted) => (await grantOf(claviger, granted)).state;
    const reason = async (granted) => (await grantOf(claviger, granted)).reason;

    describe('for a while', () => {
        const html = '<html><h1>Maintenance</h1></html>';
        // What it answers each time, and for how long it is left alone after the first; until when it says so itself.
        for (const [name, answer, leastWait, untilIn] of [
            ['503', { status: 503, body: { error: 'temporarily_unavailable' } }, 2_000],
            ['503 with Retry-After in seconds', { status: 503, headers: { 'retry-after': '1' }, body: {} }, 1_000],
            ['503 with Retry-After as a date', { status: 503, body: {} }, 1_000, 6_000],
            ['429', { status: 429, headers: { 'retry-after': '1' }, body: { error: 'slow_down' } }, 1_000],
            ['500', { status: 500, body: html }, 2_000],
        ])
            it(`with ${name} does not end the grant, and the next try works (27)`, async () => {
                const fault = { kind: 'answer', count: 1000, ...answer };
                const date = untilIn && new Date(Date.now() + untilIn).toUTCString();
                if (date) fault.headers = { 'retry-after': date };
                const granted = await connected(claviger, as, { dead: true, fault });
                await refused(granted);
                await refused(granted);
                await eventually('it waits', async () => (await state(granted)) === 'backoff');
                await as.clearFaults();
                await eventually('it works again', async () => (await call(granted, 'later')).message?.result);
                const [first, second] = (await granted.refreshes()).map(({ at }) => at);
                assert.ok(second - first >= leastWait, `asked again after ${second - first} ms`);
                if (date && first < Date.parse(date)) assert.ok(second >= Date.parse(date) - 1_000, `asked again ${Date.parse(date) - second} ms too soon`);
            });

        it('is no matter as long as the old token lives', async () => {
            await as.mode({ access_ttl: 20 });
            const granted = await connected(claviger, as, { fault: { kind: 'answer', status: 503, body: {} } });
            await as.mode({ access_ttl: 3600 });
            let calls = 0;
            await eventually('it is asked, and asked again', async () => {
                await callWell(granted, ++calls);
                return (await granted.refreshes()).length >= 2;
            }, 30_000);
            await callWell(granted, ++calls);
        });

        it('waits longer after each failure, and never loses the grant (27)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'answer', status: 500, body: html, count: 1000 } });
            const end = Date.now() + 9_000;
            while (Date.now() < end) {
                await refused(granted);
                await sleep(100);
            }
            const times = (await granted.refreshes()).map(({ at }) => at);
            assert.ok(times.length >= 2 && times.length <= 4, `${times.length} requests in 9 s`);
            const waits = times.slice(1).map((at, index) => at - times[index]);
            for (const [index, wait] of waits.entries()) assert.ok(wait >= 2 ** (index + 1) * 1000 - 100, `waits were ${waits}`);
            assert.ok(['backoff', 'refreshing'].includes(await state(granted)));
            await as.clearFaults();
        });

        it('and is not there at all is tried again', async () => {
            const granted = await connected(claviger, as, { dead: true, refresh: { token_endpoint: 'http://127.0.0.1:1/token' } });
            const { words } = await refused(granted);
            assert.match(words, /reach|connect/);
            await eventually('it waits', async () => (await state(granted)) === 'backoff');
        });
    });

    describe('with an answer that says nothing certain', () => {
        for (const [name, fault] of [
            ['the request is dropped', { kind: 'drop_before' }],
            ['HTML comes with 200', { kind: 'answer', status: 200, body: '<html>Welcome</html>' }],
            ['a gateway says 502', { kind: 'answer', status: 502, body: '<html>Bad gateway</html>' }],
            ['JSON breaks off', { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body: '{"access_token":"x' }],
        ])
            it(`because ${name}, and was never acted on: it is asked once more, and works (28)`, async () => {
                const granted = await connected(claviger, as, { dead: true, fault });
                await eventually('the call works', async () => (await call(granted, 'again')).message?.result, 15_000);
                assert.equal((await granted.refreshes()).length, 2);
                assert.equal(await state(granted), 'ready');
            });

        for (const kind of ['drop_after', 'reset', 'truncate'])
            it(`because of ${kind}, after it acted: the grant is lost, and that is said (28, 43)`, async () => {
                const granted = await connected(claviger, as, { dead: true, fault: { kind } });
                await eventually('the loss is known', async () => {
                    const { message } = await call(granted, 'again');
                    assert.ok(message?.error, 'a call worked without a grant');
                    return (await state(granted)) === 'needs_reauth';
                }, 15_000);
                assert.equal(await reason(granted), 'refresh_outcome_lost');
                const requests = await granted.refreshes();
                assert.equal(requests.length, 2);
                assert.equal(new Set(requests.map(({ refresh }) => refresh)).size, 1);
                const { words } = await refused(granted);
                assert.match(words, /connect|sign in|again/i);
                assert.equal((await granted.refreshes()).length, 2, 'a dead grant was used');
            });

        it('after it acted, but forgives a second try: nothing is lost', async () => {
            await as.mode({ grace_ms: 30_000 });
            try {
                const granted = await connected(claviger, as, { dead: true, fault: { kind: 'drop_after' } });
                await eventually('the call works', async () => (await call(granted, 'again')).message?.result, 15_000);
                assert.equal(await state(granted), 'ready');
            } finally {
                await as.mode({ grace_ms: 0 });
            }
        });
    });

    describe('for good', () => {
        it('with invalid_grant asks for a person, deletes nothing, and goes on where it was after a reconnect (31)', async () => {
            const granted = await connected(claviger, as, { refused: true });
            await as.revoke(granted.tokens.refresh_token);
            const { words } = await refused(granted);
            assert.match(words, /connect|sign in/i);
            assert.equal(await state(granted), 'needs_reauth');
            for (let id = 0; id < 5; ++id) await refused(granted, id);
            assert.equal((await granted.refreshes()).length, 1, 'a dead grant was used again');
            const credential = await claviger.admin('GET', granted.credentialPath);
            assert.equal(credential.archived_at, null);

            const fresh = await login(as, { resource: granted.resource });
            const { access_token, expires_at, refresh } = oauthAuth(as, fresh);
            await claviger.admin('POST', granted.credentialPath, {
                auth: { type: 'mcp_oauth', access_token, expires_at, refresh: { refresh_token: refresh.refresh_token } },
            });
            await callWell(granted, 'reconnected');
            assert.equal(await state(granted), 'ready');
        });

        it('with invalid_grant does so although the access token still lives', async () => {
            await as.mode({ access_ttl: 20 });
            const granted = await connected(claviger, as, { fault: { kind: 'answer', status: 400, body: { error: 'invalid_grant' } } });
            await as.mode({ access_ttl: 3600 });
            await callWell(granted, 1);
            await eventually('the grant is given up', async () => (await state(granted)) === 'needs_reauth', 30_000);
            // The commit is seen here a moment before the engine has noted what follows from it.
            await eventually('calls are refused', async () => (await call(granted, 'refused yet')).message?.error);
            await refused(granted);
        });

        it('with invalid_client asks an operator, holds all grants of the client, and ends none (30)', async () => {
            const token_endpoint_auth = { type: 'client_secret_basic', client_secret: 'old' };
            const ours = { client: 'basic:1', refused: true, refresh: { token_endpoint_auth } };
            const [first, second] = [await connected(claviger, as, ours), await connected(claviger, as, ours)];
            const { words } = await refused(first);
            assert.match(words, /client/i);
            assert.equal((await first.refreshes())[0].error, 'invalid_client');
            for (const one of [first, second])
                await eventually('it is held', async () => (await state(one)) === 'needs_config');
            await refused(second);
            assert.equal((await second.refreshes()).length, 0, 'a refused client was tried for a sibling');

            const client_secret = as.clients['basic:1'].client_secret;
            for (const one of [first, second])
                await claviger.admin('POST', one.credentialPath, {
                    auth: { type: 'mcp_oauth', refresh: { token_endpoint_auth: { type: 'client_secret_basic', client_secret } } },
                });
            for (const one of [first, second]) await callWell(one, 'repaired');
        });

        it('with invalid_target asks an operator', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'answer', status: 400, body: { error: 'invalid_target' } } });
            const { words } = await refused(granted);
            assert.match(words, /invalid_target/);
            assert.equal(await state(granted), 'needs_config');
        });

        it('with 403 and invalid_grant, as Atlassian does, means the same (29)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { kind: 'answer', status: 403, body: { error: 'invalid_grant' } } });
            await refused(granted);
            assert.equal(await state(granted), 'needs_reauth');
        });
    });

    describe('slowly', () => {
        it('does not hold a call forever, and what comes late is kept (38)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { hold: 'after' } });
            const begun = Date.now();
            const { words } = await refused(granted);
            const waited = Date.now() - begun;
            assert.ok(waited > 3_000 && waited < 14_000, `the call waited ${waited} ms`);
            assert.match(words, /again|moment|late/);
            await as.release();
            await eventually('the token is there', async () => (await call(granted, 'late')).message?.result);
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('does not overwrite what a person stored meanwhile (39)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { hold: 'after' } });
            const pending = call(granted, 'pending');
            await as.held();
            const fresh = await login(as, { resource: granted.resource });
            const { access_token, expires_at } = oauthAuth(as, fresh);
            await claviger.admin('POST', granted.credentialPath, {
                auth: { type: 'mcp_oauth', access_token, expires_at, refresh: { refresh_token: fresh.refresh_token } },
            });
            await as.release();
            await pending;
            await callWell(granted, 'after');
            const [used] = (await granted.seen()).filter(({ id }) => id === 'after').map(({ token }) => token);
            assert.equal(used, fingerprint(access_token));
        });

        it('does not leave the call without an answer when the server stops', async () => {
            const stopping = await startClaviger({ config: { limits: { drain_ms: 1_000 } } });
            const granted = await connected(stopping, as, { dead: true, fault: { hold: 'after' } });
            const pending = call(granted, 'pending');
            await as.held();
            await eventually('the call has come, too', async () => (await metric(stopping, 'claviger_calls_in_flight')) === 1);
            stopping.child.kill('SIGTERM');
            const { message } = await pending;
            assert.equal(message.error.data.code, 'grant.refreshing');
            await as.release();
            assert.deepEqual(await stopping.child.exited, { code: 0, signal: null });
        });

        it('is waited for when the server stops, so that nothing is lost (49)', async () => {
            const store = await makeStore({ config: { limits: { drain_ms: 10_000 } } });
            const first = await serve(store);
            const granted = await connected(first, as, { dead: true, fault: { delay_after: 1_500 } });
            const pending = call(granted, 'pending').catch((error) => error);
            await eventually('the request is on its way', async () => (await granted.refreshes()).length === 1);
            first.child.kill('SIGTERM');
            const end = await first.child.exited;
            assert.deepEqual(end, { code: 0, signal: null });
            await pending;
            const second = await serve(store);
            await callWell({ ...granted, endpoint: `${second.agentsUrl}/mcp/upstream` }, 'after');
            assert.equal((await granted.refreshes()).length, 1, 'the answer was not stored');
            await second.stop();
        });
    });

    const canTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;
    const skip = canTrace ? false : 'strace is missing or not permitted here';
    it('is used although there is no room to journal it, which is told (45)', { skip }, async () => {
        const narrow = await startClaviger();
        const granted = await connected(narrow, as, { refused: true });
        const full = spawn('strace', ['-f', '-p', String(narrow.child.pid), '-o', '/dev/null', '-e', 'trace=fsync', '-e', 'inject=fsync:error=ENOSPC'], {
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        await new Promise((resolve, reject) => {
            full.stderr.on('data', (text) => /attached/.test(text) && resolve());
            full.once('exit', () => reject(new Error('strace could not be attached')));
        });
        await callWell(granted, 'pending', 'read_note', { limitMs: 30_000 });
        full.kill('SIGTERM');
        await new Promise((resolve) => full.once('exit', resolve));
        const metrics = await fetch(`${narrow.adminUrl}/metrics`, { headers: { 'x-api-key': narrow.admin_api_key } });
        assert.match(await metrics.text(), /^claviger_refresh_journal_failures_total [1-9]/m);
        assert.match(narrow.readLog(), /refresh\.not_journalled/);
        await callWell(granted, 'after');
        assert.equal((await granted.refreshes()).length, 1);
        await narrow.stop();
    });

    it('is not asked for while the journal has no room, and by itself when it has (45)', async (context) => {
        const data = path.join(temporaryFolder(), 'data');
        const store = await makeStore({ data });
        const journal = path.join(data, 'journal');
        mkdirSync(journal, { mode: 0o700 });
        const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', journal]);
        if (status !== 0) return context.skip('a small tmpfs cannot be mounted here');
        const filler = path.join(journal, 'of-others');
        let narrow;
        try {
            narrow = await serve(store);
            const good = await connected(narrow, as);
            spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k', 'count=1000']);
            const granted = await connected(narrow, as, { dead: true }); // is due at once
            for (const id of [1, 2]) {
                const refused = await call(granted, id);
                assert.equal(refused.message.error.data.code, 'grant.journal_unavailable', refused.text);
            }
            assert.equal((await granted.refreshes()).length, 0);
            await callWell(good, 3);
            const { state, renewal_blocked } = await grantOf(narrow, granted);
            assert.deepEqual([state, renewal_blocked.code], ['ready', 'journal_unavailable']);
            const ready = await fetch(`${narrow.adminUrl}/readyz`);
            assert.deepEqual([ready.status, (await ready.json()).degraded], [200, 'journal_unavailable']);
            const metrics = async () => (await fetch(`${narrow.adminUrl}/metrics`)).text();
            assert.match(await metrics(), /^claviger_refresh_journal_writable 0$/m);
            unlinkSync(filler);
            await callWell(granted, 4);
            assert.equal((await granted.refreshes()).length, 1);
            assert.match(await metrics(), /^claviger_refresh_journal_writable 1$/m);
            assert.equal((await grantOf(narrow, granted)).renewal_blocked, null);
            assert.equal((await (await fetch(`${narrow.adminUrl}/readyz`)).json()).degraded, undefined);
        } finally {
            await narrow?.stop();
            spawnSync('umount', ['-l', journal]);
        }
    });

    it('for two that were restored from one backup is named by the second (43)', async () => {
        const store = await makeStore();
        const first = await serve(store);
        const granted = await connected(first, as, { refused: true });
        await first.stop();
        const copy = await makeStore();
        rmSync(copy.data, { recursive: true });
        cpSync(store.data, copy.data, { recursive: true });
        copyFileSync(path.join(store.folder, 'seal.key'), path.join(copy.folder, 'seal.key'));
        for (const [one, works] of [[store, true], [{ ...copy, admin_api_key: store.admin_api_key }, false]]) {
            const twin = await serve(one);
            const { message, text } = await call({ ...granted, endpoint: `${twin.agentsUrl}/mcp/upstream` }, 1);
            assert.equal(message?.result !== undefined, works, text);
            const { state } = await grantOf(twin, granted);
            assert.equal(state, works ? 'ready' : 'needs_reauth');
            await twin.stop();
        }
    });
});
