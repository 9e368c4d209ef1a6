// What a server or an administrator forbids an OAuth credential: errors in other clothes, missing scopes, holds.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary, eventually, run, startClaviger, temporaryFolder } from './harness.mjs';
import { call, callWell, connected, grantOf, startAuthorizationServer } from './oauth_world.mjs';
import { post } from './wire.mjs';

describe('A call with an OAuth credential', () => {
    let as;
    let claviger;

    before(async () => {
        as = await startAuthorizationServer();
        const folder = path.join(temporaryFolder(), 'providers');
        mkdirSync(folder);
        const shown = await run(binary, ['provider', 'show', 'mcp', '--json']);
        const profile = JSON.parse(shown.stdout);
        delete profile.evidence;
        Object.assign(profile, {
            name: 'marked',
            server_urls: Array.from({ length: 40 }, (_, index) => `${as.resource}/${index}`),
            upstream: { rejections: [{ path: 'error', values: ['token_expired', 'invalid_auth'] }] },
        });
        writeFileSync(path.join(folder, 'marked.json'), JSON.stringify(profile));
        claviger = await startClaviger({ config: { oauth: { providers_dir: folder } } });
    });
    after(() => claviger?.stop());

    const json = { 'content-type': 'application/json' };
    const answering = (body, more = {}) =>
        as.resourceMode({ answers: { count: 1, status: 200, headers: json, body: JSON.stringify(body), ...more } });
    const statuses = async (granted, id) => (await granted.seen()).filter((one) => one.id === id).map((one) => one.status);

    describe('that is refused with status 200', () => {
        it('is repeated with another token, once', async () => {
            const granted = await connected(claviger, as);
            await answering({ ok: false, error: 'token_expired' });
            await callWell(granted, 'once');
            assert.deepEqual(await statuses(granted, 'once'), [200, 200]);
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('says so when the new token fares no better, and does not go on', async () => {
            const granted = await connected(claviger, as);
            await answering({ ok: false, error: 'invalid_auth' }, { count: 9 });
            const { message, text } = await call(granted, 'twice');
            await as.resourceMode({ answers: { count: 0 } });
            assert.equal(message.error.data.code, 'upstream.unauthorized', text);
            assert.deepEqual(await statuses(granted, 'twice'), [200, 200]);
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('passes when it is another error, a long answer, or a stream', async () => {
            const granted = await connected(claviger, as);
            const rpc = (id, more) => ({ jsonrpc: '2.0', id, result: { content: [] }, ...more });
            await answering(rpc('other', { error: undefined, note: 'channel_not_found' }));
            assert.ok((await call(granted, 'other')).message.result);
            await answering({ ...rpc('long'), error: 'token_expired', filler: 'x'.repeat(20_000) });
            const long = await call(granted, 'long');
            assert.ok(long.text.includes('filler'), long.text.slice(0, 200));
            const event = `event: message\ndata: ${JSON.stringify({ ...rpc('stream'), note: { error: 'token_expired' } })}\n\n`;
            await answering({}, { headers: { 'content-type': 'text/event-stream' }, body: event });
            assert.ok((await call(granted, 'stream')).message.result);
            assert.equal((await granted.refreshes()).length, 0);
        });
    });

    describe('that needs more scopes', () => {
        before(() => as.resourceMode({ needs: { write_note: 'mcp:write' } }));
        after(() => as.resourceMode({ needs: {} }));

        const insufficient = ({ message, status, text }) => {
            assert.equal(status, 200, text);
            assert.equal(message.error.code, 40302, text);
            const { code, hint, missing_scopes } = message.error.data;
            assert.deepEqual([code, missing_scopes], ['upstream.insufficient_scope', ['mcp:write']]);
            assert.match(message.error.message, /mcp:write/);
            assert.match(hint, /connect link/);
        };

        it('is told which, in the modern era, and again (14)', async () => {
            const granted = await connected(claviger, as);
            insufficient(await call(granted, 1, 'write_note'));
            insufficient(await call(granted, 2, 'write_note'));
            await eventually('the need is stored', async () => (await grantOf(claviger, granted)).step_ups.length === 1);
            const { step_ups, what_to_do } = await grantOf(claviger, granted);
            assert.deepEqual(step_ups[0].scopes, ['mcp:read', 'mcp:write'].filter((one) => step_ups[0].scopes.includes(one)));
            assert.match(what_to_do, /claviger credential connect/);
            await callWell(granted, 3);
        });

        it('is told which, in the legacy era', async () => {
            const granted = await connected(claviger, as);
            const body = { jsonrpc: '2.0', id: 4, method: 'tools/call', params: { name: 'write_note', arguments: {} } };
            insufficient(await post(granted.endpoint, granted.sessionToken, body, { 'mcp-protocol-version': '2025-11-25' }));
        });

        it('is on record, with its reason', async () => {
            const granted = await connected(claviger, as);
            await call(granted, 5, 'write_note');
            await eventually('the outcome is on record', async () => {
                const { data } = await claviger.admin('GET', `/v1/access_log?credential_id=${granted.credential.id}&limit=5`);
                return data.some((entry) => entry.reason === 'upstream.insufficient_scope' && entry.status === 403);
            });
        });

        it('learns nothing else from the server, not even its own token', async () => {
            const granted = await connected(claviger, as);
            const token = granted.tokens.access_token;
            const challenge = `Bearer error="insufficient_scope", scope="${token} mcp:write", error_description="internal name"`;
            await answering({}, { status: 403, headers: { ...json, 'www-authenticate': challenge } });
            const { raw, message } = await call(granted, 6);
            assert.ok(!raw.toString('latin1').includes(token));
            assert.ok(!raw.toString('latin1').includes('internal name'));
            assert.equal(message.error.data.missing_scopes.at(-1), 'mcp:write');
        });
    });

    describe('that an administrator holds', () => {
        const act = (granted, what, options) => claviger.admin('POST', `${granted.credentialPath}/${what}`, undefined, options);

        it('is refused at once and says why, until it is let go on', async () => {
            const granted = await connected(claviger, as);
            await callWell(granted, 1);
            assert.equal((await act(granted, 'suspend')).state, 'suspended');
            const { message, status, text } = await call(granted, 2);
            assert.deepEqual([status, message.error.code, message.error.data.code], [200, 40302, 'grant.suspended'], text);
            assert.match(message.error.message, /hold/);
            assert.deepEqual(await statuses(granted, 2), []);
            assert.equal((await act(granted, 'resume')).state, 'ready');
            await callWell(granted, 3);
            const { data } = await claviger.admin('GET', `/v1/access_log?credential_id=${granted.credential.id}&limit=50`);
            const reasons = data.map(({ reason }) => reason).filter((reason) => reason?.startsWith('grant.'));
            assert.deepEqual(reasons, ['grant.resumed', 'grant.suspended', 'grant.suspended']);
        });

        it('is not renewed meanwhile, and is when it is let go on', async () => {
            await as.mode({ access_ttl: 8 });
            const granted = await connected(claviger, as);
            await as.mode({ access_ttl: 3600 });
            await act(granted, 'suspend');
            await sleep(8_500);
            for (const id of [1, 2]) assert.ok((await call(granted, id)).message.error);
            assert.equal((await granted.refreshes()).length, 0);
            assert.equal((await grantOf(claviger, granted)).next.action, null);
            await act(granted, 'resume');
            await callWell(granted, 3);
            assert.equal((await granted.refreshes()).length, 1);
        });

        it('keeps what an attempt under way brings (42)', async () => {
            const granted = await connected(claviger, as, { dead: true, fault: { hold: 'after' } });
            const waiting = call(granted, 1);
            await as.held();
            await act(granted, 'suspend');
            await as.release();
            assert.equal((await waiting).message.error.data.code, 'grant.suspended');
            await eventually('the answer is kept', async () => (await grantOf(claviger, granted)).generation === 2);
            assert.equal((await grantOf(claviger, granted)).state, 'suspended');
            await act(granted, 'resume');
            await callWell(granted, 2);
            assert.equal((await granted.refreshes()).length, 1, 'the rotated token was lost');
        });

        it('is held and let go on from the command line too', async () => {
            const granted = await connected(claviger, as);
            const keyFile = path.join(temporaryFolder(), 'admin.key');
            writeFileSync(keyFile, claviger.admin_api_key, { mode: 0o600 });
            const env = { ...process.env, CLAVIGER_URL: claviger.adminUrl, CLAVIGER_API_KEY_FILE: keyFile };
            async function stateAfter(word) {
                const done = await run(binary, ['credential', word, granted.credential.id, '--json'], { env });
                assert.equal(done.code, 0, done.stderr);
                return JSON.parse(done.stdout).state;
            }
            assert.equal(await stateAfter('suspend'), 'suspended');
            assert.ok((await call(granted, 1)).message.error);
            assert.equal(await stateAfter('resume'), 'ready');
            await callWell(granted, 2);
        });
    });
});
