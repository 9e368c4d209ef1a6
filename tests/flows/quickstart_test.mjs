// deploy/quickstart with the binary under test: it leaves servers running, is quick the second time, proves what it says,
// stops what it started, and its proof fails when the agent did see the token.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, run, temporaryFolder, tracesOf } from './harness.mjs';

const deploy = fileURLToPath(new URL('../../deploy/', import.meta.url));

describe('deploy/quickstart', () => {
    let folder;
    let env;
    let screen = '';

    const quickstart = async (...args) => {
        const done = await run(path.join(deploy, 'quickstart'), args, { env, limitMs: 300_000 });
        screen += done.stdout + done.stderr;
        return done;
    };
    const pidOf = (name) => Number(readFileSync(path.join(folder, `${name}.pid`), 'utf8'));
    const alive = (pid) => existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

    before(() => {
        folder = path.join(temporaryFolder(), 'made by the test');
        env = { ...process.env, CLAVIGER_QUICKSTART_DIR: folder, CLAVIGER_BIN: binary };
    });
    after(() => quickstart('--stop'));

    it('does the main job and leaves the servers running', async () => {
        const done = await quickstart();
        assert.equal(done.code, 0, done.stdout + done.stderr);
        assert.equal(done.stdout.match(/^ +yes /gm).length, 6, done.stdout);
        assert.doesNotMatch(done.stdout, /^ +NO /m);
        for (const name of ['claviger', 'mcp-gitlab', 'gitlab']) assert.ok(alive(pidOf(name)), name);

        const sections = done.stdout.split(/^(?=What |Everything )/m);
        const section = (title) => sections.find((each) => each.startsWith(title)) ?? assert.fail(`no '${title}' in ${done.stdout}`);
        const sent = section('What the agent sent:');
        assert.match(sent, /^    POST http:\/\/127\.0\.0\.1:\d+\/mcp\/gitlab$/m);
        assert.match(sent, /^    authorization: Bearer \S{1,15}…$/m);
        assert.match(sent, /"method":"tools\/call","params":\{"name":"get_project"/);
        assert.match(section('What the agent got:'), /^    name +lighthouse$/m);
        assert.match(section('What the upstream received:'), /^    GET \/api\/v4\/projects\/42\S* +\S+: the stored token \(\d+ characters\)$/m);
        assert.doesNotMatch(section('What the upstream received:'), /ANOTHER token/);
        assert.match(section('What the access log says'), /get_project/);
    });

    it('says what to try next, and that works', async () => {
        const next = screen.slice(screen.indexOf('Everything is left running. Next:'));
        const [, url, key] = next.match(/export CLAVIGER_URL=(\S+) CLAVIGER_API_KEY_FILE=(.+)/) ?? assert.fail(screen);
        const [, list] = next.match(/^ +\S+ (credential list --vault \S+)/m) ?? assert.fail(next);
        const listed = await run(binary, list.split(' '), { env: { ...env, CLAVIGER_URL: url, CLAVIGER_API_KEY_FILE: key } });
        assert.match(listed.stdout, /gitlab/, listed.stderr);
        for (const command of ['log list --follow', 'help', 'deploy/quickstart --stop']) assert.ok(next.includes(` ${command} `), command);
        const port = readFileSync(path.join(folder, 'agents.port'), 'utf8').trim();
        assert.ok(next.includes(`http://127.0.0.1:${port}/mcp/gitlab\n`), next);
        assert.ok(next.includes(path.join(folder, 'session.token')), next);
    });

    it('leaves the ports free that a configuration has by default', () => {
        for (const name of ['agents', 'admin', 'gitlab', 'mcp-gitlab'])
            assert.doesNotMatch(readFileSync(path.join(folder, `${name}.port`), 'utf8'), /^870[01]$/m, name);
    });

    it('takes seconds the second time, with the same server', async () => {
        const first = pidOf('claviger');
        const began = Date.now();
        const done = await quickstart();
        assert.equal(done.code, 0, done.stdout + done.stderr);
        assert.equal(pidOf('claviger'), first);
        assert.ok(Date.now() - began < 60_000, `${Date.now() - began} ms`);
    });

    it('fails its proof when the agent got the token in any form, or the use is not in the log', async () => {
        const token = readFileSync(path.join(folder, 'upstream.token'), 'utf8').trim();
        const received = path.join(folder, 'agent.received');
        const entries = path.join(folder, 'log.json');
        const prove = () =>
            run(process.execPath, [
                path.join(deploy, 'quickstart.d/prove.mjs'),
                ...['--folder', folder, '--log-entries', entries, '--since', '2000'],
            ]);
        assert.equal((await prove()).code, 0);
        const clean = readFileSync(received);
        for (const form of [
            token,
            encodeURIComponent(token),
            ...['', 'a', 'ab'].map((before) => Buffer.from(`${before}${token}zz`).toString('base64')),
            Buffer.from(token).toString('hex'),
        ]) {
            writeFileSync(received, Buffer.concat([clean, Buffer.from(form)]));
            const done = await prove();
            assert.equal(done.code, 1, form.length);
            assert.match(done.stdout, /NO +the agent was not/);
        }
        writeFileSync(received, clean);
        const log = readFileSync(entries, 'utf8');
        writeFileSync(entries, log.replaceAll('use_intent', 'use_other'));
        assert.match((await prove()).stdout, /NO +the access log has the use/);
        writeFileSync(entries, log);
    });

    it('stops everything with --once, by its own process ids', async () => {
        const pids = ['claviger', 'mcp-gitlab', 'gitlab'].map(pidOf);
        const done = await quickstart('--once');
        assert.equal(done.code, 0, done.stdout + done.stderr);
        for (const pid of pids) assert.ok(!alive(pid), pid);
        assert.ok(!existsSync(path.join(folder, 'claviger.pid')));
    });

    it('ends with an error, and stops everything, when the access log does not have the use', async () => {
        const forgetful = path.join(temporaryFolder(), 'claviger');
        writeFileSync(forgetful, `#!/bin/sh\n[ "$1 $2" = 'log list' ] && exec echo '{"data": []}'\nexec '${binary}' "$@"\n`, { mode: 0o755 });
        const done = await run(path.join(deploy, 'quickstart'), ['--once'], { env: { ...env, CLAVIGER_BIN: forgetful }, limitMs: 300_000 });
        screen += done.stdout + done.stderr;
        assert.equal(done.code, 1, done.stdout + done.stderr);
        assert.match(done.stdout, /^ +NO +the access log has the use/m);
        assert.match(done.stderr, /not everything was seen that should have been/);
        assert.doesNotMatch(done.stdout, /Next:/);
        for (const name of ['claviger', 'mcp-gitlab', 'gitlab']) assert.ok(!existsSync(path.join(folder, `${name}.pid`)), name);
    });

    it('never shows a secret on the screen', () => {
        for (const name of ['upstream.token', 'admin.key', 'session.token']) {
            const secret = readFileSync(path.join(folder, name), 'utf8').trim();
            assert.deepEqual(tracesOf(secret, Buffer.from(screen)), [], name);
        }
    });

    it('refuses an argument that it does not know', async () => {
        const done = await quickstart('--twice');
        assert.equal(done.code, 2);
        assert.match(done.stderr, /--once/);
    });
});
