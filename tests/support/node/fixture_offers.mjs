// The resources and prompts of the conformance contract; the tools are in fixture_contract.mjs.
import { packages } from './packages.mjs';

const { ResourceTemplate, completable, inputRequired, acceptedContent } = packages(
    '@modelcontextprotocol/server',
);
const { z } = packages('zod');

export const redPixelPng =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';

export const fromUser = (content) => ({ role: 'user', content });
export const object = (properties, required = Object.keys(properties)) => ({
    type: 'object',
    properties,
    required,
});
export const string = (more = {}) => ({ type: 'string', ...more });
export const acceptedText = (responses, key, field) => {
    const content = acceptedContent(responses, key);
    return typeof content?.[field] === 'string' ? content[field] : undefined;
};

export function resources(server) {
    const fixed = (name, uri, mimeType, content) =>
        server.registerResource(name, uri, { description: `The ${name} resource`, mimeType }, async () => ({
            contents: [{ uri, mimeType, ...content }],
        }));
    fixed('static-text', 'test://static-text', 'text/plain', {
        text: 'This is the content of the static text resource.',
    });
    fixed('static-binary', 'test://static-binary', 'image/png', { blob: redPixelPng });
    fixed('watched-resource', 'test://watched-resource', 'text/plain', { text: 'Watched resource content' });
    server.registerResource(
        'template',
        new ResourceTemplate('test://template/{id}/data', { list: undefined }),
        { description: 'Data by id', mimeType: 'application/json' },
        async (uri, { id }) => ({
            contents: [
                {
                    uri: uri.href,
                    mimeType: 'application/json',
                    text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
                },
            ],
        }),
    );
}

export function prompts(server) {
    const prompt = (name, description, argsSchema, run) =>
        server.registerPrompt(name, { description, argsSchema }, run);
    prompt('test_simple_prompt', 'One sentence', undefined, async () => ({
        messages: [fromUser({ type: 'text', text: 'This is a simple prompt for testing.' })],
    }));
    prompt(
        'test_prompt_with_arguments',
        'Two arguments',
        z.object({
            arg1: completable(z.string().describe('First test argument'), (start) =>
                ['paris', 'park', 'party'].filter((word) => word.startsWith(start)),
            ),
            arg2: z.string().describe('Second test argument'),
        }),
        async ({ arg1, arg2 }) => ({
            messages: [
                fromUser({ type: 'text', text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` }),
            ],
        }),
    );
    prompt(
        'test_prompt_with_embedded_resource',
        'A resource in the prompt',
        z.object({
            resourceUri: z.string().describe('URI of the resource to embed'),
        }),
        async ({ resourceUri }) => ({
            messages: [
                fromUser({
                    type: 'resource',
                    resource: {
                        uri: resourceUri,
                        mimeType: 'text/plain',
                        text: 'Embedded resource content for testing.',
                    },
                }),
                fromUser({ type: 'text', text: 'Please process the embedded resource above.' }),
            ],
        }),
    );
    prompt('test_prompt_with_image', 'An image in the prompt', undefined, async () => ({
        messages: [
            fromUser({ type: 'image', data: redPixelPng, mimeType: 'image/png' }),
            fromUser({ type: 'text', text: 'Please analyze the image above.' }),
        ],
    }));
    prompt('test_input_required_result_prompt', 'Needs a context', undefined, async (context) => {
        const given = acceptedText(context.mcpReq.inputResponses, 'user_context', 'context');
        if (given) return { messages: [fromUser({ type: 'text', text: `Use this context: ${given}` })] };
        return inputRequired({
            inputRequests: {
                user_context: inputRequired.elicit({
                    message: 'What context should the prompt use?',
                    requestedSchema: object({ context: string() }),
                }),
            },
        });
    });
}

export function subscriptions(server, world) {
    server.server.setRequestHandler('resources/subscribe', async ({ params }, context) => {
        world.watch(context.sessionId, params.uri);
        return {};
    });
    server.server.setRequestHandler('resources/unsubscribe', async ({ params }, context) => {
        world.unwatch(context.sessionId, params.uri);
        return {};
    });
}
