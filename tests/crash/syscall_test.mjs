// Durability by system call: strace watches the whole server, and between each request that changes something and its answer
// there must be a completed fdatasync of the write-ahead log, after the write that holds the change. A call's credential
// leaves only behind such a sync, too.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { eventually, freshSecret, grant, makeStore, serve, startUpstream } from '../flows/harness.mjs';
import { post, rpc } from '../flows/wire.mjs';

const missing = spawnSync('strace', ['-V']).error ? 'strace is not installed' : undefined;
const changes = 40;
const calls = 40;

/// The events of a trace in order: 'write' and 'sync' of the write-ahead log, 'answer' to an admin, 'injected' towards the
/// upstream. A system call that others interrupt counts where it begins if it writes, and where it ends if it syncs.
function eventsOf(trace) {
    const events = [];
    const syncing = new Set(); // threads
    for (const line of trace.split('\n')) {
        const [, thread, rest] = line.match(/^(\d+) +(.*)$/) ?? [];
        if (!rest) continue;
        if (/^(pwrite64|write|writev|pwritev)\(\d+<[^>]*\/store\/\d+\.log>/.test(rest)) events.push('write');
        else if (/^fdatasync\(\d+<[^>]*\/store\/\d+\.log>/.test(rest)) {
            if (rest.includes('<unfinished')) syncing.add(thread);
            else if (/= 0$/.test(rest)) events.push('sync');
        } else if (rest.startsWith('<... fdatasync resumed>')) {
            if (syncing.delete(thread) && /= 0$/.test(rest)) events.push('sync');
        } else if (/^(sendmsg|sendto|write|writev)\(/.test(rest)) {
            if (/HTTP\/1\.1 200 /.test(rest) && /vlt_/.test(rest)) events.push('answer');
            else if (/POST \/mcp HTTP\/1\.1/.test(rest) && /authorization: Bearer/i.test(rest)) events.push('injected');
        }
    }
    return events;
}

/// Answers and injections without a write and then a sync since the one before.
function unsynced(events, of) {
    let written = false;
    let synced = false;
    let wrong = 0;
    for (const event of events) {
        if (event === 'write') [written, synced] = [true, false];
        else if (event === 'sync') synced = written;
        else if (event === of) {
            if (!synced) ++wrong;
            written = synced = false;
        }
    }
    return wrong;
}

describe('durability by system call', { skip: missing }, () => {
    it('syncs every change before its answer, and every intent before the credential leaves', async () => {
        const upstream = await startUpstream();
        const store = await makeStore();
        const file = path.join(store.folder, 'trace');
        const watched = 'trace=write,pwrite64,writev,pwritev,fdatasync,sendmsg,sendto';
        const claviger = await serve(store, { prefix: ['strace', '-D', '-f', '-y', '-s', '4096', '-o', file, '-e', watched] });
        try {
            const granted = await grant(claviger, {
                url: upstream.url,
                token: freshSecret(),
            });
            for (let i = 0; i < changes; ++i) await claviger.admin('POST', '/v1/vaults', { display_name: `vault ${i}` });
            for (let i = 0; i < calls; ++i) {
                const { message } = await post(`${claviger.agentsUrl}/mcp/upstream`, granted.sessionToken, rpc(i, 'tools/call', { name: 't', arguments: {} }));
                assert.ok(message.result, JSON.stringify(message));
            }
        } finally {
            await claviger.stop();
            upstream.stop();
        }
        const ended = new RegExp(`^${claviger.child.pid} +\\+\\+\\+ `, 'm'); // what strace writes last
        await eventually('strace has written everything', () => ended.test(readFileSync(file, 'latin1')));
        const events = eventsOf(readFileSync(file, 'latin1'));
        const count = (kind) => events.filter((event) => event === kind).length;
        assert.ok(count('answer') >= changes, `${count('answer')} answers seen`);
        assert.ok(count('injected') >= calls, `${count('injected')} calls seen`);
        assert.equal(unsynced(events, 'answer'), 0, 'answers that came before the disk had the change');
        assert.equal(unsynced(events, 'injected'), 0, 'credentials that left before their intent was on disk');

        // The same trace with every sync taken out is found out, so the check can fail.
        const lying = events.filter((event) => event !== 'sync');
        assert.equal(unsynced(lying, 'answer'), count('answer'));
        assert.equal(unsynced(lying, 'injected'), count('injected'));
    });
});
