// Vercel's AI SDK, with its provider for endpoints like OpenAI's. `makeCases` is for its other providers, too.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

export const isError = (kind, error) =>
  kind === "timeout"
    ? ["TimeoutError", "AbortError"].includes(error.name)
    : APICallError.isInstance(error) && error.statusCode === kind;

export function makeCases(connect) {
  async function ask(t, prompt, { image, timeout, temperature }) {
    const content = [{ type: "text", text: prompt }];
    if (image) content.push({ type: "image", image: Buffer.from(image, "base64") });
    const abortSignal = timeout ? AbortSignal.timeout(timeout) : undefined;
    const messages = [{ role: "user", content }];
    return (await generateText({ model: connect(t), messages, temperature, abortSignal, maxRetries: 0 })).text;
  }

  async function* stream(t, prompt, abortSignal) {
    yield* streamText({ model: connect(t), prompt, abortSignal, maxRetries: 0 }).textStream;
  }

  async function runTools(t, prompt, functions) {
    const inputs = { temperature: z.object({ city: z.string() }), to_fahrenheit: z.object({ celsius: z.number() }) };
    const tools = Object.fromEntries(
      Object.entries(functions).map(([name, run]) => [name, tool({ inputSchema: inputs[name], execute: async (a) => run(a) })]),
    );
    const result = streamText({ model: connect(t), prompt, tools, stopWhen: stepCountIs(4), maxRetries: 0 });
    await result.consumeStream();
    return result.text;
  }

  async function extract(t, prompt) {
    const schema = z.object({ city: z.string(), population: z.int() });
    return (await generateText({ model: connect(t), prompt, output: Output.object({ schema }), maxRetries: 0 })).output;
  }

  return { ask, stream, runTools, extract };
}

export const { ask, stream, runTools, extract } = makeCases((t) =>
  createOpenAICompatible({ name: "routemoa", baseURL: t.base_url, apiKey: t.key, supportsStructuredOutputs: true })(t.model),
);
