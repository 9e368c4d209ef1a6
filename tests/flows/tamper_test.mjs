// Somebody who can write to the disk edits rows of a stopped server's store: secrets swapped or missing, an older version
// put back, an environment as wide as it once was. The store is made over the API and started again with a key file, and
// sealed and opened by hand: what was edited is refused as corrupt, and where it stands is told in Claviger's log and
// to nobody who calls.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { accessLog, binary, freshSecret, makeStore, run, serve, startUpstream } from './harness.mjs';
import { post, rpc } from './wire.mjs';

const rowEditor = path.join(path.dirname(binary), 'tests/claviger_row_editor');
const table = { meta: 1, value: 2, data_key: 3 };
const kind = { credential: '04', environment: '05' }; // of rows of meta

/// The 16 bytes that the last 22 characters of an id stand for, as hex.
function rawId(id) {
    const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
    const number = [...id.slice(-22)].reduce((sum, digit) => sum * 58n + BigInt(alphabet.indexOf(digit)), 0n);
    return number.toString(16).padStart(32, '0');
}
const metaRow = (ofKind, { id }) => ofKind + rawId(id);
const secretRow = ({ id }, version = 1) => rawId(id) + version.toString(16).padStart(16, '0');

/// A stopped server's rows, as they stand on the disk.
class Rows {
    constructor(data) {
        this.store = path.join(data, 'store');
    }
    async edit(...args) {
        const done = await run(rowEditor, [this.store, ...args]);
        assert.equal(done.code, 0, done.stderr);
        return done.stdout;
    }
    async read(of) {
        const lines = (await this.edit('rows', String(of))).trim().split('\n');
        return new Map(lines.map((line) => line.split(' ')));
    }
    put = (of, ...keysAndRows) => this.edit('put', String(of), ...keysAndRows);
    erase = (of, key) => this.edit('erase', String(of), key);
    async swap(of, one, other) {
        const rows = await this.read(of);
        await this.put(of, one, rows.get(other), other, rows.get(one));
    }
}

describe('a store that somebody edited', () => {
    const places = ['swapped', 'swapped-too', 'moved', 'moved-too', 'across', 'rolled-back', 'gone', 'untouched'];
    const secrets = Object.fromEntries([...places, 'other-vault'].map((place) => [place, freshSecret()]));
    const credentials = {};
    let store, sealedConfig, whole, upstream, session, narrowed, foreign;
    const older = {}; // rows of before the secret was replaced and the environment narrowed
    const seen = [];

    before(async () => {
        upstream = await startUpstream((call) => seen.push(call));
        store = await makeStore();
        const claviger = await serve(store);
        const { admin } = claviger;
        const vaults = {};
        for (const name of ['one', 'two']) vaults[name] = await admin('POST', '/v1/vaults', { display_name: name });
        for (const [place, token] of Object.entries(secrets)) {
            const { id } = place === 'other-vault' ? vaults.two : vaults.one;
            credentials[place] = await admin('POST', `/v1/vaults/${id}/credentials`, {
                auth: { type: 'static_bearer', mcp_server_url: `${upstream.origin}/${place}`, token },
            });
        }
        const vault_bindings = [vaults.one.id, vaults.two.id];
        narrowed = await admin('POST', '/v1/environments', { name: 'narrowed', vault_bindings });
        foreign = await admin('POST', '/v1/environments', { name: 'foreign', vault_bindings });
        const names = Object.keys(secrets);
        const agent = await admin('POST', '/v1/agents', {
            name: 'caller',
            model: 'any-model',
            mcp_servers: names.map((name) => ({ type: 'url', name, url: `${upstream.origin}/${name}` })),
            tools: names.map((name) => ({
                type: 'mcp_toolset',
                mcp_server_name: name,
                default_config: { enabled: true, permission_policy: { type: 'always_allow' } },
            })),
        });
        session = await admin('POST', '/v1/sessions', {
            agent: agent.id,
            environment_id: foreign.id,
            vault_ids: vault_bindings,
        });
        assert.equal((await claviger.stop()).code, 0);
        const rows = new Rows(store.data);
        for (const [name, number] of Object.entries(table)) older[name] = await rows.read(number);

        const again = await serve(store);
        const replaced = credentials['rolled-back'];
        await again.admin('POST', `/v1/vaults/${vaults.one.id}/credentials/${replaced.id}`, {
            auth: { type: 'static_bearer', token: freshSecret() },
        });
        await again.admin('POST', `/v1/environments/${narrowed.id}`, { vault_bindings: [vaults.one.id] });
        assert.equal((await again.stop()).code, 0);
        whole = path.join(store.folder, 'whole');
        cpSync(store.data, whole, { recursive: true });
        sealedConfig = path.join(store.folder, 'sealed.json');
        const settings = JSON.parse(readFileSync(store.file, 'utf8').replace(/^\/\/.*\n/, ''));
        delete settings.seal;
        writeFileSync(sealedConfig, JSON.stringify(settings));
    });
    after(() => upstream?.stop());

    /// The store as it was, with `edit` done to it, and a log that is empty.
    async function edited(edit) {
        rmSync(store.data, { recursive: true });
        cpSync(whole, store.data, { recursive: true });
        await edit(new Rows(store.data));
        writeFileSync(store.log, '');
        seen.length = 0;
    }
    const unseal = () => run(binary, ['unseal', '--data', store.data, '--key-file', path.join(store.folder, 'seal.key')]);
    /// Nothing that says where on the disk something stands.
    function assertNoPlace(text) {
        const ids = [...Object.values(credentials), narrowed, foreign].flatMap(({ id }) => [id, rawId(id)]);
        for (const word of [...ids, 'table', 'meta', 'data_key', 'does not open', 'version'])
            assert.ok(!text.includes(word), `${word} is told: ${text}`);
    }

    /// What a start with the key file ends with, and an unsealing of a server that was started without: refused, for
    /// the operator with `place`, a pattern.
    async function assertRefusedAsAWhole(place) {
        const refused = await run(binary, ['serve', '--config', store.file]);
        assert.equal(refused.code, 1, refused.stderr);
        assert.match(refused.stderr, /ledger\.rows_changed/);
        assert.match(refused.stderr, place);
        assert.equal(refused.stdout, '', 'it said that it was ready');

        const sealed = await serve({ ...store, file: sealedConfig });
        assert.equal(sealed.child.ready.sealed, true);
        const told = await unseal();
        assert.equal(told.code, 1, told.stderr);
        assert.match(told.stderr, /Rows of the store were changed, removed or put back from outside\./);
        assertNoPlace(told.stdout + told.stderr);
        const line = lines(sealed).find(({ event }) => event === 'unseal.failed');
        assert.equal(line?.code, 'ledger.rows_changed');
        assert.match(line.detail, place);
        const call = await callTool(sealed, 'untouched');
        assert.equal(call.status, 503, call.text);
        assertNoPlace(call.raw.toString());
        assert.deepEqual(seen, []);
        assert.equal((await sealed.stop()).code, 0);
    }
    const lines = (claviger) =>
        claviger
            .readLog()
            .split('\n')
            .filter((line) => line.startsWith('{'))
            .map((line) => JSON.parse(line));
    const callTool = (claviger, server) =>
        post(`${claviger.agentsUrl}/mcp/${server}`, session.session_token, rpc(1, 'tools/call', { name: 'any', arguments: {} }));

    describe('in its secrets', () => {
        const edit = async (rows) => {
            const both = async (work) => {
                for (const of of [table.value, table.data_key]) await work(of);
            };
            const place = (name) => secretRow(credentials[name]);
            await rows.swap(table.value, place('swapped'), place('swapped-too'));
            await both((of) => rows.swap(of, place('moved'), place('moved-too')));
            await both((of) => rows.swap(of, place('across'), place('other-vault')));
            const was = secretRow(credentials['rolled-back']);
            await rows.put(table.value, secretRow(credentials['rolled-back'], 2), older.value.get(was));
            await rows.put(table.data_key, secretRow(credentials['rolled-back'], 2), older.data_key.get(was));
            await rows.erase(table.value, place('gone'));
        };
        const refusedIn = {
            swapped: 'value',
            'swapped-too': 'value',
            moved: 'data_key',
            'moved-too': 'data_key',
            across: 'data_key',
            'other-vault': 'data_key',
            'rolled-back': 'data_key',
        };

        async function assertRefusedOneByOne(claviger) {
            for (const name of [...Object.keys(refusedIn), 'gone']) {
                const answer = await callTool(claviger, name);
                assert.equal(answer.status, 500, `${name}: ${answer.text}`);
                assert.deepEqual(answer.message.error, {
                    code: 50001,
                    message: 'The credential cannot be opened.',
                    data: { code: 'envelope.refused' },
                });
                assertNoPlace(answer.raw.toString());
            }
            assert.deepEqual(seen, [], 'a call with a secret from elsewhere went out');
            assert.equal((await callTool(claviger, 'untouched')).status, 200);
            assert.deepEqual(
                seen.map(({ path: at, token }) => [at, token]),
                [['/untouched', `Bearer ${secrets.untouched}`]],
            );

            const logged = lines(claviger);
            for (const [name, of] of Object.entries(refusedIn)) {
                const version = name === 'rolled-back' ? 2 : 1;
                const detail = `table ${of}, credential ${credentials[name].id} version ${version}: does not open at its place`;
                const found = logged.filter((line) => line.event === 'credential.refused' && line.detail === detail);
                assert.equal(found.length, 1, `${name}: ${claviger.readLog()}`);
                assert.deepEqual([found[0].level, found[0].code], ['error', 'envelope.refused']);
            }
            const unreadable = logged.find((line) => line.event === 'credential.unreadable');
            assert.equal(unreadable?.code, 'envelope.refused');
            const row = secretRow(credentials.gone);
            assert.equal(unreadable.detail, `tables value and data_key, row ${row}: missing`);

            const entries = await accessLog(claviger, session.id);
            const record = JSON.stringify(entries);
            for (const name of Object.keys(refusedIn)) {
                const of = entries.filter(({ credential_id }) => credential_id === credentials[name].id);
                assert.ok(JSON.stringify(of).includes('envelope.refused'), `${name}: ${record}`);
            }
            assert.equal((await claviger.stop()).code, 0);
        }

        it('opens with its key file and refuses each use of them', async () => {
            await edited(edit);
            await assertRefusedOneByOne(await serve(store));
            const examined = await run(binary, ['fsck', '--data', store.data, '--key-file', path.join(store.folder, 'seal.key')]);
            assert.equal(examined.code, 1);
            for (const name of [...Object.keys(refusedIn), 'gone'])
                assert.ok(examined.stdout.includes(`FAULT    credential ${credentials[name].id} version`), examined.stdout);
        });

        it('is unsealed and refuses each use of them', async () => {
            await edited(edit);
            const claviger = await serve({ ...store, file: sealedConfig });
            const opened = await unseal();
            assert.equal(opened.code, 0, opened.stderr);
            await assertRefusedOneByOne(claviger);
        });
    });

    it('by widening an environment to what it was before does not open', async () => {
        const row = metaRow(kind.environment, narrowed);
        await edited((rows) => rows.put(table.meta, row, older.meta.get(row)));
        await assertRefusedAsAWhole(new RegExp(`meta row ${row} is of commit \\d+ although commit \\d+ changed it`));
    });

    it("by putting another environment's row in the place of one does not open", async () => {
        const row = metaRow(kind.environment, narrowed);
        await edited((rows) => rows.put(table.meta, row, older.meta.get(metaRow(kind.environment, foreign))));
        await assertRefusedAsAWhole(new RegExp(`do not add up: meta; meta row ${row} `));
    });

    it('by putting a credential back as a whole, as it was before its secret was replaced, does not open', async () => {
        const credential = credentials['rolled-back'];
        const row = metaRow(kind.credential, credential);
        const was = secretRow(credential);
        await edited(async (rows) => {
            await rows.put(table.meta, row, older.meta.get(row));
            await rows.put(table.value, was, older.value.get(was));
            await rows.put(table.data_key, was, older.data_key.get(was));
        });
        await assertRefusedAsAWhole(new RegExp(`meta row ${row} is of commit \\d+ although commit \\d+ changed it`));
    });
});
