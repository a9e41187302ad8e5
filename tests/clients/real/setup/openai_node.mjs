import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "unused" });
const messages = [{ role: "user", content: "What is 6 times 7?" }];
const reply = await client.chat.completions.create({ model: "routemoa", messages });
console.log(reply.choices[0].message.content);
