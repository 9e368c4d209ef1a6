// What the official conformance suite expects a server to offer (tools, resources, prompts), and a few tools of our
// own that make trouble on purpose. Names and texts are the suite's contract and may not be changed.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
    acceptedText,
    fromUser,
    object,
    prompts,
    redPixelPng,
    resources,
    string,
    subscriptions,
} from './fixture_offers.mjs';
import { packages } from './packages.mjs';

const { McpServer, acceptedContent, createRequestStateCodec, fromJsonSchema, inputRequired, inputResponse } =
    packages('@modelcontextprotocol/server');

const silentWav = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const stateCodec = createRequestStateCodec({ key: randomBytes(32) });

const text = (value) => ({ content: [{ type: 'text', text: value }] });

const json2020Schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: {
        address: { $anchor: 'addressDef', type: 'object', properties: { street: string(), city: string() } },
    },
    properties: {
        name: string(),
        address: { $ref: '#/$defs/address' },
        contactMethod: string({ enum: ['phone', 'email'] }),
        phone: string(),
        email: string(),
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
};

const defaultsForm = object(
    {
        name: string({ default: 'John Doe' }),
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: string({ enum: ['active', 'inactive', 'pending'], default: 'active' }),
        verified: { type: 'boolean', default: true },
    },
    [],
);

const options = ['option1', 'option2', 'option3'];
const titled = (...titles) => titles.map((title, index) => ({ const: `value${index + 1}`, title }));
const enumsForm = object(
    {
        untitledSingle: string({ enum: options }),
        titledSingle: string({ oneOf: titled('First Option', 'Second Option', 'Third Option') }),
        legacyEnum: string({
            enum: ['opt1', 'opt2', 'opt3'],
            enumNames: ['Option One', 'Option Two', 'Option Three'],
        }),
        untitledMulti: { type: 'array', items: string({ enum: options }) },
        titledMulti: {
            type: 'array',
            items: { anyOf: titled('First Choice', 'Second Choice', 'Third Choice') },
        },
    },
    [],
);

const nameForm = object({ name: string() });
const askName = (message = 'What is your name?') =>
    inputRequired.elicit({ message, requestedSchema: nameForm });
const askModel = (question, maxTokens = 100) =>
    inputRequired.createMessage({
        messages: [fromUser({ type: 'text', text: question })],
        maxTokens,
    });

const said = (responses, key) => {
    const view = inputResponse(responses, key);
    return view.kind === 'sampling' ? (view.result.content?.text ?? '') : undefined;
};

/// Builds one server with the whole contract. `world` reaches beyond the call: `publish(event)` tells every
/// subscriber of a change, `exchange()` is the HTTP exchange that carries the current call.
export function contractServer(era, world) {
    const server = new McpServer(
        { name: 'claviger-fixture', version: '1.0.0' },
        {
            capabilities: {
                tools: { listChanged: true },
                resources: { subscribe: true, listChanged: true },
                prompts: { listChanged: true },
                completions: {},
                logging: {},
            },
            instructions: 'A fixture for tests.',
            requestState: { verify: stateCodec.verify },
        },
    );
    const tool = (name, description, schema, run) =>
        server.registerTool(name, { description, inputSchema: fromJsonSchema(schema ?? object({})) }, run);

    contentTools(tool);
    reportingTools(tool);
    askingTools(tool, era);
    multiRoundTools(tool);
    troubleTools(tool, world);
    resources(server);
    prompts(server);
    if (era === 'legacy') subscriptions(server, world);
    return server;
}

function contentTools(tool) {
    const image = { type: 'image', data: redPixelPng, mimeType: 'image/png' };
    tool('test_simple_text', 'Returns one text', null, async () =>
        text('This is a simple text response for testing.'),
    );
    tool('test_image_content', 'Returns an image', null, async () => ({ content: [image] }));
    tool('test_audio_content', 'Returns a sound', null, async () => ({
        content: [{ type: 'audio', data: silentWav, mimeType: 'audio/wav' }],
    }));
    tool('test_embedded_resource', 'Returns a resource in the result', null, async () => ({
        content: [
            {
                type: 'resource',
                resource: {
                    uri: 'test://embedded-resource',
                    mimeType: 'text/plain',
                    text: 'This is an embedded resource content.',
                },
            },
        ],
    }));
    tool('test_multiple_content_types', 'Returns text, image and resource', null, async () => ({
        content: [
            { type: 'text', text: 'Multiple content types test:' },
            image,
            {
                type: 'resource',
                resource: {
                    uri: 'test://mixed-content-resource',
                    mimeType: 'application/json',
                    text: JSON.stringify({ test: 'data', value: 123 }),
                },
            },
        ],
    }));
    tool('test_error_handling', 'Always fails', null, async () => {
        throw new Error('This tool intentionally returns an error for testing');
    });
    tool(
        'json_schema_2020_12_tool',
        'Tool with JSON Schema 2020-12 features',
        json2020Schema,
        async (given) => text(`Called with ${JSON.stringify(given)}`),
    );
    tool(
        'test_x_mcp_header',
        'Mirrors one argument into a header',
        object({ region: string({ 'x-mcp-header': 'Region' }), level: { type: 'integer' } }, []),
        async ({ region, level }) => text(`region=${region ?? ''} level=${level ?? ''}`),
    );
}

function reportingTools(tool) {
    const log = (context, data) =>
        context.mcpReq.notify({
            method: 'notifications/message',
            params: { level: 'info', logger: 'fixture', data },
        });
    tool('test_tool_with_logging', 'Logs three times', null, async (given, context) => {
        for (const [index, line] of [
            'Tool execution started',
            'Tool processing data',
            'Tool execution completed',
        ].entries()) {
            if (index > 0) await sleep(50);
            await log(context, line);
        }
        return text('Logged three times.');
    });
    tool('test_logging_tool', 'Logs once, if the caller asked for logs', null, async (given, context) => {
        await context.mcpReq.log('info', 'one line');
        return text('Logged what was asked for.');
    });
    tool('test_tool_with_progress', 'Reports 0, 50 and 100 of 100', null, async (given, context) => {
        const progressToken = context.mcpReq._meta?.progressToken;
        for (const progress of [0, 50, 100]) {
            if (progress > 0) await sleep(50);
            if (progressToken === undefined) continue;
            await context.mcpReq.notify({
                method: 'notifications/progress',
                params: { progressToken, progress, total: 100, message: `${progress} of 100` },
            });
        }
        return text('Reported progress.');
    });
}

/// In the legacy era the question travels on the stream of the call (`send`), never on the stream for notifications,
/// which may not be open yet.
function askingTools(tool, era) {
    const ask = async (context, key, params) => {
        if (era === 'legacy') return context.mcpReq.send({ method: 'elicitation/create', params });
        const view = inputResponse(context.mcpReq.inputResponses, key);
        return view.kind === 'elicit' ? view : undefined;
    };
    const asking = (label, paramsOf) => async (given, context) => {
        const params = paramsOf(given);
        const answer = await ask(context, 'answer', params);
        if (!answer) return inputRequired({ inputRequests: { answer: inputRequired.elicit(params) } });
        return text(`${label}: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
    };
    tool(
        'test_elicitation',
        'Asks the user',
        object({ message: string() }),
        asking('User response', ({ message }) => ({
            message,
            requestedSchema: object({
                username: string({ description: "User's response" }),
                email: string({ description: "User's email address" }),
            }),
        })),
    );
    tool(
        'test_elicitation_sep1034_defaults',
        'Asks with defaults',
        null,
        asking('Elicitation completed', () => ({
            message: 'Please review the defaults',
            requestedSchema: defaultsForm,
        })),
    );
    tool(
        'test_elicitation_sep1330_enums',
        'Asks with every kind of choice',
        null,
        asking('Elicitation completed', () => ({
            message: 'Please choose',
            requestedSchema: enumsForm,
        })),
    );
    tool('test_sampling', 'Asks the model', object({ prompt: string() }), async ({ prompt }, context) => {
        if (era === 'legacy') {
            const answer = await context.mcpReq.send({
                method: 'sampling/createMessage',
                params: { messages: [fromUser({ type: 'text', text: prompt })], maxTokens: 100 },
            });
            return text(`LLM response: ${answer.content?.text ?? ''}`);
        }
        const answer = said(context.mcpReq.inputResponses, 'answer');
        return answer === undefined
            ? inputRequired({ inputRequests: { answer: askModel(prompt) } })
            : text(`LLM response: ${answer}`);
    });
    tool('test_missing_capability', 'Needs a client that can sample', null, async () =>
        inputRequired({ inputRequests: { sample: askModel('Anything?') } }),
    );
    tool('test_streaming_elicitation', 'Streams a notification, then asks', null, async (given, context) => {
        await context.mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken: context.mcpReq._meta?.progressToken ?? 0, progress: 1 },
        });
        return inputRequired({ inputRequests: { user_name: askName() } });
    });
}

function multiRoundTools(tool) {
    const round = (name, description, run) =>
        tool(name, description, null, async (given, context) =>
            run(context.mcpReq.inputResponses, context.mcpReq.requestState(), context),
        );

    round('test_input_required_result_elicitation', 'Needs a name', async (responses) => {
        const name = acceptedText(responses, 'user_name', 'name');
        return name ? text(`Hello, ${name}!`) : inputRequired({ inputRequests: { user_name: askName() } });
    });
    round('test_input_required_result_sampling', 'Needs the model', async (responses) => {
        const answer = said(responses, 'capital_question');
        return answer === undefined
            ? inputRequired({
                  inputRequests: { capital_question: askModel('What is the capital of France?') },
              })
            : text(`The model said: ${answer}`);
    });
    round('test_input_required_result_list_roots', 'Needs the roots', async (responses) => {
        const view = inputResponse(responses, 'client_roots');
        return view.kind === 'roots'
            ? text(`Roots: ${view.roots.map((root) => root.uri).join(', ')}`)
            : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    });
    for (const name of [
        'test_input_required_result_request_state',
        'test_input_required_result_tampered_state',
    ]) {
        round(name, 'Needs a confirmation and its own sealed state', async (responses, state) => {
            if (state?.step === 'confirm' && acceptedContent(responses, 'confirm')) return text('state-ok');
            return inputRequired({
                inputRequests: {
                    confirm: inputRequired.elicit({
                        message: 'Please confirm',
                        requestedSchema: object({ ok: { type: 'boolean' } }),
                    }),
                },
                requestState: await stateCodec.mint({ step: 'confirm' }),
            });
        });
    }
    round('test_input_required_result_multiple_inputs', 'Needs three things at once', async (responses) => {
        const name = acceptedText(responses, 'user_name', 'name');
        const greeting = said(responses, 'greeting');
        const roots = inputResponse(responses, 'client_roots');
        if (name && greeting !== undefined && roots.kind === 'roots') {
            return text(`${greeting} ${name}, you opened ${roots.roots.length} roots.`);
        }
        return inputRequired({
            inputRequests: {
                user_name: askName(),
                greeting: askModel('Generate a greeting', 50),
                client_roots: inputRequired.listRoots(),
            },
            requestState: await stateCodec.mint({ step: 'three' }),
        });
    });
    round('test_input_required_result_multi_round', 'Needs two rounds', async (responses, state) => {
        const name = acceptedText(responses, 'step1', 'name');
        const color = acceptedText(responses, 'step2', 'color');
        if (state?.round === 2 && color) return text(`${state.name} likes ${color}.`);
        if (state?.round === 1 && name) {
            return inputRequired({
                inputRequests: {
                    step2: inputRequired.elicit({
                        message: 'Step 2: What is your favorite color?',
                        requestedSchema: object({ color: string() }),
                    }),
                },
                requestState: await stateCodec.mint({ round: 2, name }),
            });
        }
        return inputRequired({
            inputRequests: { step1: askName('Step 1: What is your name?') },
            requestState: await stateCodec.mint({ round: 1 }),
        });
    });
    round(
        'test_input_required_result_capabilities',
        'Asks only what the client can answer',
        async (responses, state, context) => {
            const can = context.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
            const inputRequests = {};
            if (can.sampling && said(responses, 'sample') === undefined)
                inputRequests.sample = askModel('Anything?');
            if (can.elicitation && !acceptedText(responses, 'user_name', 'name'))
                inputRequests.user_name = askName();
            return Object.keys(inputRequests).length
                ? inputRequired({ inputRequests })
                : text('Nothing more to ask.');
        },
    );
}

/// Tools that stop half way, so that tests can watch what becomes of the call.
function troubleTools(tool, world) {
    tool('test_reconnection', 'Closes the stream in the middle of the call', null, async (given, context) => {
        context.http?.closeSSE?.();
        await sleep(100);
        return text('The answer came after the stream was closed.');
    });
    tool('test_hang_up', 'Breaks the connection in the middle of the call', null, async (given, context) => {
        await context.mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken: context.mcpReq._meta?.progressToken ?? 0, progress: 1 },
        });
        await sleep(50);
        world.exchange().destroy();
        return text('The connection broke on the way.');
    });
    tool('test_wait', 'Waits until it is cancelled, at most ten seconds', null, async (given, context) => {
        try {
            await sleep(10_000, undefined, { signal: context.mcpReq.signal });
        } catch {
            world.cancelled(context.mcpReq.id);
        }
        return text('Waited.');
    });
    tool('test_trigger_tool_change', 'Says that the tools changed', null, async () => {
        world.publish({ kind: 'tools_list_changed' });
        return text('Said it.');
    });
    tool('test_trigger_prompt_change', 'Says that the prompts changed', null, async () => {
        world.publish({ kind: 'prompts_list_changed' });
        return text('Said it.');
    });
    tool(
        'test_touch_resource',
        'Says that a resource changed',
        object({ uri: string() }),
        async ({ uri }) => {
            world.publish({ kind: 'resource_updated', uri });
            return text('Said it.');
        },
    );
}
