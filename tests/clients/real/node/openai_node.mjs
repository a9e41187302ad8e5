// OpenAI's SDK for Node.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const connect = (t) => new OpenAI({ baseURL: t.base_url, apiKey: t.key, maxRetries: 0 });

export const isError = (kind, error) =>
  ({
    401: error instanceof OpenAI.AuthenticationError,
    400: error instanceof OpenAI.BadRequestError,
    timeout: error instanceof OpenAI.APIConnectionTimeoutError,
  })[kind];

export async function ask(t, prompt, { image, timeout = 30000, temperature }) {
  const content = [{ type: "text", text: prompt }];
  if (image) content.push({ type: "image_url", image_url: { url: `data:image/png;base64,${image}` } });
  const body = { model: t.model, messages: [{ role: "user", content }], temperature };
  return (await connect(t).chat.completions.create(body, { timeout })).choices[0].message.content;
}

export async function* stream(t, prompt, signal) {
  const body = { model: t.model, messages: [{ role: "user", content: prompt }], stream: true };
  for await (const chunk of await connect(t).chat.completions.create(body, { signal }))
    yield chunk.choices[0]?.delta?.content ?? "";
}

const PARAMETERS = { temperature: { city: { type: "string" } }, to_fahrenheit: { celsius: { type: "number" } } };

export async function runTools(t, prompt, functions) {
  const tools = Object.entries(functions).map(([name, run]) => {
    const properties = PARAMETERS[name];
    const parameters = { type: "object", properties, required: Object.keys(properties) };
    return { type: "function", function: { name, parameters, parse: JSON.parse, function: run } };
  });
  const body = { model: t.model, messages: [{ role: "user", content: prompt }], tools, stream: true };
  return connect(t).chat.completions.runTools(body).finalContent();
}

export async function extract(t, prompt) {
  const form = zodResponseFormat(z.object({ city: z.string(), population: z.int() }), "place");
  const body = { model: t.model, messages: [{ role: "user", content: prompt }], response_format: form };
  return (await connect(t).chat.completions.parse(body)).choices[0].message.parsed;
}
