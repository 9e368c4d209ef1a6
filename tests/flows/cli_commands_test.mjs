// The command line as an operator types it, against the running server: every object, every exit code, and secrets that
// come in without being seen.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
    binary,
    eventually,
    freePort,
    freshSecret,
    run,
    startClaviger,
    startProcess,
    stopProcess,
    temporaryFolder,
    tracesOf,
} from './harness.mjs';

const serverUrl = 'https://mcp.example.com/mcp';

/// Runs the binary with `input` on its standard input.
function runWithInput(args, input, options) {
    return new Promise((resolve, reject) => {
        const child = spawn(binary, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
        let stdout = '';
        let stderr = '';
        child.stdout.setEncoding('utf8').on('data', (part) => (stdout += part));
        child.stderr.setEncoding('utf8').on('data', (part) => (stderr += part));
        child.once('error', reject);
        child.once('close', (code) => resolve({ code, stdout, stderr }));
        child.stdin.on('error', () => {}); // it may end before it has read everything
        child.stdin.end(input);
    });
}

describe('the command line', () => {
    let claviger;
    let folder;
    let environment;

    before(async () => {
        claviger = await startClaviger();
        folder = temporaryFolder();
        writeFileSync(path.join(folder, 'admin.key'), `${claviger.admin_api_key}\n`, { mode: 0o600 });
        environment = {
            PATH: process.env.PATH,
            HOME: folder,
            CLAVIGER_URL: claviger.adminUrl,
            CLAVIGER_API_KEY_FILE: path.join(folder, 'admin.key'),
        };
    });

    const cli = (args, { input = '', env = {} } = {}) =>
        runWithInput(args, input, { cwd: folder, env: { ...environment, ...env } });
    async function good(args, options) {
        const done = await cli(args, options);
        assert.equal(done.code, 0, `claviger ${args.join(' ')}: ${done.stderr}`);
        return done.stdout;
    }
    const json = async (args, options) => JSON.parse(await good([...args, '--json'], options));
    async function refused(code, args, options) {
        const done = await cli(args, options);
        assert.equal(done.code, code, `claviger ${args.join(' ')}: ${done.stdout}${done.stderr}`);
        return done.stderr;
    }

    it('says how the server is', async () => {
        assert.match(await good(['status']), /state +ready/);
        assert.equal((await json(['status'])).ready, true);
    });

    it('knows OAuth providers, also without a server', async () => {
        const alone = { env: { CLAVIGER_URL: 'http://127.0.0.1:1', CLAVIGER_API_KEY_FILE: '/nonexistent' } };
        assert.match(await good(['provider', 'list'], alone), /^linear-mcp .*https:\/\/mcp\.linear\.app$/m);
        const profile = await json(['provider', 'show', 'linear'], alone);
        assert.equal(profile.refresh_token.grace_seconds, 1800);
        writeFileSync(path.join(folder, 'acme.json'), JSON.stringify({ ...profile, name: 'acme', pkce: 'off' }));
        assert.match(await refused(1, ['provider', 'test', './acme.json'], alone), /acme\.json: pkce is not a member/);
        writeFileSync(path.join(folder, 'acme.json'), JSON.stringify({ ...profile, name: 'acme' }));
        assert.match(await good(['provider', 'test', './acme.json'], alone), /The profile 'acme' is good/);
    });

    it('keeps vaults', async () => {
        assert.match(await good(['vault', 'create', 'keeper', '--metadata', 'team=ops']), /Created vault 'keeper' \(vlt_/);
        const vault = await json(['vault', 'get', 'keeper']);
        assert.deepEqual(vault.metadata, { team: 'ops' });
        await good(['vault', 'update', vault.id, '--name', 'keeper of keys', '--remove-metadata', 'team']);
        const changed = await json(['vault', 'get', 'keeper of keys']);
        assert.deepEqual([changed.id, changed.metadata], [vault.id, {}]);
        assert.match(await good(['vault', 'list']), /keeper of keys/);
        assert.match(await refused(2, ['vault', 'delete', vault.id]), /cannot be undone.*\n.*--yes/);
        await good(['vault', 'delete', vault.id, '--yes']);
        assert.match(await refused(1, ['vault', 'get', vault.id]), /not found/i);
    });

    it('follows pages, to the end or as far as it is asked to', async () => {
        for (let i = 0; i < 3; ++i) await good(['vault', 'create', `paged ${i}`]);
        const two = await json(['vault', 'list', '--limit', '2']);
        assert.equal(two.data.length, 2);
        assert.ok(two.next_page);
        const all = await json(['vault', 'list', '--limit', '0']);
        assert.ok(all.data.length >= 3);
        assert.equal(all.next_page, null);
    });

    it('takes a name for an id only when there is one of that name', async () => {
        await good(['vault', 'create', 'Twins']);
        await good(['vault', 'create', 'Twins']);
        assert.match(await refused(1, ['vault', 'get', 'Twins']), /name of 2 objects: 'Twins' \(vlt_.*Use the id/s);
        assert.match(await refused(1, ['vault', 'get', 'twin']), /No vault is called 'twin'.*come close: 'Twins'/s);
    });

    it('stores a secret from standard input or a file, and shows it to nobody', async () => {
        const secrets = [freshSecret('one'), 'quotes " and \\ and käse 🔑', freshSecret('three')];
        let shown = await good(['vault', 'create', 'secrets']);
        const create = ['credential', 'create', '--vault', 'secrets'];
        shown += await good([...create, '--name', 'piped', '--server-url', serverUrl], { input: `${secrets[0]}\n` });
        writeFileSync(path.join(folder, 'value'), secrets[1], { mode: 0o600 });
        shown += await good([
            ...[...create, '--name', 'variable', '--type', 'environment_variable', '--secret-name', 'API_KEY'],
            ...['--secret-file', 'value', '--allowed-host', 'api.example.com'],
        ]);
        shown += await good(['credential', 'update', 'piped', '--vault', 'secrets', '--token-file', '-'], {
            input: secrets[2],
        });
        shown += await good(['credential', 'list', '--vault', 'secrets']);
        shown += await good(['credential', 'get', 'piped', '--json']);
        shown += await good(['log', 'list', '--vault', 'secrets', '--json']);
        const stored = await json(['credential', 'get', 'piped']);
        assert.equal(stored.version, 2);
        assert.equal(stored.auth.mcp_server_url, serverUrl);
        for (const secret of secrets) {
            assert.deepEqual(tracesOf(secret, Buffer.from(shown)), []);
            assert.deepEqual(tracesOf(secret, Buffer.from(claviger.readLog())), []);
        }
        await good(['credential', 'archive', 'piped']);
        assert.match(await refused(1, ['credential', 'get', 'piped']), /No credential is called 'piped'/);
        assert.ok((await json(['credential', 'get', stored.id])).archived_at);
    });

    it('sends an OAuth grant with every part of it', async () => {
        for (const [name, text] of [['refresh', 'refresh-token-1'], ['client', 'client-secret-1']])
            writeFileSync(path.join(folder, name), text, { mode: 0o600 });
        await good(
            [
                ...['credential', 'create', '--vault', 'secrets', '--type', 'mcp_oauth', '--name', 'grant'],
                ...['--server-url', 'https://oauth.example.com/mcp', '--expires-at', '2099-01-01T00:00:00Z'],
                ...['--token-endpoint', 'https://oauth.example.com/token', '--client-id', 'client'],
                ...['--refresh-token-file', 'refresh', '--client-secret-file', 'client', '--scope', 'a b'],
            ],
            { input: 'access-token-1' },
        );
        const { auth } = await json(['credential', 'get', 'grant']);
        assert.equal(auth.type, 'mcp_oauth');
        assert.equal(auth.expires_at, '2099-01-01T00:00:00Z');
        assert.deepEqual(
            [auth.refresh.client_id, auth.refresh.scope, auth.refresh.token_endpoint_auth.type],
            ['client', 'a b', 'client_secret_basic'],
        );
    });

    it('refuses secrets in arguments and in the environment before anything is sent', async () => {
        const secret = 'ghp_abcdefghijklmnopqrstuvwxyz012345';
        for (const args of [
            ['credential', 'create', '--vault', 'secrets', '--server-url', serverUrl, '--token', secret],
            ['credential', 'create', '--vault', 'secrets', '--server-url', serverUrl, secret],
        ]) {
            const said = await refused(2, args);
            assert.match(said, /visible to every process/);
            assert.ok(!said.includes(secret));
        }
        const said = await refused(2, ['vault', 'list'], { env: { CLAVIGER_API_KEY: claviger.admin_api_key } });
        assert.match(said, /not read from the environment.*CLAVIGER_API_KEY_FILE/s);
        assert.ok(!said.includes(claviger.admin_api_key));
    });

    it('binds, runs and ends: environment, agent, session, tokens', async () => {
        await good(['vault', 'create', 'bound']);
        const vault = await json(['vault', 'get', 'bound']);
        await good(['environment', 'create', 'prod', '--allow-host', '127.0.0.1', '--deny-tool', 'up/delete_*']);
        await good(['environment', 'bind', 'prod', 'bound']);
        let prod = await json(['environment', 'get', 'prod']);
        assert.deepEqual(prod.vault_bindings, [vault.id]);
        assert.deepEqual(prod.config.networking.allowed_hosts, ['127.0.0.1']);
        assert.equal(prod.tool_rules[0].tool, 'delete_*');
        await good(['environment', 'duplicate', 'prod', 'staging']);
        assert.deepEqual((await json(['environment', 'get', 'staging'])).vault_bindings, [vault.id]);
        await good(['environment', 'unbind', 'staging', 'bound']);
        assert.match(await refused(1, ['environment', 'unbind', 'staging', 'bound']), /is not bound/);
        await good(['environment', 'delete', 'staging', '--yes']);

        const agent = ['--server', `up=${serverUrl}`, '--allow', 'up/read', '--ask', 'up/write'];
        assert.match(await good(['agent', 'create', 'idle', '--server', `up=${serverUrl}`]), /no tool yet/);
        await good(['agent', 'create', 'worker', ...agent]);
        const worker = await json(['agent', 'get', 'worker']);
        assert.equal(worker.tools[0].default_config.enabled, false);
        assert.deepEqual(
            worker.tools[0].configs.map(({ name, permission_policy: { type } }) => [name, type]),
            [['read', 'always_allow'], ['write', 'always_ask']],
        );
        await good(['agent', 'update', 'worker', '--description', 'works']);
        assert.equal((await json(['agent', 'versions', 'worker'])).data.length, 2);
        assert.equal((await json(['agent', 'get', 'worker', '--version', '1'])).description, null);

        const opened = await json(['session', 'create', '--agent', 'worker', '--environment', 'prod', '--title', 'run']);
        assert.match(opened.session_token, /^clv_session_/);
        assert.deepEqual(opened.vault_ids, [vault.id]); // all that the environment binds, because none was named
        assert.ok(opened.mcp_endpoints.up.endsWith('/mcp/up'));
        const said = await good(['session', 'token', 'create', 'run', '--expires-in', '60', '--save-token', 'run.token']);
        const saved = path.join(folder, 'run.token');
        assert.match(readFileSync(saved, 'utf8'), /^clv_session_\S+\n$/);
        assert.equal(statSync(saved).mode & 0o777, 0o600);
        assert.ok(!said.includes(readFileSync(saved, 'utf8').trim()));
        const tokens = (await json(['session', 'token', 'list', 'run'])).data;
        assert.equal(tokens.length, 2);
        await good(['session', 'token', 'revoke', 'run', tokens[0].id]);
        assert.ok((await json(['session', 'token', 'list', 'run'])).data[0].revoked_at);
        await good(['session', 'archive', 'run']);
        assert.equal((await json(['session', 'get', opened.id])).status, 'terminated');
        for (const kind of ['environment', 'agent']) assert.match(await good([kind, 'list']), /prod|worker/);
        assert.match(await good(['session', 'list', '--archived']), /terminated/);
    });

    it('opens sessions with the bound vaults that can be used', async () => {
        const { admin } = claviger;
        const [kept, gone] = [await json(['vault', 'create', 'kept']), await json(['vault', 'create', 'gone'])];
        await admin('POST', '/v1/environments', { name: 'half', vault_bindings: [gone.id, kept.id] });
        await good(['vault', 'archive', 'gone']);
        const opened = await cli(['session', 'create', '--agent', 'worker', '--environment', 'half', '--json']);
        assert.equal(opened.code, 0, opened.stderr);
        assert.deepEqual(JSON.parse(opened.stdout).vault_ids, [kept.id]);
        assert.equal(opened.stderr, `Vault gone (${gone.id}) is archived, so the session goes without it.\n`);

        const many = [];
        for (let i = 0; i < 51; ++i) many.push((await admin('POST', '/v1/vaults', { display_name: `of many ${i}` })).id);
        await admin('POST', '/v1/environments', { name: 'crowd', vault_bindings: many });
        const create = ['session', 'create', '--agent', 'worker', '--environment', 'crowd'];
        assert.match(await refused(2, create), /binds 51 vaults, and a session takes at most 50.*--vault/s);
        assert.deepEqual((await json([...create, '--vault', many[50]])).vault_ids, [many[50]]);
        await admin('POST', `/v1/vaults/${many[0]}/archive`);
        assert.deepEqual((await json(create)).vault_ids, many.slice(1));
    });

    it('never makes a token that it cannot save', async () => {
        writeFileSync(path.join(folder, 'taken'), 'precious');
        const count = async () => (await json(['session', 'list', '--archived', '--limit', '0'])).data.length;
        const before = await count();
        const create = ['session', 'create', '--agent', 'worker', '--environment', 'prod', '--save-token'];
        assert.match(await refused(2, [...create, 'taken']), /taken cannot be created/);
        assert.equal(readFileSync(path.join(folder, 'taken'), 'utf8'), 'precious');
        assert.equal(await count(), before);
        await refused(1, ['session', 'create', '--agent', 'nobody', '--environment', 'prod', '--save-token', 'unused']);
        assert.throws(() => statSync(path.join(folder, 'unused')), { code: 'ENOENT' });
    });

    it('makes keys for others, whose role then holds', async () => {
        assert.match(await good(['key', 'create', 'auditor', '--role', 'auditor', '--save-key', 'auditor.key']), /auditor\.key/);
        const env = { CLAVIGER_API_KEY_FILE: path.join(folder, 'auditor.key') };
        assert.equal((await cli(['log', 'list'], { env })).code, 0);
        assert.match(await refused(1, ['vault', 'create', 'no'], { env }), /role|may/);
        await good(['key', 'revoke', 'auditor']);
        assert.equal((await cli(['log', 'list'], { env })).code, 1);
        const said = await good(['workspace', 'create', 'elsewhere', '--save-key', 'elsewhere.key']);
        assert.ok(!said.includes('clv_admin_'));
        const there = { CLAVIGER_API_KEY_FILE: path.join(folder, 'elsewhere.key') };
        assert.deepEqual((await json(['vault', 'list'], { env: there })).data, []);
        assert.match(await good(['workspace', 'list']), /elsewhere/);
    });

    it('filters the log and follows it', async () => {
        const vault = (await json(['vault', 'create', 'watched'])).id;
        const { data } = await json(['log', 'list', '--vault', 'watched', '--kind', 'write']);
        assert.deepEqual(data.map(({ object }) => object.id), [vault]);
        assert.match(await refused(2, ['log', 'list', '--from', 'yesterday']), /--from must be a time/);
        assert.match(await refused(1, ['log', 'list', '--decision', 'maybe']), /decision/);
        assert.deepEqual((await json(['log', 'list', '--from', '2099-01-01T00:00:00Z'])).data, []);

        const follower = spawn(binary, ['log', 'list', '--vault', 'watched', '--follow', '--json'], {
            env: environment,
            stdio: ['ignore', 'pipe', 'inherit'],
        });
        try {
            let seen = '';
            follower.stdout.setEncoding('utf8').on('data', (part) => (seen += part));
            const actions = () => seen.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line).action);
            await eventually('the first entry is shown', () => actions().length === 1, 10_000);
            await good(['vault', 'update', 'watched', '--metadata', 'a=b']);
            await good(['vault', 'archive', 'watched']);
            await eventually('the new entries are shown', () => actions().length === 3, 10_000);
            await new Promise((resolve) => setTimeout(resolve, 1_500));
            assert.deepEqual(actions(), ['create', 'update', 'archive']); // in order, none twice
        } finally {
            follower.kill('SIGKILL');
        }
    });

    it('tells a refusal, a mistake and a missing server apart', async () => {
        assert.match(await refused(2, ['vault', 'make']), /no command 'make'/);
        const url = `http://127.0.0.1:${await freePort()}`;
        assert.match(await refused(3, ['vault', 'list', '--url', url]), /did not answer.*claviger serve/s);
        writeFileSync(path.join(folder, 'wrong.key'), 'clv_admin_wrong\n', { mode: 0o600 });
        assert.match(await refused(1, ['vault', 'list', '--api-key-file', 'wrong.key']), /key/i);
        const shown = JSON.parse(await refused(1, ['vault', 'get', 'vlt_01BXHvTgqpwBVh9t3HhBRkP', '--json']));
        assert.equal(shown.error.type, 'not_found_error');

        const stranger = createServer((request, response) => response.end('<html>hello</html>'));
        await new Promise((resolve) => stranger.listen(0, '127.0.0.1', resolve));
        try {
            const other = `http://127.0.0.1:${stranger.address().port}`;
            assert.match(await refused(1, ['vault', 'list', '--url', other]), /not a Claviger admin API/);
        } finally {
            stranger.close();
        }
    });

    it('says everything as JSON when it is asked to, also what went wrong', async () => {
        const { help } = await json(['help']);
        const names = help.slice(help.indexOf('\nCommands\n')).match(/(?<=^  )[a-z][a-z-]*( [a-z-]+)*(?=  +)/gm);
        assert.ok(names.length > 70, names.join(', '));
        for (const name of names) {
            const fault = JSON.parse(await refused(2, [...name.split(' '), '--json', '--no-such-flag']));
            assert.deepEqual([fault.type, fault.error.type], ['error', 'cli.usage']);
            assert.match(fault.error.message, /--no-such-flag/, name);
        }
        assert.equal(JSON.parse(await refused(2, ['nothing', '--json'])).error.type, 'cli.usage');

        writeFileSync(path.join(folder, 'wrong.jsonc'), '{"data_dir": 7}');
        const missing = ['--config', 'missing.jsonc'];
        for (const words of [
            ['init', '--data', 'admin.key', '--key-file', 'new.key'],
            ['init', '--data', 'new'],
            ['serve', ...missing],
            ['check-config', 'wrong.jsonc'],
            ['fsck', '--data', 'missing', '--key-file', 'missing'],
            ['doctor', ...missing],
            ['pin', 'status', ...missing],
            ['pin', 'accept', ...missing, '--root', '00'.repeat(32)],
            ['backup', 'verify', 'missing'],
            ['backup', 'restore', 'missing', ...missing],
        ]) {
            const done = await cli([...words, '--json']);
            assert.deepEqual([done.code, done.stdout], [1, ''], `${words.join(' ')}: ${done.stderr}`);
            const { type, error } = JSON.parse(done.stderr);
            assert.deepEqual([type, typeof error.type, typeof error.message], ['error', 'string', 'string']);
            assert.notEqual(error.type, 'cli.usage');
        }
        const checked = await json(['check-config', path.join(claviger.folder, 'claviger.jsonc')]);
        assert.equal(checked.valid, true);
        assert.ok(checked.facts.some((fact) => fact.startsWith('agents: 127.0.0.1:')));
    });

    it('warns of a key file that others may read', async () => {
        chmodSync(path.join(folder, 'admin.key'), 0o644);
        const done = await cli(['vault', 'list']);
        chmodSync(path.join(folder, 'admin.key'), 0o600);
        assert.equal(done.code, 0);
        assert.match(done.stderr, /other users may read it/);
    });

    it('completes commands and flags in bash', async () => {
        const asked = (words) => `
            source <("${binary}" completion bash)
            COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; COMPREPLY=()
            _claviger; printf '%s\\n' "\${COMPREPLY[@]}"`;
        const complete = async (...words) =>
            (await run('bash', ['-c', asked(['claviger', ...words])])).stdout.trim().split('\n');
        assert.deepEqual(await complete('va'), ['vault']);
        assert.deepEqual(await complete('vault', 'ar'), ['archive']);
        assert.deepEqual(await complete('session', 'token', 'rev'), ['revoke']);
        assert.deepEqual(await complete('vault', 'list', '--arch'), ['--archived']);
        assert.ok((await complete('credential', 'create', '--vault', 'x', '--')).includes('--server-url'));
    });
});

describe('a sealed server', () => {
    const passphrase = 'correct horse battery staple';
    let folder;
    let server;
    let environment;

    before(async () => {
        folder = temporaryFolder();
        const data = path.join(folder, 'data');
        const init = await runWithInput(
            ['init', '--data', data, '--key-file', path.join(folder, 'seal.key'), '--passphrase-stdin', '--allow-passphrase', '--json'],
            `${passphrase}\n`,
        );
        assert.equal(init.code, 0, init.stderr);
        writeFileSync(path.join(folder, 'admin.key'), JSON.parse(init.stdout).admin_api_key, { mode: 0o600 });
        writeFileSync(
            path.join(folder, 'c.jsonc'),
            JSON.stringify({ data_dir: 'data', agents: { port: 0 }, admin: { port: 0 } }),
        );
        environment = { PATH: process.env.PATH, HOME: folder, CLAVIGER_API_KEY_FILE: path.join(folder, 'admin.key') };
    });
    after(() => server && stopProcess(server));

    async function restart() {
        if (server) await stopProcess(server);
        server = await startProcess(binary, ['serve', '--config', path.join(folder, 'c.jsonc')]);
        environment.CLAVIGER_URL = `http://127.0.0.1:${server.ready.admin_port}`;
    }
    const cli = (args, input = '') => runWithInput(args, input, { cwd: folder, env: environment });

    it('says that it is sealed, and opens with the passphrase and nothing else', async () => {
        await restart();
        const sealed = await cli(['status']);
        assert.equal(sealed.code, 1);
        assert.match(sealed.stdout + sealed.stderr, /sealed.*claviger unseal/s);
        assert.equal((await cli(['vault', 'list'])).code, 1);

        const wrong = await cli(['unseal', '--data', 'data'], 'correct horse battery stable\n');
        assert.equal(wrong.code, 1);
        assert.ok(!(wrong.stdout + wrong.stderr).includes('horse'));
        const opened = await cli(['unseal', '--data', 'data'], `${passphrase}\n`);
        assert.equal(opened.code, 0, opened.stderr);
        assert.equal((await cli(['status'])).code, 0);
        assert.equal((await cli(['vault', 'list'])).code, 0);
    });

    it('opens with the key file', async () => {
        await restart();
        const opened = await cli(['unseal', '--socket', 'data/unseal.sock', '--key-file', 'seal.key']);
        assert.equal(opened.code, 0, opened.stderr);
        assert.equal((await cli(['status'])).code, 0);
    });

    it('does not show the passphrase that is typed at a terminal', async () => {
        await restart();
        // Python has a pseudo-terminal; it types after the prompt and prints all that the terminal showed.
        const script = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'unseal', '--data', 'data'])
shown = b''
while b': ' not in shown:
    shown += os.read(terminal, 1000)
os.write(terminal, sys.argv[2].encode() + b'\\n')
try:
    while True:
        part = os.read(terminal, 1000)
        if not part: break
        shown += part
except OSError:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(shown.decode())
sys.exit(code)`;
        const done = await run('python3', ['-c', script, binary, passphrase], { cwd: folder, env: environment });
        assert.equal(done.code, 0, done.stdout + done.stderr);
        assert.match(done.stdout, /Passphrase \(not shown\)/);
        assert.match(done.stdout, /Unsealed/);
        assert.ok(!done.stdout.includes('horse'), done.stdout);
    });

    it('says so when there is no server to unseal', async () => {
        const done = await cli(['unseal', '--socket', 'nowhere.sock', '--key-file', 'seal.key']);
        assert.equal(done.code, 3);
        assert.match(done.stderr, /nowhere\.sock did not answer/);
    });
});
