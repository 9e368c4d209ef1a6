// A hostile server gets the credential and does its worst: the agent must never read it, and must always be told.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import {
    eventually,
    freshSecret,
    grant,
    secretForms,
    startClaviger,
    startNode,
    tracesOf,
} from './harness.mjs';
import { modernHeaders, modernRequest, post, rpc } from './wire.mjs';

const secret = freshSecret('hostile???');
const residentLimitMiB = 1536; // generous, for a binary built with sanitizers

describe('A hostile upstream', () => {
    let claviger;
    let granted;
    let upstream;
    let control;
    before(async () => {
        upstream = await startNode('hostile_upstream.mjs');
        control = async () => (await fetch(`http://127.0.0.1:${upstream.ready.control_port}`)).json();
        claviger = await startClaviger({ config: { upstream: { abandoned_ms: 1_000 } } });
        granted = await granting(claviger);
    });
    const granting = (to) =>
        grant(to, {
            url: `http://127.0.0.1:${upstream.ready.port}/mcp`,
            token: secret,
            serverName: 'hostile',
        });

    const call = (tool, options) =>
        post(
            granted.endpoint,
            granted.sessionToken,
            modernRequest(`call-${tool}`, 'tools/call', { name: tool, arguments: {} }),
            modernHeaders('tools/call', tool),
            'POST',
            options,
        );

    /// Every byte that came over the socket, what HTTP makes of it, and what a browser would unpack.
    function nothingLeaked(answer) {
        assert.deepEqual(tracesOf(secret, answer.raw), [], 'the secret is readable in the bytes');
        const head = JSON.stringify([...answer.headers]);
        assert.deepEqual(tracesOf(secret, head), [], 'the secret is readable in the headers');
        assert.deepEqual(tracesOf(secret, answer.text), [], 'the secret is readable in the body');
        assert.deepEqual(
            tracesOf(secret, JSON.stringify(answer.messages)),
            [],
            'the secret is readable in the parsed messages',
        );
        const squeezed = answer.text.replaceAll('\0', '');
        assert.deepEqual(tracesOf(secret, squeezed), [], 'the secret is readable as UTF-16');
        const gzipAt = answer.raw.indexOf(Buffer.from([0x1f, 0x8b, 8]));
        if (gzipAt >= 0) {
            let unpacked = '';
            try {
                unpacked = gunzipSync(answer.raw.subarray(gzipAt), { finishFlush: 2 }).toString();
            } catch {
                /* not gzip after all */
            }
            assert.deepEqual(tracesOf(secret, unpacked), [], 'the secret is readable after unpacking');
        }
        assert.equal(answer.headers.get('content-encoding'), null);
        for (const name of [
            'set-cookie',
            'location',
            'www-authenticate',
            'proxy-authenticate',
            'x-echo',
            'link',
            'trailer',
        ]) {
            assert.equal(answer.headers.get(name), null, `${name} of the upstream reached the agent`);
        }
    }

    function answered(answer, tool) {
        assert.equal(answer.broken, undefined, `the answer broke off: ${answer.broken}`);
        assert.equal(answer.status, 200, answer.text.slice(0, 500));
        assert.ok(answer.message, `no JSON-RPC answer in ${answer.text.slice(0, 500)}`);
        assert.equal(answer.message.id, `call-${tool}`);
    }

    function clearError(answer, tool) {
        assert.equal(answer.broken, undefined, `the answer broke off: ${answer.broken}`);
        const { error, id } = answer.message ?? {};
        assert.ok(error, `no JSON-RPC error in ${answer.status}: ${answer.text.slice(0, 500)}`);
        assert.equal(id, `call-${tool}`, 'the error does not name its call');
        assert.ok(error.message.length >= 15, `this explains nothing: ${error.message}`);
        assert.ok(Number.isInteger(error.code));
        assert.ok(
            !(error.code >= -32099 && error.code <= -32000),
            `code ${error.code} is reserved for the protocol`,
        );
        assert.doesNotMatch(answer.text, /cabbage|<html/, 'the refusal quotes the upstream');
        assert.notEqual(answer.status, 401, 'the agent would start an OAuth flow');
    }

    describe('whose correct answer has the secret in it', () => {
        for (const tool of [
            'unknown_header',
            'passed_headers',
            'reason_phrase',
            'early_hints',
            'trailer',
            'json_key',
            'json_error',
            'json_many',
            'json_almost',
            'json_large',
            'json_bytewise',
            'sse_bytewise',
            'sse_fields',
            'sse_unfinished',
            'sse_line_ends',
            'sse_many_data_lines',
            'close_delimited',
        ]) {
            it(`${tool}: the answer arrives without it`, async () => {
                const answer = await call(tool);
                nothingLeaked(answer);
                answered(answer, tool);
            });
        }

        it('leaves the rest of the text alone', async () => {
            const large = (await call('json_large')).message.result.content[0].text;
            assert.match(large, /^x{300000}[^xy]+y{300000}$/);
            const plain = (await call('clean')).message.result.content[0].text;
            assert.equal(plain, 'clean');
            const bytewise = await call('sse_bytewise');
            assert.equal(bytewise.messages.length, 2);
            assert.match(bytewise.messages[0].params.data, /^token \S+$/);
        });
    });

    describe('that encodes the secret', () => {
        for (const { form } of secretForms(secret)) {
            const name = form.replaceAll(/[^a-z0-9]+/g, '_');
            for (const how of ['json', 'sse']) {
                it(`${form}, ${how === 'json' ? 'in one piece' : 'on a stream, byte by byte'}`, async () => {
                    const answer = await call(`${how}_form_${name}`);
                    nothingLeaked(answer);
                    answered(answer, `${how}_form_${name}`);
                    assert.ok(answer.message.result, answer.text);
                });
            }
        }
    });

    describe('that does not answer properly', () => {
        for (const tool of [
            'redirect_302',
            'redirect_307',
            'redirect_308',
            'unauthorized',
            'forbidden',
            'proxy_auth',
            'too_many',
            'html_error',
            'html_ok',
            'no_type',
            'not_json',
            'empty',
            'gzip',
            'gzip_sse',
            'utf16',
            'huge_header',
            'many_headers',
            'bad_chunk',
            'two_lengths',
            'length_and_chunks',
            'garbage',
            'silent_close',
            'reset',
            'short_body',
            'switching',
        ]) {
            it(`${tool}: the agent reads a clear error`, async () => {
                const answer = await call(tool);
                nothingLeaked(answer);
                clearError(answer, tool);
            });
        }

        it('bad_second_chunk: an answer that has begun is broken off, never completed', async () => {
            const answer = await call('bad_second_chunk');
            nothingLeaked(answer);
            if (answer.broken === undefined) clearError(answer, 'bad_second_chunk');
        });

        it('is not followed to another place, neither with nor without the secret', async () => {
            assert.deepEqual((await control()).stolen, []);
        });
    });

    describe('whose stream stops before the answer', () => {
        for (const tool of ['sse_closed', 'sse_reset', 'sse_cut_event', 'sse_other_id']) {
            it(`${tool}: what came is delivered, then an error, then the end`, async () => {
                const begun = Date.now();
                const answer = await call(tool);
                nothingLeaked(answer);
                assert.equal(answer.messages[0].params.data, 'begun');
                clearError(answer, tool);
                assert.ok(Date.now() - begun < 5_000, 'the end came late');
            });
        }
    });

    describe('that says nothing for longer than the configuration allows', () => {
        const calls = async (upstreamLimits, tool) => {
            const impatient = await startClaviger({
                config: { upstream: { allow_private: true, ...upstreamLimits } },
            });
            const { endpoint, sessionToken } = await grant(impatient, {
                url: `http://127.0.0.1:${upstream.ready.port}/mcp`,
                token: secret,
                serverName: 'hostile',
            });
            const message = modernRequest(`call-${tool}`, 'tools/call', { name: tool, arguments: {} });
            const answer = await post(endpoint, sessionToken, message, modernHeaders('tools/call', tool));
            await impatient.stop();
            return answer;
        };

        it('head_timeout_ms: an answer that does not begin is a time-out', async () => {
            const answer = await calls({ head_timeout_ms: 500 }, 'never');
            clearError(answer, 'never');
            assert.equal(answer.message.error.code, 50401);
        });

        it('stream_idle_ms: neither is a stream that stops waited for', async () => {
            const answer = await calls({ stream_idle_ms: 1_000 }, 'sse_stalled');
            assert.equal(answer.messages[0].params.data, 'begun');
            clearError(answer, 'sse_stalled');
            assert.equal(answer.message.error.code, 50401);
        });
    });

    describe('whose answer never ends', () => {
        const tools = ['endless_json', 'endless_sse', 'endless_line', 'never'];
        for (const [era, tool] of ['modern', 'legacy'].flatMap((each) => tools.map((tool) => [each, tool]))) {
            const soon = era === 'modern' ? 'at once' : 'after a while';
            it(`${tool}: when the agent of the ${era} era leaves, the upstream is left ${soon}`, async () => {
                const target = new URL(granted.endpoint);
                const params = { name: tool, arguments: {} };
                const body = JSON.stringify(
                    era === 'modern' ? modernRequest(1, 'tools/call', params) : rpc(1, 'tools/call', params),
                );
                const head = {
                    host: target.host,
                    authorization: `Bearer ${granted.sessionToken}`,
                    'content-type': 'application/json',
                    accept: 'application/json, text/event-stream',
                    'content-length': Buffer.byteLength(body),
                    ...(era === 'modern' ? modernHeaders('tools/call', tool) : {}),
                };
                const received = [];
                const agent = net.connect(Number(target.port), target.hostname);
                agent.on('error', () => {});
                agent.on('data', (part) => {
                    received.push(part);
                    if (Buffer.concat(received).length > 200_000) agent.pause(); // a reader that stops reading
                });
                agent.write(
                    `POST ${target.pathname} HTTP/1.1\r\n${Object.entries(head)
                        .map(([name, value]) => `${name}: ${value}\r\n`)
                        .join('')}\r\n${body}`,
                );
                await eventually(
                    'the upstream is called',
                    async () => (await control()).open.includes(tool) || received.length > 0,
                );
                await sleep(1_000);
                const { written } = await control();
                assert.ok(
                    written < 256 << 20,
                    `the proxy took ${written >> 20} MiB from the upstream for an agent that reads nothing`,
                );
                const status = readFileSync(`/proc/${claviger.child.pid}/status`, 'utf8');
                const residentMiB = Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) / 1024;
                assert.ok(residentMiB < residentLimitMiB, `the proxy holds ${Math.round(residentMiB)} MiB`);
                agent.destroy();
                await eventually(
                    'the upstream sees the end',
                    async () => !(await control()).open.includes(tool),
                );
                assert.deepEqual(tracesOf(secret, Buffer.concat(received)), []);
            });
        }

        it('the agent that stays is told when its time is over', async () => {
            const impatient = await startClaviger({ config: { upstream: { total_timeout_ms: 1_000 } } });
            const { endpoint, sessionToken } = await granting(impatient);
            for (const tool of ['never', 'endless_sse']) {
                const answer = await post(
                    endpoint,
                    sessionToken,
                    modernRequest(`call-${tool}`, 'tools/call', { name: tool, arguments: {} }),
                    modernHeaders('tools/call', tool),
                );
                nothingLeaked(answer);
                clearError(answer, tool);
                assert.equal(answer.message.error.data.code, 'upstream.timeout');
            }
        });
    });

    it('that answers twice cannot slip its second answer under the next call', async () => {
        for (let round = 0; round < 5; ++round) {
            const first = await call('poison');
            nothingLeaked(first);
            answered(first, 'poison');
            assert.equal(first.message.result.content[0].text, 'mine');
            const next = await call('clean');
            nothingLeaked(next);
            answered(next, 'clean');
            assert.equal(next.message.result.content[0].text, 'clean');
        }
    });

    it('leaves Claviger healthy, and no trace of the secret in its log', async () => {
        const answer = await call('clean');
        answered(answer, 'clean');
        const log = claviger.readLog();
        assert.deepEqual(tracesOf(secret, log), []);
        assert.deepEqual(tracesOf(granted.sessionToken, log), []);
        assert.doesNotMatch(log, /AddressSanitizer|runtime error:/);
    });
});
