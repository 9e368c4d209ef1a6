// The ceremonies of docs/operations, command by command as they stand there, on one store. Only the ports differ.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, freePort, run, temporaryFolder } from './harness.mjs';

const folder = fileURLToPath(new URL('../../docs/operations/', import.meta.url));
const pages = readdirSync(folder)
    .filter((name) => /^\d+_.*\.md$/.test(name))
    .sort((one, other) => parseInt(one) - parseInt(other));
const blocksOf = (page) =>
    [...readFileSync(path.join(folder, page), 'utf8').matchAll(/```sh\n(.*?)```/gs)].map(([, text]) => text);

/// What each page must have shown.
const shown = {
    '1_first_start.md': [
        /Only one slot is known to open the store/,
        /share-1-alice\.age\s+share-2-bob\.age\s+share-3-carol\.txt/,
        /# Share 1 of 3, kept by alice; any 2 open the store\. Keep it secret\.\nclaviger-share-/,
        /# Share 3 of 3, kept by carol; any 2 open the store\. Keep it secret\.\nclaviger-share-/,
        /'quorum' opens the store\./,
        /'safe' opens the store\./,
    ],
    '2_unseal.md': [
        /The store is sealed\./,
        /1 of 2 shares are there \(share 1, of alice\)/,
        /No shares are kept\./,
        /1 of 2 shares are there \(share 2, of bob\)/,
        /(Unsealed: the server answers\.[^]*){3}/,
    ],
    '3_drill.md': [/'quorum' opens the store\. The drill is on record\./, /\bdrill\b/, /'key file' opens the store\./],
    '4_lost_share.md': [
        /'quorum 2' opens the store\./,
        /Removed the seal slot 'quorum'\./,
        /The share of carol belongs to another set of shares of this store\./,
    ],
    '5_key_file.md': [
        /'key file 2' opens the store\./,
        /Removed the seal slot 'key file'\./,
        /key file [0-9a-f]{16}/,
        /Removed the seal slot 'key file 2'\./,
    ],
    '6_token.md': [
        /The store is as it was written/,
        /'hsm' opens the store\./,
        /does not hold the key of this slot/,
        /Unsealed: the server answers\./,
        /'hsm 2' opens the store\./,
    ],
    '7_rotate.md': [
        /The root key is number 2 now\. Number 1 is kept for a roll-back\./,
        /'quorum 2' opens the store\. The drill is on record\./,
        /The root key is number 2 now; number 1 is gone\./,
        /(The vault's key is number [23] now; number [12] is gone\.[^]*){2}/,
        /Only what is running can be paused/,
        /the root key is number 2 again/,
        /Removed the seal slot 'hsm 2'\. Its keys in the token are destroyed/,
    ],
    '8_pin_and_backup.md': [
        /The store is as it was written/,
        /access log: pinned in \S*pins/,
        /entries   \d+\nroot      [0-9a-f]{64}/,
        /Made backup 'friday': \d+ entries/,
        /friday\s+\d{4}-/,
        /Not checked without a\nkey/,
        /The store is as it was written\./,
    ],
    '9_restore.md': [
        /The pin knows of \d+ entries that the backup does not have/,
        /The store is older than its pin: the newest \d+ entries/,
        /The next start takes a store whose log has this root, once\./,
        /state\s+fenced/,
        /were written after the backup and are not here/,
        /Released: agents are served/,
        /\bunfence\b/,
        /\baccept_pin\b/,
        /Made backup 'after-the-restore'/,
    ],
    '10_compromise.md': [
        /'key file 4' opens the store\./,
        /The root key is number \d+ now; number \d+ is gone\./,
        /The vault's key is number \d{5,} now; number 1 is gone\./,
        /store: gone\..*key is erased/,
        /files: gone\./,
        /backups: NOT gone\..*/,
        /In backup\.dir: \S*after-the-restore|No file of the store holds the erased rows/,
        /SHREDDING\s+OBJECT\s+AT\s+STORE\s+FILES\s+BACKUPS/,
    ],
    '11_doctor.md': [/files\.data_dir: The data folder is closed to others \(mode 700\)/, /unit\.hardening/, /weaker here than necessary/],
};
// Pages that go on with the token.
const withToken = ['6_token.md', '7_rotate.md'];

describe('docs/operations', () => {
    const token = existsSync('/usr/lib/softhsm/libsofthsm2.so');
    if (!token) it('has pages that need a token', { skip: 'softhsm2 is not installed' });

    it('has commands that work, page after page', async () => {
        assert.deepEqual(pages, Object.keys(shown));
        const work = temporaryFolder();
        mkdirSync(path.join(work, 'bin'));
        symlinkSync(binary, path.join(work, 'bin/claviger'));
        const [agents, admin] = [await freePort(), await freePort()];
        const settings = `"agents": {"port": ${agents}}, "admin": {"port": ${admin}}, "seal"`;
        const script = ['set -euo pipefail', 'exec 2>&1', "trap 'kill $(jobs -p) || true; wait' EXIT"];
        for (const page of pages) {
            if (withToken.includes(page) && !token) continue;
            script.push(`echo '=== ${page}'`);
            for (const block of blocksOf(page)) script.push(block.replaceAll('"seal"', settings));
        }
        writeFileSync(path.join(work, 'walk.sh'), script.join('\n'));

        const done = await run('bash', ['walk.sh'], {
            cwd: work,
            limitMs: 240_000,
            env: {
                PATH: `${path.join(work, 'bin')}:${process.env.PATH}`,
                HOME: work,
                CLAVIGER_URL: `http://127.0.0.1:${admin}`,
            },
        });

        assert.equal(done.code, 0, done.stdout + done.stderr);
        const outputs = new Map(
            done.stdout
                .split('=== ')
                .slice(1)
                .map((part) => [part.slice(0, part.indexOf('\n')), part]),
        );
        for (const [page, texts] of Object.entries(shown)) {
            if (withToken.includes(page) && !token) continue;
            for (const text of texts) assert.match(outputs.get(page), text, page);
        }
        // Nothing that opens a slot is ever in the log or on the screen, but for the share that was printed on purpose.
        const log = readFileSync(path.join(work, 'claviger.log'), 'utf8');
        for (const name of ['alice.key', 'bob.key', 'safe.key', 'dave.key']) {
            const secret = readFileSync(path.join(work, name), 'utf8').match(/AGE-SECRET-KEY-1\w+/)[0];
            assert.ok(!log.includes(secret) && !done.stdout.includes(secret), name);
        }
        assert.ok(!log.includes('claviger-share-'));
    });
});
