// What is asked, and how: pure functions from the form to a request, and to what can be copied.
import type { Turn } from "../../data/trace";

export interface DraftTurn {
  role: "user" | "assistant";
  text: string;
  /** Data URLs of images. */
  images: string[];
}

/** What answers one of the columns. */
export interface Column {
  method: string;
  /** Empty is as the pool file has it. */
  prefer: string;
}

export interface Draft {
  system: string;
  turns: DraftTurn[];
  columns: Column[];
  /** As typed; empty is no limit. */
  limits: Record<LimitName, string>;
  tools: string;
  schema: string;
}

export const LIMITS = ["max_cost", "max_seconds", "max_calls", "max_output_tokens"] as const;
export type LimitName = (typeof LIMITS)[number];

export function emptyDraft(method: string): Draft {
  return {
    system: "",
    turns: [{ role: "user", text: "", images: [] }],
    columns: [{ method, prefer: "" }],
    limits: { max_cost: "", max_seconds: "", max_calls: "", max_output_tokens: "" },
    tools: "",
    schema: "",
  };
}

export type Request = Record<string, unknown>;

/** Return the request of a column. Throws a SyntaxError where the tools or the schema are no JSON. */
export function buildRequest(draft: Draft, column: Column): Request {
  const limits = Object.fromEntries(
    LIMITS.map((name) => [name, Number(draft.limits[name])]).filter(([name]) => draft.limits[name as LimitName] !== ""),
  ) as Record<string, number>;
  const own = { ...limits, ...(column.prefer && column.method === "routemoa" ? { prefer: column.prefer } : {}) };
  return {
    model: column.method,
    messages: [...(draft.system ? [{ role: "system", content: draft.system }] : []), ...draft.turns.map(writeTurn)],
    ...(draft.tools.trim() ? { tools: readTools(draft.tools) } : {}),
    ...(draft.schema.trim() ? { response_format: readFormat(draft.schema) } : {}),
    ...(Object.keys(own).length ? { routemoa: own } : {}),
  };
}

/** Return the same request as a stream of events. */
export function asEvents(request: Request): Request {
  const own = (request["routemoa"] ?? {}) as Request;
  return { ...request, stream: true, routemoa: { ...own, stream_mode: "events" } };
}

/** Return the draft that asks what a trace was asked. */
export function draftFrom(messages: Turn[], method: string): Draft {
  const draft = emptyDraft(method);
  const system = messages.filter(({ role }) => role === "system" || role === "developer");
  const turns = messages.filter(({ role }) => role === "user" || role === "assistant");
  return {
    ...draft,
    system: system.map(({ content }) => content).join("\n\n"),
    turns: turns.length
      ? turns.map(({ role, content, body }) => ({ role: role as "user", text: content, images: readImages(body) }))
      : draft.turns,
  };
}

function writeTurn({ role, text, images }: DraftTurn): Request {
  if (!images.length) return { role, content: text };
  const parts = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return { role, content: [{ type: "text", text }, ...parts] };
}

function readTools(text: string): unknown {
  const parsed = JSON.parse(text) as unknown;
  const tools = Array.isArray(parsed) ? (parsed as Request[]) : [parsed as Request];
  return tools.map((tool) => ("type" in tool ? tool : { type: "function", function: tool }));
}

function readFormat(text: string): unknown {
  const parsed = JSON.parse(text) as Request;
  if (parsed["type"] === "json_schema" || parsed["type"] === "json_object") return parsed;
  return { type: "json_schema", json_schema: { name: "answer", schema: parsed } };
}

function readImages(body: unknown): string[] {
  const content = (body as { content?: unknown } | undefined)?.content;
  if (!Array.isArray(content)) return [];
  return (content as { image_url?: { url?: string } }[]).flatMap((part) => {
    const url = part.image_url?.url;
    return url?.startsWith("data:image/") ? [url] : [];
  });
}

// --- to copy

export function writeCurl(request: Request, origin: string, needsKey: boolean): string {
  const key = needsKey ? ` \\\n  -H "Authorization: Bearer $ROUTEMOA_KEY"` : "";
  const body = JSON.stringify(request, null, 2).replaceAll("'", "'\\''");
  return `curl ${origin}/v1/chat/completions \\\n  -H "Content-Type: application/json"${key} \\\n  -d '${body}'\n`;
}

export function writePython(request: Request, origin: string, needsKey: boolean): string {
  const { routemoa, ...fields } = request;
  const lines = Object.entries(fields).map(([name, value]) => `    ${name}=${writeLiteral(value, 4)},`);
  if (routemoa) lines.push(`    extra_body=${writeLiteral({ routemoa }, 4)},`);
  const key = needsKey ? `os.environ["ROUTEMOA_KEY"]` : `"unused"`;
  return [
    ...(needsKey ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${origin}/v1", api_key=${key})`,
    "completion = client.chat.completions.create(",
    ...lines,
    ")",
    "print(completion.choices[0].message.content)",
    "",
  ].join("\n");
}

/** Return the settings as tables of the pool file, where they hold for every request. */
export function writeToml(request: Request): string {
  const own = (request["routemoa"] ?? {}) as Record<string, string | number>;
  const { prefer, ...limits } = own;
  const tables = [
    ...(prefer ? ["[mixture]", `prefer = ${JSON.stringify(prefer)}`, ""] : []),
    ...(Object.keys(limits).length ? ["[limits]", ...Object.entries(limits).map(([k, v]) => `${k} = ${v}`), ""] : []),
  ];
  return tables.length ? tables.join("\n") : "[mixture]\nprefer = \"balanced\"\n";
}

function writeLiteral(value: unknown, indent: number): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = " ".repeat(indent + 4);
  const end = " ".repeat(indent);
  const items = Array.isArray(value)
    ? value.map((item) => writeLiteral(item, indent + 4))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${writeLiteral(item, indent + 4)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${end}${close}` : `${open}${close}`;
}
