// The official MCP conformance suite, against the fixture directly and through Claviger: the proxy may change nothing.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import {
    freshSecret,
    grant,
    node22,
    nodeSupport,
    run,
    startClaviger,
    startFixture,
    temporaryFolder,
} from './harness.mjs';

const packages = createRequire(import.meta.url);
const suite = packages.resolve('@modelcontextprotocol/conformance/dist/index.js');

const revisions = [
    { name: '2025-11-25', selection: ['--requirements', '2025-11-25'], expected: { passed: 84, failed: 0 } },
    {
        name: '2026-07-28',
        selection: ['--suite', 'all', '--spec-version', '2026-07-28'],
        expected: { passed: 152, failed: 0 },
    },
];

/// Runs the suite against `url` with `token` on every request and returns its own count.
async function conformance(url, token, selection) {
    const { code, stdout, stderr } = await run(node22(), [suite, 'server', '--url', url, ...selection], {
        limitMs: 120_000,
        cwd: temporaryFolder(),
        env: {
            ...process.env,
            NODE_OPTIONS: `--require ${path.join(nodeSupport, 'addauth.cjs')}`,
            CLAVIGER_AUTH: `Bearer ${token}`,
            CLAVIGER_AUTH_ORIGIN: new URL(url).origin,
        },
    });
    const total = /^Total: (\d+) passed, (\d+) failed/m.exec(stdout);
    if (!total)
        throw new Error(
            `the suite printed no total (code ${code}): ${stderr.slice(-2000)}${stdout.slice(-2000)}`,
        );
    return {
        code,
        passed: Number(total[1]),
        failed: Number(total[2]),
        report: stdout
            .split('\n')
            .filter((line) => /^\s*✗/.test(line))
            .join('\n'),
        output: stdout,
    };
}

describe('The official conformance suite', () => {
    const upstreamToken = freshSecret('conformance');
    let fixture;
    let granted;
    before(async () => {
        fixture = await startFixture(upstreamToken);
        const claviger = await startClaviger();
        granted = await grant(claviger, { url: fixture.url, token: upstreamToken, serverName: 'fixture' });
    });

    for (const { name, selection, expected } of revisions) {
        it(`passes for ${name} without Claviger, so that the fixture can be trusted`, async () => {
            const direct = await conformance(fixture.url, upstreamToken, selection);
            assert.deepEqual({ passed: direct.passed, failed: direct.failed }, expected, direct.report);
            assert.equal(direct.code, 0);
        });

        it(`passes for ${name} through Claviger with the same count`, async () => {
            await fixture.forget();
            const proxied = await conformance(granted.endpoint, granted.sessionToken, selection);
            assert.deepEqual(
                { passed: proxied.passed, failed: proxied.failed },
                expected,
                `${proxied.report}\n${proxied.output.slice(-20_000)}`,
            );
            assert.equal(proxied.code, 0);

            const seen = await fixture.seen();
            assert.ok(seen.length > 50, `the fixture saw only ${seen.length} requests`);
            for (const request of seen)
                assert.equal(request.headers.authorization, `Bearer ${upstreamToken}`);
        });
    }

    it('fails when the token is wrong, so that the counts above mean something', async () => {
        const refused = await conformance(fixture.url, 'wrong', ['--requirements', '2025-11-25']);
        assert.notEqual(refused.code, 0);
        assert.ok(refused.failed > 0);
    });
});
