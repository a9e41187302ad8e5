// Vercel's AI SDK, with its provider for OpenAI as it is by default: the Responses API, with items that are referred to.
import { createOpenAI } from "@ai-sdk/openai";
import { isError, makeCases } from "./ai_sdk.mjs";

export { isError };

export function before(t) {
  const why = "the scripted upstream has no /v1/responses: there is no control";
  if (t.name === "upstream") throw Object.assign(new Error(why), { name: "Skipped" });
}

export const { ask, stream, runTools, extract } = makeCases((t) =>
  createOpenAI({ baseURL: t.base_url, apiKey: t.key })(t.model),
);
