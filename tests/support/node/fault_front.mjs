// Stands before an authorization server and breaks what it is told to break: at the token endpoint, before or after the
// server has acted. It also gives tokens a form that is recognisable in every encoding, and keeps a list of them.
import { createHash } from 'node:crypto';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const bodyLimitBytes = 1 << 20;
const rememberedRequests = 20_000;

/// Enough to tell refresh tokens apart, nothing to use one with.
export const fingerprint = (token) => createHash('sha256').update(token).digest('hex').slice(0, 8);

const tail = '/~~~+-o.~~==';
const disguised = (kind, token) => `canary-${kind}_${token}${tail}`;
export const plainToken = (token) =>
    token.endsWith(tail) ? token.slice(token.indexOf('_') + 1, -tail.length) : token;

export async function readBody(request) {
    const parts = [];
    let size = 0;
    for await (const part of request) {
        size += part.length;
        if (size > bodyLimitBytes) throw new Error(`the body is longer than ${bodyLimitBytes} bytes`);
        parts.push(part);
    }
    return Buffer.concat(parts);
}

/// A fault: {path, grant, resource, count, kind, …}. It meets the next `count` (default 1) requests for that path (default
/// /token), grant type and resource (default any). Its kinds:
///   pass                 nothing but its delays: delay_before, delay_after (ms), hold: 'before' | 'after'
///   drop_before          the server never sees the request
///   drop_after           the server acts, no byte of its answer comes back
///   reset, truncate      the server acts, half of the answer comes, then an RST or an orderly end
///   answer               the server does not act; status, headers, body are answered instead
///   answer_after         the same, but the server has acted
///   rewrite              members of the answer are changed: set, remove
/// What is held waits for release(), or is dropped by drop().
export function faultFront(forwardTo, mode) {
    const faults = [];
    const log = [];
    const issued = []; // { kind, value, resource } in order; the resource that the request named
    const held = new Set();
    const replays = new Map(); // plain refresh token → { until, answer }
    let together = 0; // token requests that are being answered

    function forward(request, body) {
        return new Promise((resolve, reject) => {
            const headers = { ...request.headers, 'x-forwarded-proto': 'http', 'accept-encoding': 'identity' };
            delete headers.connection;
            delete headers['transfer-encoding'];
            headers['content-length'] = body.length;
            const inner = http.request(
                { host: '127.0.0.1', port: forwardTo(), method: request.method, path: request.url, headers },
                (answer) =>
                    readBody(answer).then(
                        (bytes) => resolve({ status: answer.statusCode, headers: answer.headers, body: bytes }),
                        reject,
                    ),
            );
            inner.on('error', reject);
            inner.end(body);
        });
    }

    /// The server's own tokens in place of the disguised ones.
    function plainForm(form) {
        let changed = false;
        for (const name of ['refresh_token', 'token', 'subject_token', 'actor_token', 'assertion']) {
            const value = form.get(name);
            if (value === null || plainToken(value) === value) continue;
            form.set(name, plainToken(value));
            changed = true;
        }
        return changed;
    }

    function disguise(answer, resource) {
        const json = parsed(answer);
        if (!json) return answer;
        for (const [member, kind] of [['access_token', 'at'], ['refresh_token', 'rt']]) {
            if (typeof json[member] !== 'string') continue;
            if (mode.disguise) json[member] = disguised(kind, json[member]);
            issued.push({ kind: member, value: json[member], resource });
        }
        if (json.id_token) issued.push({ kind: 'id_token', value: json.id_token, resource });
        return { ...answer, body: Buffer.from(JSON.stringify(json)) };
    }

    /// Waits until the test says go on; false: the connection is to be dropped.
    function hold(entry) {
        entry.held = true;
        return new Promise((resolve) => {
            const end = (goesOn) => {
                held.delete(end);
                entry.held = false;
                resolve(goesOn);
            };
            held.add(end);
        });
    }

    /// The same refresh token gets the same answer again for a while, as providers with a grace do.
    function processed(request, body, refreshToken) {
        if (refreshToken && mode.grace_ms > 0) {
            const replay = replays.get(refreshToken);
            if (replay && replay.until > Date.now()) return replay.answer;
            const answer = forward(request, body);
            replays.set(refreshToken, { until: Date.now() + mode.grace_ms, answer });
            return answer;
        }
        return forward(request, body);
    }

    async function serve(request, response) {
        let body = await readBody(request);
        const [path, query] = request.url.split('?');
        const isForm = /x-www-form-urlencoded/.test(request.headers['content-type'] ?? '');
        const form = new URLSearchParams(isForm ? body.toString() : '');
        const grant = form.get('grant_type') ?? undefined;
        const sent = form.get('refresh_token') ?? undefined;
        const fault = faults.find(
            (one) =>
                one.count > 0 &&
                one.path === path &&
                [undefined, grant].includes(one.grant) &&
                [undefined, form.get('resource')].includes(one.resource),
        );
        if (fault) --fault.count;
        const entry = { at: Date.now(), method: request.method, path, grant, fault: fault?.kind };
        if (query) entry.query = Object.fromEntries(new URLSearchParams(query));
        if (path === mode.token_path) {
            Object.assign(entry, {
                client: form.get('client_id') ?? basicUser(request.headers.authorization),
                refresh: sent && fingerprint(sent),
                scope: form.get('scope') ?? undefined,
                resource: form.get('resource') ?? undefined,
                auth: request.headers.authorization?.split(' ')[0].toLowerCase(),
                form: [...form.keys()],
                accept: request.headers.accept,
                together: ++together,
            });
            const assertion = form.get('client_assertion');
            if (assertion) entry.assertion_header = JSON.parse(Buffer.from(assertion.split('.')[0], 'base64url'));
            response.on('close', () => --together);
        }
        if (form.get('token')) entry.token = fingerprint(form.get('token')); // of a revocation
        log.push(entry);
        if (log.length > rememberedRequests) log.shift();

        if (isForm && plainForm(form)) body = Buffer.from(form.toString());
        if (fault?.delay_before) await sleep(fault.delay_before);
        if (fault?.hold === 'before' && !(await hold(entry))) return request.socket.destroy();
        if (fault?.kind === 'drop_before') return request.socket.destroy();
        if (fault?.kind === 'answer') return say(response, made(fault));

        let answer = await processed(request, body, grant === 'refresh_token' ? form.get('refresh_token') : null);
        Object.assign(entry, { processed: true, status: answer.status, error: parsed(answer)?.error });
        noteCode(answer.headers.location);
        if (path === mode.token_path) answer = disguise(answer, entry.resource);
        if (fault?.kind === 'rewrite') answer = rewritten(answer, fault);
        if (fault?.kind === 'answer_after') answer = made(fault);
        if (fault?.delay_after) await sleep(fault.delay_after);
        if (fault?.hold === 'after' && !(await hold(entry))) return request.socket.destroy();
        if (fault?.kind === 'drop_after') return request.socket.destroy();
        const half = fault?.kind === 'reset' || fault?.kind === 'truncate';
        say(response, answer, half && answer.body.length >> 1);
        if (half)
            setTimeout(() => (fault.kind === 'reset' ? request.socket.resetAndDestroy() : request.socket.end()), 20);
    }

    function noteCode(location) {
        const code = location && new URL(location, 'http://127.0.0.1/').searchParams.get('code');
        if (code) issued.push({ kind: 'code', value: code });
    }

    return {
        log,
        issued,
        serve,
        addFault: (fault) => faults.push({ path: mode.token_path, count: 1, kind: 'pass', ...fault }),
        clearFaults: () => (faults.length = 0),
        release: () => [...held].forEach((end) => end(true)),
        drop: () => [...held].forEach((end) => end(false)),
    };
}

function say(response, { status, headers, body }, cutAt) {
    const kept = Object.entries(headers).filter(
        ([name]) => !['transfer-encoding', 'connection', 'keep-alive', 'content-length'].includes(name),
    );
    response.writeHead(status, { ...Object.fromEntries(kept), 'content-length': body.length });
    if (cutAt) response.write(body.subarray(0, cutAt));
    else response.end(body);
}

const made = ({ status, headers, body }) => ({
    status: status ?? 200,
    headers: { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json', ...headers },
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body ?? {})),
});

function rewritten(answer, { set = {}, remove = [] }) {
    const json = { ...parsed(answer), ...set };
    for (const member of remove) delete json[member];
    return { ...answer, body: Buffer.from(JSON.stringify(json)) };
}

function parsed({ headers, body }) {
    if (!/json/.test(headers['content-type'] ?? '')) return undefined;
    try {
        return JSON.parse(body);
    } catch {
        return undefined;
    }
}

function basicUser(authorization) {
    if (!authorization?.startsWith('Basic ')) return undefined;
    const [user] = Buffer.from(authorization.slice(6), 'base64').toString().split(':');
    return decodeURIComponent(user.replaceAll('+', ' '));
}
