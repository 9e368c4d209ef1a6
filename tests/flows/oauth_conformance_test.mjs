// The official conformance suite in client mode: its server sees Claviger, driven by a tiny agent that has nothing but a
// session token. The suite listens on all addresses, so everything happens in a network namespace of its own.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually, makeStore, node22, nodeSupport, run, serve, temporaryFolder } from './harness.mjs';

const packages = createRequire(import.meta.url);
const suite = packages.resolve('@modelcontextprotocol/conformance/dist/index.js');
const agent = `${node22()} ${path.join(nodeSupport, 'conformance_agent.mjs')}`;
const isolated = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
const skip = isolated ? false : 'a network namespace cannot be made here (root may)';

describe('The official conformance suite in client mode', { skip }, () => {
    let holder;
    let inside;
    let claviger;
    before(async () => {
        holder = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up && echo up && exec sleep 600'], { stdio: ['ignore', 'pipe', 'ignore'] });
        await new Promise((resolve) => holder.stdout.once('data', resolve));
        inside = ['nsenter', '-t', String(holder.pid), '-n'];
        const store = await makeStore({ config: { admin: { public_url: 'https://claviger.example.com' } } });
        claviger = await serve(store, { prefix: inside });
    });
    after(async () => {
        await claviger?.stop();
        holder?.kill('SIGKILL');
    });

    async function conformance(selection, more = {}) {
        const [command, ...args] = [...inside, node22(), suite, 'client', '--command', agent, ...selection];
        const { code, stdout, stderr } = await run(command, args, {
            limitMs: 240_000,
            cwd: temporaryFolder(),
            env: {
                ...process.env,
                CLAVIGER_ADMIN_URL: claviger.adminUrl,
                CLAVIGER_ADMIN_KEY: claviger.admin_api_key,
                CLAVIGER_AGENTS_URL: claviger.agentsUrl,
                ...more,
            },
        });
        return { code, output: `${stdout}\n${stderr}` };
    }

    /// Every scenario has its line, whether it counts or not.
    const scenariosIn = (output) =>
        new Map([...output.matchAll(/^[✓✗] (\S+): (\d+) passed, (\d+) failed(.*)$/gm)].map(([line, name]) => [name, line]));

    for (const { revision, scored } of [
        { revision: '2025-11-25', scored: 18 },
        { revision: '2026-07-28', scored: 32 },
    ])
        it(`is passed for ${revision} in every scenario that counts (12, 15, 17, 18, 34)`, async (context) => {
            const { code, output } = await conformance(['--requirements', revision]);
            const scenarios = scenariosIn(output);
            const unscored = [...output.matchAll(/^ +[✓✗] (\S+) \(/gm)].map(([, name]) => name);
            for (const name of unscored) context.diagnostic(`not scored: ${scenarios.get(name)}`);
            for (const name of unscored) scenarios.delete(name);
            const failed = [...scenarios.values()].filter((line) => line.startsWith('✗'));
            assert.deepEqual(failed, [], output.slice(-20_000));
            assert.equal(code, 0, output.slice(-20_000));
            assert.ok(scenarios.size >= scored, `${scenarios.size} scenarios`);
        });

    for (const extension of ['enterprise-managed-authorization', 'wif-jwt-bearer'])
        it(`passes the extension ${extension} (10)`, async () => {
            const { code, output } = await conformance(['--scenario', `auth/${extension}`, '--verbose']);
            assert.match(output, /Passed: (\d+)\/\1, 0 failed, 0 warnings/, output.slice(-20_000));
            assert.equal(code, 0);
        });

    it('sees the metadata document of Claviger where a server takes one (12)', async () => {
        const scenario = ['--scenario', 'auth/basic-cimd', '--spec-version', '2026-07-28', '--verbose'];
        const { output } = await conformance(scenario, { CLAVIGER_OWN_CLIENT: 'yes' });
        assert.match(output, /"actualClientId": "https:\/\/claviger\.example\.com\/oauth\/client\.json"/);
        assert.match(output, /Passed: 1\d\/1\d, 0 failed, 1 warnings/); // the suite knows only its own example by name
    });
});
