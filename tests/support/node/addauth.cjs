// Preloaded into a program that has no option for a token: every request it sends to CLAVIGER_AUTH_ORIGIN carries
// CLAVIGER_AUTH. Covers node:http, the built-in fetch and the undici package.
//
//   CLAVIGER_AUTH="Bearer T" CLAVIGER_AUTH_ORIGIN="http://127.0.0.1:8700" NODE_OPTIONS="--require .../addauth.cjs" program
'use strict';
const http = require('node:http');
const { syncBuiltinESMExports } = require('node:module');

const value = process.env.CLAVIGER_AUTH;
const wanted = process.env.CLAVIGER_AUTH_ORIGIN;

function coverHttp() {
    const send = http.request;
    http.request = function request(target, ...rest) {
        const plainOptions = target && typeof target === 'object' && !(target instanceof URL);
        if (plainOptions && `http://${target.hostname ?? target.host}:${target.port}` === wanted) {
            target = { ...target, headers: { ...target.headers, Authorization: value } };
        }
        return send.call(this, target, ...rest);
    };
    syncBuiltinESMExports();
}

function withAuthorization(headers) {
    if (Array.isArray(headers)) return [...headers, 'authorization', value];
    if (typeof headers?.[Symbol.iterator] === 'function') return [...headers, ['authorization', value]];
    return { ...headers, authorization: value };
}

function coverFetch() {
    fetch('data:,').catch(() => {}); // undici installs its dispatcher at the first fetch
    const slot = Symbol.for('undici.globalDispatcher.1');
    const dispatcher = globalThis[slot];
    if (!dispatcher) throw new Error('addauth: this Node has no undici dispatcher to cover');
    globalThis[slot] = new Proxy(dispatcher, {
        get(target, property) {
            if (property === 'dispatch') {
                return (options, handler) =>
                    target.dispatch(
                        String(options.origin) === wanted
                            ? { ...options, headers: withAuthorization(options.headers) }
                            : options,
                        handler,
                    );
            }
            const member = Reflect.get(target, property, target);
            return typeof member === 'function' ? member.bind(target) : member;
        },
    });
}

if (value && wanted) {
    coverHttp();
    coverFetch();
}
