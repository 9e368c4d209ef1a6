// The authorization server of the other oauth flows, without Claviger: a fault that does not do what it says would
// prove nothing.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { login, startAuthorizationServer } from './oauth_world.mjs';

describe('The authorization server of these tests', () => {
    let as;
    before(async () => {
        as = await startAuthorizationServer();
    });
    beforeEach(() => as.mode({ grace_ms: 0, rotate: true, old_access_dies: false }));

    async function refresh(refresh_token) {
        const response = await fetch(as.tokenEndpoint, {
            method: 'POST',
            body: new URLSearchParams({ grant_type: 'refresh_token', client_id: 'public', refresh_token }),
        });
        return { status: response.status, retryAfter: response.headers.get('retry-after'), json: await response.json() };
    }
    async function mcp(access_token) {
        const response = await fetch(as.resource, {
            method: 'POST',
            headers: {
                accept: 'application/json, text/event-stream',
                'content-type': 'application/json',
                ...(access_token ? { authorization: `Bearer ${access_token}` } : {}),
            },
            body: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"flow","version":"1"}}}',
        });
        return { status: response.status, challenge: response.headers.get('www-authenticate'), text: await response.text() };
    }

    it('signs people in for clients of every kind, and its MCP server takes their tokens', async () => {
        for (const client of ['public', 'basic:1', 'post']) {
            const { access_token, refresh_token } = await login(as, { client });
            assert.match(access_token, /^canary-at_/);
            assert.match(refresh_token, /^canary-rt_/);
            assert.equal((await mcp(access_token)).status, 200);
        }
    });

    it('refuses what is no live token of its own, and says where to get one', async () => {
        const { access_token } = await login(as, { resource: `${as.resource}/other` });
        for (const token of [undefined, 'nonsense', access_token]) {
            const { status, challenge } = await mcp(token);
            assert.equal(status, 401);
            assert.match(challenge, /^Bearer .*resource_metadata="http/);
            const [, where] = /resource_metadata="([^"]*)"/.exec(challenge);
            const metadata = await (await fetch(where)).json();
            assert.deepEqual([metadata.resource, metadata.authorization_servers], [as.resource, [as.issuer]]);
        }
        const expiring = (await login(as)).access_token;
        assert.equal((await mcp(expiring)).status, 200);
        await as.expire(expiring);
        assert.equal((await mcp(expiring)).status, 401);
    });

    it('ends the grant when a refresh token comes twice, unless it has a grace', async () => {
        const strict = await login(as);
        const next = (await refresh(strict.refresh_token)).json;
        assert.notEqual(next.refresh_token, strict.refresh_token);
        assert.equal((await mcp(next.access_token)).status, 200);
        const again = await refresh(strict.refresh_token);
        assert.deepEqual([again.status, again.json.error], [400, 'invalid_grant']);
        assert.equal((await refresh(next.refresh_token)).json.error, 'invalid_grant');
        assert.equal((await mcp(next.access_token)).status, 401);

        await as.mode({ grace_ms: 60_000 });
        const kind = await login(as);
        const [first, second] = [await refresh(kind.refresh_token), await refresh(kind.refresh_token)];
        assert.equal(first.json.access_token, second.json.access_token);
        assert.equal((await mcp(second.json.access_token)).status, 200);
    });

    it('ends old access tokens with the rotation when it is told to', async () => {
        await as.mode({ old_access_dies: true });
        const { access_token, refresh_token } = await login(as);
        const { json } = await refresh(refresh_token);
        assert.equal((await mcp(access_token)).status, 401);
        assert.equal((await mcp(json.access_token)).status, 200);
    });

    for (const { kind, acts } of [
        { kind: 'drop_before', acts: false },
        { kind: 'drop_after', acts: true },
        { kind: 'reset', acts: true },
        { kind: 'truncate', acts: true },
    ])
        it(`breaks with ${kind} ${acts ? 'after' : 'before'} the refresh token is used up`, async () => {
            const { refresh_token } = await login(as);
            await as.fault({ kind });
            await assert.rejects(refresh(refresh_token));
            assert.equal((await refresh(refresh_token)).status, acts ? 400 : 200);
        });

    it('answers what it is told to, before or after it acts', async () => {
        const { refresh_token } = await login(as);
        await as.fault({ kind: 'answer', status: 429, headers: { 'retry-after': '7' }, body: { error: 'slow_down' } });
        assert.deepEqual(await refresh(refresh_token), { status: 429, retryAfter: '7', json: { error: 'slow_down' } });
        await as.fault({ kind: 'rewrite', set: { access_token: 'a\r\nb' }, remove: ['expires_in'] });
        const { json } = await refresh(refresh_token);
        assert.equal(json.access_token, 'a\r\nb');
        assert.equal(json.expires_in, undefined);
        await as.fault({ kind: 'answer_after', status: 502, body: { error: 'bad gateway' } });
        assert.equal((await refresh(json.refresh_token)).status, 502);
        assert.equal((await refresh(json.refresh_token)).status, 400);
    });

    it('holds a request until it is told to go on', async () => {
        const { refresh_token } = await login(as);
        await as.fault({ hold: 'after' });
        let done = false;
        const answer = refresh(refresh_token).finally(() => (done = true));
        const held = await as.held();
        assert.deepEqual([held.grant, held.processed, done], ['refresh_token', true, false]);
        await as.release();
        assert.equal((await answer).status, 200);
    });
});
