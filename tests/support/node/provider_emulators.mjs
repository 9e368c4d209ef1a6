// GitHub, Google, Linear, Microsoft and Slack as emulated services, each with one client that may sign people in.
//
//   node provider_emulators.mjs REDIRECT-URI        (Node 22 or later)
//
// Prints {"services":{NAME:URL},"client":{…},"github_app":{"app_id","installation_id","private_key"}} when they listen
// (127.0.0.1 only).
import { createEmulator } from '../../flows/node_modules/emulate/dist/api.js';

const client = { client_id: 'emulated-client', client_secret: 'emulated-secret' };
const app = { ...client, name: 'Flow', redirect_uris: process.argv.slice(2) };
const github_app = { app_id: 12345, installation_id: 100 };

const seeds = {
    github: {
        users: [{ login: 'octocat', name: 'The Octocat' }],
        oauth_apps: [app],
        apps: [
            {
                app_id: github_app.app_id,
                slug: 'flow',
                name: 'Flow',
                permissions: { contents: 'read' },
                installations: [{ installation_id: github_app.installation_id, account: 'octocat' }],
            },
        ],
    },
    google: { oauth_clients: [app] },
    linear: { oauth_apps: [app] },
    microsoft: { oauth_clients: [app] },
    slack: { oauth_apps: [app] },
};

const services = {};
for (const [service, seed] of Object.entries(seeds)) {
    const emulator = await createEmulator({ service, port: 0, seed: { [service]: seed } });
    services[service] = emulator.url;
    const key = emulator.generatedSecrets?.find(({ kind }) => kind === 'github.app_private_key');
    if (key) github_app.private_key = key.value;
}
console.log(JSON.stringify({ services, client, github_app }));
