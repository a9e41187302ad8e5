import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const server = { name: "routemoa", baseURL: "http://127.0.0.1:8080/v1", apiKey: "unused" };
const provider = createOpenAICompatible({ ...server, supportsStructuredOutputs: true });
console.log((await generateText({ model: provider("routemoa"), prompt: "What is 6 times 7?" })).text);
