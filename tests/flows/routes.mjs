// What the program itself says of its admin API, so that tests which search everything meet what is new, too.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const source = (name) => readFileSync(fileURLToPath(new URL(`../../admin/api/${name}`, import.meta.url)), 'utf8');

/// [{method, path}] of admin/api/routes.cpp, without /v1/; {} stands for an id.
export const routes = [...source('routes.cpp').matchAll(/Route\{"([A-Z]+)", "([^"]+)"/g)].map(([, method, path]) => ({ method, path }));
export const getRoutes = routes.filter(({ method }) => method === 'GET').map(({ path }) => path);

/// Where the bodies of requests hold secrets: "auth.token", …
export const secretPlaces = [...source('body.cpp').match(/kSecretPlaces\{([^}]*)\}/)[1].matchAll(/"([^"]+)"/g)].map(
    ([, place]) => place,
);

/// Every path that a route stands for, when `ids` says by the word before it what can stand for each {}; none when it
/// does not say.
export function targetsOf(route, ids) {
    let targets = ['/v1'];
    let word;
    for (const part of route.split('/')) {
        targets = targets.flatMap((target) => (part === '{}' ? (ids[word] ?? []) : [part]).map((each) => `${target}/${each}`));
        word = part;
    }
    return targets;
}
