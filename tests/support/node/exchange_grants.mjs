// Token exchange (RFC 8693), identity assertions (ID-JAG) and foreign assertions (RFC 7523) for oidc-provider.
import { randomBytes } from 'node:crypto';
import { plainToken } from './fault_front.mjs';

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/// What the provider knows a token by.
export function opaquePart(token) {
    const plain = plainToken(token ?? '');
    const [, claims, ...rest] = plain.split('.');
    return rest.length === 1 ? JSON.parse(Buffer.from(claims, 'base64url')).jti : plain;
}

const type = (word) => `urn:ietf:params:oauth:token-type:${word}`;

/// `assertions()` holds what the jwt-bearer grant takes: assertion → {subject, uses}. Identity assertions that a server
/// issues are opaque here, and another server takes them when a test copies them into its `assertions`.
/// Tokens in which somebody acts for the subject say so (RFC 8693 4.1): they are JWTs that nobody signed, around the
/// opaque ones that they stand for (see `opaquePart`).
export function registerExchanges(provider, { errors, scopes, assertions, accessTtl }) {
    const { InvalidGrant, InvalidRequest } = errors;

    /// Who the subject token stands for; only live tokens of this server do.
    async function subjectOf({ subject_token, subject_token_type }) {
        const plain = plainToken(subject_token ?? '');
        const kinds = { [type('access_token')]: 'AccessToken', [type('refresh_token')]: 'RefreshToken' };
        const kind = kinds[subject_token_type];
        if (subject_token_type === type('id_token')) {
            if (!assertions()[subject_token]) throw new InvalidGrant('unknown ID token');
            return assertions()[subject_token].subject;
        }
        if (!kind) throw new InvalidRequest('unsupported subject_token_type');
        const found = await provider[kind].find(plain);
        if (!found?.isValid) throw new InvalidGrant('the subject token is not live');
        return found.accountId;
    }

    /// Who acts, if anybody does: only live access tokens of this server are taken.
    async function actorOf({ actor_token, actor_token_type }) {
        if (actor_token === undefined) return undefined;
        if (actor_token_type !== type('access_token')) throw new InvalidRequest('unsupported actor_token_type');
        const plain = opaquePart(actor_token);
        const found = (await provider.AccessToken.find(plain)) ?? (await provider.ClientCredentials.find(plain));
        if (!found?.isValid) throw new InvalidRequest('the actor token is not live');
        return { sub: found.accountId ?? found.clientId, act: { sub: 'whoever-acted-before' } };
    }

    async function accessToken(context, accountId, { resource, scope }) {
        const token = new provider.AccessToken({
            client: context.oidc.client,
            accountId,
            scope: scope ?? scopes.join(' '),
            gty: 'exchange',
            grantId: await grantOf(context, accountId),
        });
        token.resourceServer = new provider.ResourceServer(resource, {
            scope: scopes.join(' '),
            audience: resource,
            accessTokenTTL: accessTtl(),
            accessTokenFormat: 'opaque',
        });
        const value = await token.save();
        return { access_token: value, token_type: 'Bearer', expires_in: accessTtl(), scope: token.scope };
    }

    async function grantOf(context, accountId) {
        const grant = new provider.Grant({ accountId, clientId: context.oidc.client.clientId });
        return grant.save();
    }

    async function exchange(context) {
        const { params } = context.oidc;
        const subject = await subjectOf(params);
        const act = await actorOf(params);
        if (params.requested_token_type === type('id-jag')) {
            if (!params.audience || !params.resource) throw new InvalidRequest('audience and resource are required');
            context.body = {
                access_token: `id-jag.${subject}.${randomBytes(8).toString('hex')}`,
                issued_token_type: type('id-jag'),
                token_type: 'N_A',
                expires_in: 300,
            };
        } else {
            const issued = await accessToken(context, subject, params);
            if (act) issued.access_token = `${encoded({ alg: 'none' })}.${encoded({ act, jti: issued.access_token })}.unsigned`;
            context.body = { ...issued, issued_token_type: type('access_token') };
        }
    }

    async function bearer(context) {
        const { assertion } = context.oidc.params;
        const known = assertions()[assertion] ?? (assertion?.startsWith('id-jag.') && { subject: assertion.split('.')[1], uses: 1 });
        if (!known || known.uses === 0) throw new InvalidGrant('unknown assertion');
        assertions()[assertion] = { ...known, uses: known.uses - 1 };
        context.body = await accessToken(context, known.subject, context.oidc.params);
    }

    const wanted = ['audience', 'resource', 'scope', 'requested_token_type'];
    provider.registerGrantType(
        'urn:ietf:params:oauth:grant-type:token-exchange',
        exchange,
        ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', ...wanted],
        ['audience', 'resource'],
    );
    provider.registerGrantType('urn:ietf:params:oauth:grant-type:jwt-bearer', bearer, ['assertion', ...wanted], ['resource']);
}
