// Agents with nothing but a session token, official SDKs on both sides, 200 calls a second, and an access token that
// lives for five seconds: not one call fails while it is replaced twenty times.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startClaviger } from './harness.mjs';
import { connected, startAuthorizationServer } from './oauth_world.mjs';

const packages = createRequire(import.meta.url);
const generations = [
    {
        ...packages('@modelcontextprotocol/sdk/client/index.js'),
        ...packages('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    },
    packages('@modelcontextprotocol/client'),
];
const callsPerSecond = 200;
const rotations = 20;
const tokenLivesSeconds = 5;
const limitMs = 120_000;

it(`${callsPerSecond} calls a second through ${rotations} rotations, and not one fails (41)`, async (context) => {
    const as = await startAuthorizationServer();
    const claviger = await startClaviger({ config: { log: { level: 'warning' } } });
    await as.mode({ access_ttl: tokenLivesSeconds, old_access_dies: false });
    const granted = await connected(claviger, as, { client: 'basic:1' });

    const clients = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => {
            const { Client, StreamableHTTPClientTransport } = generations[index % generations.length];
            const client = new Client({ name: 'load', version: '1' });
            await client.connect(
                new StreamableHTTPClientTransport(new URL(granted.endpoint), {
                    requestInit: { headers: { authorization: `Bearer ${granted.sessionToken}` } },
                }),
            );
            return client;
        }),
    );

    const failures = [];
    const running = new Set();
    let started = 0;
    let slowest = 0;
    const begun = Date.now();
    const oneCall = (note) => {
        const sentAt = Date.now();
        const done = clients[started % clients.length]
            .callTool({ name: 'read_note', arguments: { note } })
            .then(
                ({ content }) => content[0].text === `read_note: ${note}` || failures.push(`${note}: ${content[0].text}`),
                (error) => failures.push(`${note}: ${error.message}`),
            )
            .finally(() => {
                slowest = Math.max(slowest, Date.now() - sentAt);
                running.delete(done);
            });
        running.add(done);
    };
    let rotated = 0;
    let lookAgain = 0;
    while (rotated < rotations && Date.now() - begun < limitMs) {
        const due = ((Date.now() - begun) * callsPerSecond) / 1000;
        for (; started < due; ++started) oneCall(`note ${started}`);
        if (Date.now() > lookAgain) {
            rotated = (await granted.refreshes()).filter(({ status }) => status === 200).length;
            lookAgain = Date.now() + 1_000;
        }
        await sleep(5);
    }
    const seconds = (Date.now() - begun) / 1000;
    await Promise.all(running);

    const [refreshes, seen] = [await granted.refreshes(), await granted.seen()];
    const tokens = new Set(seen.map(({ token }) => token)).size;
    context.diagnostic(
        `${started} calls in ${seconds.toFixed(1)} s, ${refreshes.length} refreshes, ${tokens} access tokens, slowest call ${slowest} ms`,
    );
    assert.deepEqual(failures.slice(0, 5), [], `${failures.length} of ${started} calls failed`);
    assert.ok(rotated >= rotations, `only ${rotated} rotations in ${seconds} s`);
    assert.equal(new Set(refreshes.map(({ refresh }) => refresh)).size, refreshes.length, 'a refresh token was sent twice');
    assert.ok(tokens >= rotations, `only ${tokens} access tokens were used`);
    assert.ok(refreshes.length <= seconds * 2, `${refreshes.length} refreshes in ${seconds} s`);

    await Promise.all(clients.map((client) => client.close()));
    await claviger.stop();
});
