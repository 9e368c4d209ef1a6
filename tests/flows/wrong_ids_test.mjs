// Ids and cursors that nobody was given: whatever stands for an id in any route, or for a cursor in any list, is refused
// as such, changes nothing, and is never an error of the server.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { eventually, startClaviger, temporaryFolder } from './harness.mjs';
import { getRoutes, routes, targetsOf } from './routes.mjs';

describe('the admin API, asked for what is not there', () => {
    let claviger;
    const ids = {}; // the word before an id in a path -> the good one

    /// Says the path as it stands here: fetch() would tidy it up.
    const say = (method, path, { body, key = claviger.admin_api_key } = {}) =>
        new Promise((resolve, reject) => {
            const headers = { 'x-api-key': key, 'anthropic-beta': 'managed-agents-2026-04-01', 'content-type': 'application/json' };
            const request = http.request({ host: '127.0.0.1', port: claviger.admin_port, method, path, headers, agent: false }, (response) => {
                let text = '';
                response.setEncoding('utf8').on('data', (part) => (text += part));
                response.on('end', () => resolve({ status: response.statusCode, text, json: parsed(text) }));
            });
            request.on('error', reject);
            request.end(method === 'POST' ? (body ?? '{}') : undefined);
        });
    const parsed = (text) => {
        try {
            return JSON.parse(text);
        } catch {
            return undefined;
        }
    };

    before(async () => {
        claviger = await startClaviger({ config: { webhooks: { allow_private: true }, backup: { dir: temporaryFolder() } } });
        const make = (path, body) => claviger.admin('POST', `/v1/${path}`, body);
        const vault = await make('vaults', { display_name: 'one' });
        const auth = { type: 'static_bearer', mcp_server_url: 'https://mcp.example.com/mcp', token: 't' };
        const credential = await make(`vaults/${vault.id}/credentials`, { auth });
        const gone = await make(`vaults/${vault.id}/credentials`, { auth: { ...auth, mcp_server_url: 'https://gone.example.com/mcp' } });
        const shred = await make(`vaults/${vault.id}/credentials/${gone.id}/shred`, { rotate_vault: false });
        const client = { client_id: 'c', client_secret: 's' };
        const link = await make(`vaults/${vault.id}/connect_links`, {
            server_url: 'https://mcp.example.com/link',
            issuer: 'https://as.example.com',
            client,
        });
        const oauthClient = await make('oauth_clients', {
            issuer: 'https://as.example.com',
            ...client,
            token_endpoint_auth_method: 'client_secret_post',
        });
        const environment = await make('environments', { name: 'one', vault_bindings: [vault.id] });
        const agent = await make('agents', { name: 'one', model: 'm' });
        const session = await make('sessions', { agent: agent.id, environment_id: environment.id, vault_ids: [vault.id] });
        const hook = await make('webhooks', { name: 'one', url: 'http://127.0.0.1:9/', enabled_events: ['vault.created'] });
        const operation = await make('keys/root/rotate', { paused: true });
        const [token] = (await claviger.admin('GET', `/v1/sessions/${session.id}/tokens`)).data;
        const { slots } = await claviger.admin('GET', '/v1/seal/slots');
        const [key] = (await claviger.admin('GET', '/v1/api_keys')).data;
        Object.assign(ids, {
            vaults: vault.id,
            credentials: credential.id,
            connect_links: link.id,
            oauth_clients: oauthClient.id,
            environments: environment.id,
            agents: agent.id,
            sessions: session.id,
            tokens: token.id,
            webhooks: hook.id,
            slots: slots[0].id,
            shreddings: shred.shredding_id,
            operations: operation.id,
            api_keys: key.id,
        });
        const shredded = async () => (await claviger.admin('GET', `/v1/shreddings/${ids.shreddings}`)).stages.some(({ purged_at }) => purged_at);
        await eventually('clean files', shredded, 30_000);
    });
    after(() => claviger?.stop());

    /// [what, what stands in the path] for one good id.
    function wrongFormsOf(id) {
        const cut = id.indexOf('_'); // seal slots have no prefix
        const [prefix, rest] = [id.slice(0, Math.max(cut, 0)), id.slice(cut + 1)];
        const other = id === ids.vaults ? ids.sessions : ids.vaults;
        const encoded = (text) => [...text].map((each) => `%${each.charCodeAt(0).toString(16)}`).join('');
        return [
            ['nothing', ''],
            ['the prefix alone', `${prefix}_`],
            ['no prefix', rest],
            ['no underscore', prefix + rest],
            ['two underscores', `${prefix}__${rest}`],
            ['an unknown prefix', `xyz_${rest}`],
            ['a prefix in capitals', `${prefix.toUpperCase()}_${rest}`],
            ['another version', `${prefix}_02${rest.slice(2)}`],
            ['the id of something else', other],
            ['something else under this prefix', `${prefix}_${other.split('_')[1]}`],
            ['one character less', id.slice(0, -1)],
            ['one character more', `${id}1`],
            ['half of it', id.slice(0, id.length / 2)],
            ['it twice', id + id],
            ['capitals', `${prefix}_${rest.toUpperCase()}`],
            ['small letters', `${prefix}_${rest.toLowerCase()}`],
            ...['0', 'O', 'I', 'l', '-', '*', '=', '%c3%a9', '%ff', '%00'].map((each) => [`${each} as the last character`, id.slice(0, -1) + each]),
            ['more than 16 bytes', `${prefix}_01${'z'.repeat(22)}`],
            ['nobody', `${prefix}_01${'1'.repeat(22)}`],
            ['NUL behind it', `${id}%00`],
            ['NUL before it', `%00${id}`],
            ['a space behind it', `${id}%20`],
            ['a plus sign behind it', `${id}+`],
            ['a line behind it', `${id}%0a`],
            ['a carriage return behind it', `${id}%0d%0aX:y`],
            ['an invisible character behind it', `${id}%e2%80%8b`],
            ['a slash behind it', `${id}%2f`],
            ['a question mark behind it', `${id}%3f`],
            ['a parameter behind it', `${id};a=b`],
            ['percent signs twice', encoded(id).replaceAll('%', '%25')],
            ['half a percent sign', `${id}%`],
            ['no hex digits', `${id}%zz`],
            ['an overlong slash', `${id}%c0%af`],
            ['the folder itself', '.'],
            ['the folder above', '..'],
            ['the folder above, encoded', '%2e%2e'],
            ['another collection', `..%2fapi_keys`],
            ['a way up from it', `${id}%2f..%2f${id}`],
            ['a file', '..%2f..%2f..%2fetc%2fpasswd'],
            ['a wildcard', '%2a'],
            ['quotes', `%22%27${id}`],
            ['null', 'null'],
            ['a number', '-1'],
            ['very much', `${prefix}_01${'1'.repeat(8_000)}`],
        ].filter(([, form]) => form !== id);
    }

    const shown = async () => {
        const all = {};
        for (const route of getRoutes.filter((each) => each !== 'access_log'))
            for (const target of targetsOf(route, Object.fromEntries(Object.entries(ids).map(([word, id]) => [word, [id]])))) {
                const { status, text } = await say('GET', target);
                assert.ok(status < 500, `${target}: ${status}`);
                all[target] = text.replaceAll(/"(request_id|as_of)":"[^"]*"|"duration_seconds":\d+/g, '');
            }
        return all;
    };

    it('refuses every wrong id in every place of every route, and changes nothing', async () => {
        const before = await shown();
        assert.ok(Object.keys(before).length > 30, `${Object.keys(before).length} targets`);
        let asked = 0;
        for (const { method, path } of routes.filter((route) => route.path.includes('{}'))) {
            const parts = path.split('/');
            const good = parts.map((part, index) => (part === '{}' ? (ids[parts[index - 1]] ?? assert.fail(`no id for ${path}`)) : part));
            for (const [index, part] of parts.entries()) {
                if (part !== '{}') continue;
                const wrong = wrongFormsOf(good[index]);
                const answers = await Promise.all(wrong.map(([, form]) => say(method, `/v1/${good.with(index, form).join('/')}`)));
                for (const [at, { status, json, text }] of answers.entries()) {
                    const what = `${method} ${path} with ${wrong[at][0]}: ${status} ${text.slice(0, 300)}`;
                    assert.ok(status === 400 || status === 404, what);
                    assert.equal(json?.error?.type, status === 404 ? 'not_found_error' : 'invalid_request_error', what);
                    assert.ok(json.error.message.length > 0, what);
                    ++asked;
                }
            }
        }
        assert.ok(asked > 2_000, `only ${asked} were tried`);
        assert.deepEqual(await shown(), before);
    });

    it('takes an id with every character percent-encoded for what it is', async () => {
        const encoded = [...ids.vaults].map((each) => `%${each.charCodeAt(0).toString(16)}`).join('');
        assert.equal((await say('GET', `/v1/vaults/${encoded}`)).json.id, ids.vaults);
    });

    it('says of an unknown path what there is', async () => {
        const { status, json } = await say('GET', '/v1/messages');
        assert.equal(status, 404);
        assert.match(json.error.message, /vaults, .* webhooks, .* keys, /);
    });

    it('refuses a cursor that is not of this list', async () => {
        const vaults = [];
        for (let number = 0; number < 3; ++number) {
            vaults.push(await claviger.admin('POST', '/v1/vaults', { display_name: `more ${number}` }));
            await claviger.admin('POST', '/v1/environments', { name: `more-${number}` });
            const agent = await claviger.admin('POST', '/v1/agents', { name: `more ${number}`, model: 'm' });
            await claviger.admin('POST', `/v1/agents/${ids.agents}`, { name: `renamed ${number}`, version: number + 1 });
            await claviger.admin('POST', '/v1/sessions', { agent: agent.id, environment_id: ids.environments });
            for (const vault of [ids.vaults, vaults[0].id])
                await claviger.admin('POST', `/v1/vaults/${vault}/credentials`, {
                    auth: { type: 'static_bearer', mcp_server_url: `https://${number}.example.com/mcp`, token: 't' },
                });
        }
        const lists = [
            'vaults', `vaults/${ids.vaults}/credentials`, `vaults/${vaults[0].id}/credentials`, 'environments', 'agents', 'sessions',
            `agents/${ids.agents}/versions`, 'access_log', 'sessions?order=asc',
        ].map((list) => `/v1/${list}${list.includes('?') ? '&' : '?'}limit=1`);
        const cursors = [];
        for (const list of lists) {
            const { next_page } = (await say('GET', list)).json;
            assert.equal(typeof next_page, 'string', list);
            assert.equal((await say('GET', `${list}&page=${encodeURIComponent(next_page)}`)).status, 200, list);
            cursors.push(next_page);
        }
        const other = await claviger.admin('POST', '/v1/workspaces', { name: 'others' });
        let asked = 0;
        for (const [index, list] of lists.entries()) {
            const cursor = cursors[index];
            const altered = (at) => cursor.slice(0, at) + (cursor[at] === 'A' ? 'B' : 'A') + cursor.slice(at + 1);
            const wrong = [
                ...cursors.filter((each) => each !== cursor).map(encodeURIComponent), // of the other lists
                ...[1, 4, cursor.length / 2, cursor.length - 1].map((length) => encodeURIComponent(cursor.slice(0, length))),
                ...[0, 1, Math.floor(cursor.length / 2), cursor.length - 2].map((at) => encodeURIComponent(altered(at))),
                encodeURIComponent(`${cursor}A`), encodeURIComponent(`${cursor}=`), encodeURIComponent(cursor + cursor),
                encodeURIComponent(` ${cursor}`), `${encodeURIComponent(cursor)}%00`, `%00`, '%ff', 'null', '1', '-1', ids.vaults,
                encodeURIComponent(cursor).repeat(50), 'A'.repeat(8_000), '..%2f..%2f', '%22', '%', '%zz',
            ];
            for (const page of wrong) {
                const { status, json, text } = await say('GET', `${list}&page=${page}`);
                const what = `${list} with page=${page.slice(0, 200)}: ${status} ${text.slice(0, 300)}`;
                assert.equal(status, 400, what);
                assert.equal(json?.error?.type, 'invalid_request_error', what);
                ++asked;
            }
            const elsewhere = await say('GET', `${list}&page=${encodeURIComponent(cursor)}`, { key: other.admin_api_key });
            assert.ok([400, 404].includes(elsewhere.status), `${list} in another workspace: ${elsewhere.status} ${elsewhere.text}`);
        }
        assert.ok(asked > 200, `only ${asked} were tried`);
    });

    it('takes no more from a cursor under another filter than that filter shows', async () => {
        const { next_page } = (await say('GET', '/v1/access_log?limit=1')).json;
        const page = encodeURIComponent(next_page);
        const { status, json } = await say('GET', `/v1/access_log?limit=100&kind=grant&page=${page}`);
        assert.equal(status, 200);
        assert.deepEqual(json.data.filter(({ kind }) => kind !== 'grant'), []);
        const sessions = (await say('GET', '/v1/sessions?limit=1')).json;
        const outside = await say('GET', `/v1/sessions?limit=1&created_at[gt]=2100-01-01T00:00:00Z&page=${encodeURIComponent(sessions.next_page)}`);
        assert.equal(outside.status, 400, outside.text);
    });
});
