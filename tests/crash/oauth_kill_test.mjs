// kill -9 at the five points of a refresh where it matters, against a provider that ends the grant when a refresh token
// comes twice, and against one that forgives: afterwards the grant works, or its loss has a name.
//
//   C1  the attempt is on record, nothing is sent     C4  the answer is in the journal, the row is old
//   C2  sent, the provider has acted, no answer read  C5  the row is new, nobody was told
//   C3  the answer is in memory, not yet on disk
//
// Likewise in the exchange of a code, after a registration that is not stored yet, and while tokens are revoked.
//
// C1, C3, C4 and C5 are hit on the system call that comes next, with strace. OAUTH_CRASH_ROUNDS sets how often each
// point is tried (default 2; every night 50).
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, grant, makeStore, serve } from '../flows/harness.mjs';
import { browse, call, callWell, connected, fingerprint, startAuthorizationServer } from '../flows/oauth_world.mjs';

const rounds = Math.max(1, Number(process.env.OAUTH_CRASH_ROUNDS ?? 2));
const canTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;

const points = [
    { name: 'C1, recorded and not sent', dies: { at: 'connect' }, strict: 'ok', grace: 'ok' },
    { name: 'C2, sent and not answered', strict: 'lost', grace: 'ok' },
    { name: 'C3, in memory only', dies: { at: 'rename' }, strict: 'lost', grace: 'ok' },
    { name: 'C4, in the journal only', dies: { at: 'fsync', when: 2 }, strict: 'ok', grace: 'ok' },
    { name: 'C5, stored and told to nobody', dies: { at: 'unlink' }, strict: 'ok', grace: 'ok' },
];

/// The process gets SIGKILL as soon as it enters that system call.
async function killAt(pid, { at, when = 1 }) {
    const tracer = spawn('strace', ['-f', '-p', String(pid), '-o', '/dev/null', '-e', `trace=${at}`, '-e', `inject=${at}:signal=SIGKILL:when=${when}`], {
        stdio: ['ignore', 'ignore', 'pipe'],
    });
    let words = '';
    tracer.stderr.setEncoding('utf8').on('data', (part) => (words += part));
    const gone = new Promise((resolve) => tracer.once('exit', resolve));
    let lines = -1;
    await eventually(`strace watches ${pid}: ${words}`, () => {
        const settled = /attached/.test(words) && words.length === lines;
        lines = words.length;
        return settled;
    });
    return { gone, end: () => tracer.kill('SIGTERM') };
}

describe(`kill -9 during a refresh, ${rounds} times at each point`, () => {
    let as;
    let store;
    let claviger;
    before(async () => {
        as = await startAuthorizationServer();
        store = await makeStore({ config: { threads: 1 } }); // so that the only new connection is the one to the provider
        claviger = await serve(store);
    });
    after(() => claviger?.kill());

    /// Does what brings the process to the point, and waits for its end there.
    async function dieIn(dies, bringThere) {
        const { child } = claviger;
        const watch = await killAt(child.pid, dies);
        await bringThere();
        await Promise.race([child.exited, sleep(10_000)]);
        watch.end();
        assert.ok(child.signalCode === 'SIGKILL', `the process did not come to this point (${child.exitCode})`);
    }

    /// The provider holds an answer. The process gets it and dies at the point; without a point it never gets it.
    async function dieAtAnswer(dies) {
        await as.held();
        if (dies) return dieIn(dies, () => as.release());
        await claviger.kill();
        await as.drop();
    }

    /// Brings the process to the point of a refresh, kills it there and starts the next one.
    async function dieAt({ dies }, granted) {
        let pending;
        const doomedCall = () => (pending = call(granted, 'doomed').catch(() => {}));
        if (dies?.at === 'connect') {
            await dieIn(dies, () => void doomedCall());
        } else {
            await granted.fault({ hold: 'after' });
            doomedCall();
            await dieAtAnswer(dies);
        }
        await pending;
        claviger = await serve(store);
        return { ...granted, endpoint: `${claviger.agentsUrl}/mcp/upstream` };
    }

    for (const rotation of ['strict', 'grace'])
        for (const point of points) {
            const skip = point.dies && !canTrace ? 'strace is missing or not permitted here' : false;
            it(`${point.name}, with a ${rotation} provider: ${point[rotation]} (44)`, { skip }, async () => {
                await as.mode({ grace_ms: rotation === 'grace' ? 120_000 : 0 });
                for (let round = 1; round <= rounds; ++round) {
                    const before = await connected(claviger, as, { expires_at: 'unknown' });
                    await callWell(before, 'before');
                    await as.expire(before.tokens.access_token);
                    // The first round lets the new token die, too: only the right refresh token brings a third one. One
                    // that was given out twice must outlive the restart.
                    const lifetime = round > 1 ? 3600 : rotation === 'grace' ? 8 : 3;
                    await as.mode({ access_ttl: lifetime });
                    const granted = await dieAt(point, before);
                    await as.mode({ access_ttl: 3600 });
                    let outcome;
                    await eventually(`round ${round}: an outcome`, async () => {
                        const { message } = await call(granted, `after ${round}`);
                        const code = message?.error?.data.code;
                        if (message?.result) outcome = 'ok';
                        else if (code === 'grant.refresh_outcome_lost') outcome = 'lost';
                        else if (/needs_|not_connected/.test(code)) outcome = code;
                        return outcome;
                    }, 20_000);
                    assert.equal(outcome, point[rotation], `round ${round}`);
                    const processed = (await granted.refreshes()).filter((one) => one.processed);
                    assert.ok(processed.length <= 2, `round ${round}: ${processed.length} token requests`);
                    if (round === 1 && outcome === 'ok') {
                        await sleep(lifetime * 1_000 + 100);
                        await callWell(granted, 'with a third token');
                    }
                    await claviger.admin('POST', `${granted.credentialPath}/archive`, {});
                }
            });
        }

    for (const { name, dies, outcome } of [
        { name: 'sent and not answered', outcome: 'connect.outcome_unknown' },
        { name: 'in memory only', dies: { at: 'rename' }, outcome: 'connect.outcome_unknown' },
        { name: 'in the journal only', dies: { at: 'fsync', when: 2 }, outcome: 'connected' },
        { name: 'stored and told to nobody', dies: { at: 'unlink' }, outcome: 'connected' },
    ]) {
        const skip = dies && !canTrace ? 'strace is missing or not permitted here' : false;
        it(`the answer to a code, ${name}: ${outcome} (44)`, { skip }, async () => {
            for (let round = 1; round <= rounds; ++round) {
                const resource = `${as.resource}/consent-${name.length}-${round}`;
                const vault = await claviger.admin('POST', '/v1/vaults', { display_name: name });
                const links = `/v1/vaults/${vault.id}/connect_links`;
                const link = await claviger.admin('POST', links, { server_url: resource });
                await as.fault({ hold: 'after', resource, grant: 'authorization_code' });
                const followed = browse(`${link.url}/start`, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true }).catch(() => {});
                await dieAtAnswer(dies);
                await followed;
                claviger = await serve(store);
                const look = () => claviger.admin('GET', `${links}/${link.id}`);
                if (outcome === 'connected') {
                    await eventually(`round ${round}: it is connected`, async () => (await look()).status === 'connected', 20_000);
                    const granted = await grant(claviger, { url: resource, vault });
                    await callWell(granted, `after ${round}`);
                    const { credential_id } = await look();
                    const { state } = await claviger.admin('GET', `/v1/vaults/${vault.id}/credentials/${credential_id}/grant`);
                    assert.equal(state, 'ready');
                } else {
                    await eventually(`round ${round}: it is over`, async () => (await look()).status === 'failed', 5_000);
                    assert.equal((await look()).problem.code, outcome);
                    await sleep(2_000); // nothing may bring it back, least of all the same code
                    const { data } = await claviger.admin('GET', `/v1/vaults/${vault.id}/credentials`);
                    assert.equal(data.length, 0);
                }
                const exchanges = (await as.tokenRequests('authorization_code')).filter((one) => one.resource === resource);
                assert.equal(exchanges.length, 1, 'a code was sent twice');
            }
        });
    }

    it('a registration that nobody stored is made again by the next start (44)', async () => {
        for (let round = 1; round <= rounds; ++round) {
            const resource = `${as.resource}/registration-${round}`;
            const vault = await claviger.admin('POST', '/v1/vaults', { display_name: 'registration' });
            const { data } = await claviger.admin('GET', '/v1/oauth_clients');
            for (const client of data) await claviger.admin('DELETE', `/v1/oauth_clients/${client.id}`);
            const links = `/v1/vaults/${vault.id}/connect_links`;
            const link = await claviger.admin('POST', links, { server_url: resource });
            await as.fault({ path: '/reg', hold: 'after' });
            const pending = fetch(`${link.url}/start`, { redirect: 'manual' }).catch(() => {});
            await as.held();
            await claviger.kill();
            await as.drop();
            await pending;
            claviger = await serve(store);
            const address = `${claviger.adminUrl}${new URL(link.url).pathname}/start`;
            const until = Date.now();
            const { status, text } = await browse(address, { until: `${claviger.adminUrl}/oauth/callback`, fetchLast: true });
            assert.equal(status, 200, text);
            assert.ok(Date.now() - until < 60_000, 'the dead start held the next one up');
            await callWell(await grant(claviger, { url: resource, vault }), `after ${round}`);
        }
    });

    it('tokens that were let go are revoked after the next start, if not before (44)', async () => {
        for (let round = 1; round <= rounds; ++round) {
            const granted = await connected(claviger, as);
            const asked = async () =>
                (await as.log()).filter((one) => one.path === '/token/revocation' && one.token === fingerprint(granted.tokens.refresh_token));
            await as.fault({ path: '/token/revocation', hold: 'before' });
            await claviger.admin('POST', `${granted.credentialPath}/archive`, {});
            await as.held();
            await claviger.kill();
            await as.drop();
            claviger = await serve(store);
            await eventually(`round ${round}: they are revoked`, async () => {
                const { state } = await claviger.admin('GET', `${granted.credentialPath}/grant`);
                return state === 'revoked' && (await asked()).length >= 2;
            }, 90_000);
        }
    });

    it('never left anything that the store does not open with', async () => {
        assert.doesNotMatch(claviger.readLog(), /AddressSanitizer|runtime error|corrupt/);
        assert.deepEqual(await claviger.stop(), { code: 0, signal: null });
        claviger = await serve(store);
    });
});
