// The memory of the running process, as root sees it through /proc: locked memory as it should be, no core dump, and after
// requests secrets of every kind in no region but the locked ones. Needs root, because the process keeps everybody else out.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, freshSecret, grant, makeStore, run, serve, startUpstream } from '../flows/harness.mjs';
import { post, rpc } from '../flows/wire.mjs';

const skip = process.getuid() === 0 ? undefined : 'only root may read the memory of a process that keeps others out';
// The sanitizers' shadow is terabytes of mappings, and their quarantine keeps freed memory on purpose.
const sanitized = readFileSync(binary).includes('__asan_init');

const blockBytes = 4 << 20;
const status = (pid, name) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm'))[1]);

/// The readable regions of a process, with the flags that the kernel shows for them.
function regionsOf(pid) {
    const regions = [];
    for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
        const head = line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/);
        if (head) regions.push({ from: parseInt(head[1], 16), to: parseInt(head[2], 16), mode: head[3], name: head[4], flags: [] });
        else if (line.startsWith('VmFlags:')) regions.at(-1).flags = line.slice(8).trim().split(' ');
    }
    return regions.filter(({ mode, name }) => mode.startsWith('r') && !/^\[v(var|syscall|dso)/.test(name));
}

/// Where the needles stand in the process's memory: one line per region that holds one.
function search(pid, needles) {
    const found = [];
    let bytesRead = 0;
    const memory = openSync(`/proc/${pid}/mem`, 'r');
    const overlap = Math.max(...needles.map(({ length }) => length));
    const block = Buffer.alloc(blockBytes + overlap);
    for (const region of regionsOf(pid)) {
        for (let at = region.from; at < region.to; at += blockBytes) {
            let got = 0;
            try {
                got = readSync(memory, block, 0, Math.min(block.length, region.to - at), at);
            } catch (error) {
                if (error.code === 'EIO' || error.code === 'EFAULT') break; // guard pages of the arena
                throw error;
            }
            bytesRead += got;
            for (const needle of needles)
                if (block.subarray(0, got).includes(needle)) found.push({ ...region, needle: needle.toString('latin1') });
        }
    }
    closeSync(memory);
    assert.ok(bytesRead > 8 << 20, `only ${bytesRead} bytes could be read`);
    return found;
}
/// In the forms in which requests, answers and rows spell it.
const spellings = (secret) => [Buffer.from(secret), Buffer.from(JSON.stringify(secret).slice(1, -1)), Buffer.from(Buffer.from(secret).toString('base64'))];
const locked = ({ flags }) => flags.includes('lo');
const spelled = ({ from, mode, name, flags, needle }) => `${from.toString(16)} ${mode} ${name} [${flags}] ${needle.slice(0, 12)}`;

describe('memory of the process', { skip: skip ?? (sanitized ? 'the sanitizers keep freed memory' : undefined) }, () => {
    let upstream;
    let store;
    let claviger;
    let held; // a call that the upstream answers only when told to
    before(async () => {
        upstream = await startUpstream(async ({ tool }) => {
            if (tool === 'slow') await new Promise((resolve) => (held = resolve));
        });
        store = await makeStore();
        claviger = await serve(store);
    });
    after(async () => {
        upstream.stop();
        await claviger.stop();
    });

    it('is locked where secrets are, as much as the arena says', async () => {
        const pid = claviger.child.pid;
        const metrics = async () => (await fetch(`${claviger.adminUrl}/metrics`)).text();
        const saidKb = async () => Number((await metrics()).match(/^claviger_locked_memory_bytes (\d+)$/m)[1]) / 1024;
        const saidBefore = await saidKb();
        const lockedKb = status(pid, 'VmLck');
        const arena = regionsOf(pid).filter(locked);
        assert.ok(saidBefore > 0 && lockedKb >= saidBefore && lockedKb <= (await saidKb()), `VmLck is ${lockedKb} kB, and ${saidBefore} kB are said to be locked`);
        const readableKb = arena.reduce((sum, { from, to }) => sum + (to - from) / 1024, 0);
        assert.ok(readableKb > 0 && readableKb <= lockedKb);
        for (const region of arena) {
            assert.ok(region.flags.includes('dd'), `a core dump would hold ${spelled({ ...region, needle: '' })}`);
            assert.ok(region.flags.includes('dc') || region.flags.includes('wf'), `children inherit ${spelled({ ...region, needle: '' })}`);
        }
        assert.equal(status(pid, 'VmSwap'), 0);
    });

    it('holds a secret outside of it no longer than the request takes', async () => {
        const pid = claviger.child.pid;
        const secret = freshSecret();
        const granted = await grant(claviger, { url: upstream.url, token: secret });
        const staged = freshSecret('staged');
        const rotated = await claviger.admin('POST', `/v1/vaults/${granted.vault.id}/credentials/${granted.credential.id}/rotate`, {
            auth: { type: 'static_bearer', token: staged },
            promote: false,
        });
        assert.equal(rotated.status, 'staged');
        const keyFile = readFileSync(path.join(store.folder, 'seal.key'));
        const kinds = {
            'the token': spellings(secret),
            'the staged token': spellings(staged),
            "the admin's API key": spellings(store.admin_api_key),
            "the agent's session token": spellings(granted.sessionToken),
            'the key file': [keyFile, Buffer.from(keyFile.toString('latin1').trim())],
        };
        const needles = Object.values(kinds).flat();
        const kindOf = (place) => Object.keys(kinds).find((kind) => kinds[kind].some((needle) => needle.toString('latin1') === place.needle));
        const call = (id, name) => post(`${claviger.agentsUrl}/mcp/upstream`, granted.sessionToken, rpc(id, 'tools/call', { name, arguments: {} }));
        for (let i = 0; i < 50; ++i) assert.ok((await call(i, 'quick')).message.result);
        // The search can find it: while a call is on its way its secret is in memory.
        const slow = call(99, 'slow');
        while (!held) await new Promise((resolve) => setTimeout(resolve, 10));
        const during = search(pid, needles);
        held();
        await slow;
        await new Promise((resolve) => setTimeout(resolve, 300));
        const outside = search(pid, needles).filter((place) => !locked(place));
        assert.deepEqual(outside.map((place) => `${kindOf(place)}: ${spelled(place)}`), [], 'after the requests a secret stands in ordinary memory');
        console.log(`# while a call was on its way ${new Set(during.map(kindOf)).size} of ${Object.keys(kinds).length} secrets stood in memory`);
    });

    it('leaves no core dump', async () => {
        const store = await makeStore();
        const doomed = await serve(store, { prefix: ['sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh'] });
        const limits = readFileSync(`/proc/${doomed.child.pid}/limits`, 'utf8');
        assert.match(limits, /^Max core file size +0 +0 /m);
        const watcher = await run('python3', ['-c', crash, binary, store.file], { cwd: store.folder });
        assert.equal(watcher.stdout.trim(), 'killed by 11, core dumped: False', watcher.stderr);
        doomed.child.kill('SIGSEGV');
        await doomed.child.exited;
        assert.deepEqual(readdirSync(store.folder).filter((name) => /core/.test(name)), []);
    });
});

// Starts the server by itself, kills it with SIGSEGV and asks the kernel whether a core was dumped.
const crash = `
import os, resource, signal, subprocess, sys, tempfile, json
config = json.loads(''.join(line for line in open(sys.argv[2]) if not line.startswith('//')))
data = tempfile.mkdtemp()
key = os.path.join(data, 'seal.key')
subprocess.run([sys.argv[1], 'init', '--data', data + '/data', '--key-file', key, '--json'], check=True, stdout=subprocess.DEVNULL)
config['data_dir'], config['seal']['key_file'], config['log']['file'] = data + '/data', key, data + '/log'
open(data + '/config', 'w').write(json.dumps(config))
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(write, 1)
    os.execv(sys.argv[1], [sys.argv[1], 'serve', '--config', data + '/config'])
os.close(write)
os.fdopen(read).readline()
os.kill(pid, signal.SIGSEGV)
_, status = os.waitpid(pid, 0)
print(f'killed by {os.WTERMSIG(status)}, core dumped: {os.WCOREDUMP(status)}')
`;
