// The listeners with certificates of their own, and what SIGHUP takes over while they serve.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { binary, eventually, freshSecret, makeStore, run, startFixture, startProcess, temporaryFolder } from './harness.mjs';
import { post, rpc } from './wire.mjs';

const folder = temporaryFolder();
const at = (name) => path.join(folder, name);
const agent = fileURLToPath(new URL('../support/node/tls_agent.mjs', import.meta.url));

function openssl(...args) {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
    assert.equal(status, 0, `openssl ${args.join(' ')}: ${stderr}`);
}

/// A new certificate of the authority, for both listeners; gives its fingerprint.
function renew() {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout'];
    if (!existsSync(at('ca.pem')))
        openssl('req', '-x509', ...key, at('ca.key'), '-subj', '/CN=test authority', '-days', '2', '-out', at('ca.pem'));
    writeFileSync(at('extensions'), 'basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1');
    openssl('req', '-new', ...key, at('server.key'), '-subj', '/CN=claviger', '-out', at('server.csr'));
    openssl('x509', '-req', '-in', at('server.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial',
        '-days', '2', '-extfile', at('extensions'), '-out', at('server.pem'));
    return new X509Certificate(readFileSync(at('server.pem'))).fingerprint256;
}

/// The certificate that a listener shows, once it has been verified.
const shown = (port) =>
    new Promise((resolve, reject) => {
        const socket = tls.connect({ host: '127.0.0.1', port, ca: readFileSync(at('ca.pem')) }, () => {
            resolve(socket.getPeerX509Certificate().fingerprint256);
            socket.destroy();
        });
        socket.on('error', reject);
    });

describe('listeners with TLS', () => {
    const token = freshSecret();
    let fixture;
    let store;
    let child;
    let settings;
    let fingerprint;
    const log = () => (existsSync(store.log) ? readFileSync(store.log, 'utf8') : '');
    const save = (level) => {
        settings.log.level = level;
        writeFileSync(store.file, JSON.stringify(settings));
    };
    const show = (wanted) => async () => {
        const { agents_port, admin_port } = child.ready;
        return (await shown(agents_port)) === wanted && (await shown(admin_port)) === wanted;
    };
    const callsWell = async () => {
        const { agents_port, admin_port } = child.ready;
        const env = {
            ...process.env,
            NODE_EXTRA_CA_CERTS: at('ca.pem'),
            CLAVIGER_ADMIN_URL: `https://127.0.0.1:${admin_port}`,
            CLAVIGER_ADMIN_KEY: store.admin_api_key,
            CLAVIGER_AGENTS_URL: `https://127.0.0.1:${agents_port}`,
        };
        const called = await run(process.execPath, [agent, fixture.url, token], { env });
        assert.equal(called.code, 0, called.stderr);
        assert.match(called.stdout, /simple text response/);
    };

    before(async () => {
        fixture = await startFixture(token);
        fingerprint = renew();
        const files = { certificate: at('server.pem'), private_key: at('server.key') };
        store = await makeStore({ config: { agents: { tls: files }, admin: { tls: files } } });
        settings = JSON.parse(readFileSync(store.file, 'utf8').replace(/^\/\/.*\n/, ''));
        save('error');
        child = await startProcess(binary, ['serve', '--config', store.file]);
    });

    it('serve admins and agents, and nobody without TLS', async () => {
        assert.ok(await show(fingerprint)());
        await callsWell();
        for (const port of [child.ready.agents_port, child.ready.admin_port])
            await assert.rejects(post(`http://127.0.0.1:${port}/mcp/x`, 'token', rpc(1, 'ping')));
    });

    it('take a new certificate on SIGHUP, and keep what they have when the new one is none', async () => {
        fingerprint = renew();
        assert.equal(await show(fingerprint)(), false, 'before it was told');
        child.kill('SIGHUP');
        await eventually('the new certificate is shown', show(fingerprint));
        await callsWell();

        writeFileSync(at('server.pem'), 'not a certificate');
        child.kill('SIGHUP');
        await eventually('it is refused', () => log().split('reload.certificate_refused').length === 3);
        assert.ok(await show(fingerprint)());
    });

    it('log as the config says after SIGHUP, and into a new file when the old one was moved', async () => {
        assert.doesNotMatch(log(), /"event":"reloaded"/, 'that is below errors');
        save('info');
        child.kill('SIGHUP');
        await eventually('the lower level shows', () => log().includes('"event":"reloaded"'));

        renameSync(store.log, `${store.log}.1`);
        const moved = readFileSync(`${store.log}.1`, 'utf8');
        child.kill('SIGHUP');
        await eventually('there is a new file', () => log().includes('"event":"reloaded"'));
        assert.equal(readFileSync(`${store.log}.1`, 'utf8'), moved, 'the moved file is still written to');
    });
});
