// The systemd unit's system call filter against what the server really calls: a call that the filter lacks would kill the
// service on its first day. strace lists them over a life of the server; systemd says what its named sets hold.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, eventually, freshSecret, grant, makeStore, run, serve, startUpstream, temporaryFolder } from '../flows/harness.mjs';
import { post, rpc } from '../flows/wire.mjs';

const unit = fileURLToPath(new URL('../../deploy/systemd/claviger.service', import.meta.url));
const absent = ['strace', 'systemd-analyze'].filter((program) => spawnSync(program, ['--version']).error);
const skip = absent.length > 0 ? `${absent.join(' and ')} not installed` : undefined;
const sanitized = readFileSync(binary).includes('__asan_init');

/// The system calls of a name: a call, or a set of systemd's such as @system-service, to the end.
function callsOf(name) {
    if (!name.startsWith('@')) return new Set([name]);
    const { stdout } = spawnSync('systemd-analyze', ['--no-pager', 'syscall-filter', name], { encoding: 'utf8' });
    const lines = stdout.split('\n').slice(1).map((line) => line.trim());
    const calls = new Set();
    for (const line of lines.filter((text) => text && !text.startsWith('#'))) for (const call of callsOf(line)) calls.add(call);
    return calls;
}

/// What the unit lets through (systemd.exec(5)): its first line allows, those with ~ take away, others add.
function allowedBy(text) {
    const allowed = new Set();
    for (const [, inverted, names] of text.matchAll(/^SystemCallFilter=(~?)(.*)$/gm))
        for (const name of names.trim().split(/\s+/))
            for (const call of callsOf(name)) inverted ? allowed.delete(call) : allowed.add(call);
    return allowed;
}

describe('deploy/systemd/claviger.service', { skip }, () => {
    it('allows every system call of the server, and none of those that it must not make', { skip: sanitized ? 'the sanitizers make calls of their own' : undefined }, async () => {
        const upstream = await startUpstream();
        const backups = temporaryFolder();
        const pins = temporaryFolder();
        const store = await makeStore({ config: { backup: { dir: backups }, access_log: { pin_dir: pins } } });
        const trace = path.join(store.folder, 'trace');
        const claviger = await serve(store, { prefix: ['strace', '-D', '-f', '-o', trace] });
        const granted = await grant(claviger, { url: upstream.url, token: freshSecret() });
        for (let i = 0; i < 20; ++i)
            await post(`${claviger.agentsUrl}/mcp/upstream`, granted.sessionToken, rpc(i, 'tools/call', { name: 't', arguments: {} }));
        await claviger.admin('POST', '/v1/backups', { name: 'one' });
        await claviger.admin('POST', `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}/shred`);
        await claviger.stop();
        upstream.stop();

        const ended = new RegExp(`^${claviger.child.pid} +\\+\\+\\+ `, 'm'); // what strace writes last
        await eventually('strace has written everything', () => ended.test(readFileSync(trace, 'latin1')));
        const made = new Set([...readFileSync(trace, 'latin1').matchAll(/^\d+ +([a-z_0-9]+)\(/gm)].map(([, call]) => call));
        made.delete('execve'); // the service manager's, before the filter
        assert.ok(made.size > 40, `${made.size} different calls seen`);
        const allowed = allowedBy(readFileSync(unit, 'utf8'));
        assert.ok(allowed.size > 100);
        assert.deepEqual([...made].filter((call) => !allowed.has(call)), [], 'the unit would kill the server for these');
        for (const call of ['ptrace', 'process_vm_readv', 'mount', 'bpf', 'init_module', 'chroot', 'kexec_load', 'perf_event_open', 'reboot', 'swapon'])
            assert.ok(!allowed.has(call), `${call} is allowed`);
    });

    it('passes every check of the doctor, and one that lacks a setting does not', async () => {
        const store = await makeStore();
        const looked = async (file) => {
            const doctor = await run(binary, ['doctor', '--config', store.file, '--unit', file, '--json']);
            return JSON.parse(doctor.stdout).checks.filter(({ name }) => name === 'unit.hardening');
        };
        assert.deepEqual((await looked(unit)).map(({ finding }) => finding), ['good']);
        const text = readFileSync(unit, 'utf8');
        for (const setting of text.match(/^(LimitCORE|MemorySwapMax|NoNewPrivileges|ProtectSystem|SystemCallFilter|User|LimitMEMLOCK|UMask)=.*$/gm)) {
            const without = path.join(store.folder, 'weak.service');
            const name = setting.split('=')[0];
            writeFileSync(without, text.replaceAll(new RegExp(`^${name}=.*$`, 'gm'), ''));
            const found = await looked(without);
            assert.deepEqual(found.map(({ finding }) => finding), ['weak'], setting);
            assert.ok(found[0].advice);
        }
        const nowhere = await looked(path.join(store.folder, 'absent.service'));
        assert.deepEqual(nowhere.map(({ finding }) => finding), ['unknown']);
    });

    it('is examined with the host around it', async () => {
        const store = await makeStore();
        const key = path.join(store.folder, 'seal.key');
        const doctor = await run(binary, ['doctor', '--config', store.file, '--unit', unit, '--json']);
        const of = (checks, name) => checks.find((check) => check.name === name);
        const { checks, weak } = JSON.parse(doctor.stdout);
        assert.equal(doctor.code, weak > 0 ? 1 : 0);
        assert.equal(of(checks, 'files.key_file').finding, 'good');
        assert.equal(of(checks, 'memory.locking').finding, 'good');
        assert.equal(of(checks, 'memory.core_dumps').finding, 'good');
        assert.equal(of(checks, 'files.key_file_apart').finding, 'weak'); // beside the data, as tests have it
        assert.equal(of(checks, 'files.pin_dir').finding, 'weak');
        for (const check of checks) assert.ok(check.finding !== 'weak' || check.advice, check.name);

        spawnSync('chmod', ['644', key]);
        spawnSync('chmod', ['755', store.data]);
        const open = await run(binary, ['doctor', '--config', store.file, '--unit', unit]);
        assert.equal(open.code, 1);
        assert.match(open.stdout, /WEAK {5}files\.key_file: .*mode 644/);
        assert.match(open.stdout, /WEAK {5}files\.data_dir: .*mode 755/);
    });
});
