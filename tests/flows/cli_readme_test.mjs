// The commands of README.md, run as they stand there, against a server of their own. Only the ports differ.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, freePort, run, temporaryFolder, tracesOf } from './harness.mjs';

const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
const blocks = [...readme.matchAll(/```sh\n(.*?)```/gs)].map(([, text]) => text);

describe('README.md', () => {
    it('has commands that work, one after the other', async () => {
        assert.ok(blocks.length >= 4, `${blocks.length} blocks`);
        const folder = temporaryFolder();
        mkdirSync(path.join(folder, 'bin'));
        symlinkSync(binary, path.join(folder, 'bin/claviger'));
        const [agents, admin] = [await freePort(), await freePort()];
        const settings = `"agents": {"port": ${agents}}, "admin": {"port": ${admin}}, "seal"`;
        const script = [
            'set -euo pipefail',
            "trap 'kill %1; wait' EXIT",
            ...blocks.map((block) => block.replace('"seal"', settings)),
            'grep -c . serve.out >&2',
        ].join('\n');
        writeFileSync(path.join(folder, 'walk.sh'), script);

        const done = await run('bash', ['walk.sh'], {
            cwd: folder,
            limitMs: 60_000,
            env: {
                PATH: `${path.join(folder, 'bin')}:${process.env.PATH}`,
                HOME: folder,
                CLAVIGER_URL: `http://127.0.0.1:${admin}`,
            },
        });

        assert.equal(done.code, 0, done.stdout + done.stderr);
        for (const shown of [
            "Created vault 'alice'",
            'Stored credential vcrd_',
            'https://mcp.example.com/mcp',
            "Created environment 'prod'",
            "Created agent 'triage'",
            'Opened session sesn_',
            `http://127.0.0.1:${agents}/mcp/issues`,
            'Changed credential vcrd_',
            'Archived session sesn_',
        ])
            assert.ok(done.stdout.includes(shown), `${shown} is not in:\n${done.stdout}`);
        for (const secret of ['a-made-up-token', 'the-rotated-token'])
            assert.deepEqual(tracesOf(secret, Buffer.from(done.stdout + done.stderr)), []);
    });

    it('names only files and folders that exist', () => {
        const root = fileURLToPath(new URL('../../', import.meta.url));
        for (const [, name] of readme.matchAll(/`((?:docs|deploy|tests|bench|proxy)\/[\w./-]*)`/g))
            assert.ok(existsSync(path.join(root, name)), name);
    });
});
