import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const openai = createOpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "unused" });
console.log((await generateText({ model: openai("routemoa"), prompt: "What is 6 times 7?" })).text);
