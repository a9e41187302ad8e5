// What led to an answer, as routemoa.core.trace has it; only what the page shows.

export type Scores = Record<string, number | null>;

export interface Usage {
  prompt_tokens: number | null;
  completion_tokens: number | null;
}

export interface Proposal {
  model: string;
  text: string;
  usage?: Usage;
  /** Seconds. */
  latency: number | null;
  /** Dollars. */
  cost: number | null;
  finish_reason?: string | null;
  refusal?: boolean;
  tool_calls?: { name: string; arguments: string }[];
}

export interface Failure {
  model: string;
  reason: string;
  kind: string;
  latency: number | null;
  cost: number | null;
}

export interface Assessment {
  judge: string;
  subject: string;
  kind: "self" | "cross";
  /** In [0, 1]; null could not be read. */
  value: number | null;
}

export interface RankedModel {
  model: string;
  performance: number;
  /** Dollars per million output tokens. */
  cost: number | null;
  latency: number | null;
  why: string;
}

export interface Comparison {
  judge: string;
  answers: [string, string];
  winner: string;
}

export interface Agreement {
  note: string;
  models?: string[];
  groups?: number[];
  failed?: string[];
}

export interface Layer {
  selected: string[];
  proposals: Proposal[];
  failures: Failure[];
  assessments: Assessment[];
  scores: Scores;
  ranking: RankedModel[];
  why: string;
  quoted: Record<string, string[]>;
  agreement?: Agreement | null;
}

/** An estimate of what another method would have taken. */
export interface Alternative {
  method: string;
  calls: number;
  cost: number | null;
  latency: number | null;
}

export interface Turn {
  role: string;
  content: string;
  body?: unknown;
}

export interface Query {
  messages: Turn[];
  prefer?: string | null;
  [key: string]: unknown;
}

export interface Degradation {
  what: string;
  why: string;
  models?: string[];
}

export interface Trace {
  query: Query;
  method: string;
  prior: Scores;
  ranking: RankedModel[];
  layers: Layer[];
  stop_reason: string | null;
  choice: string | null;
  comparisons: Comparison[];
  aggregator: string | null;
  failures: Failure[];
  calls: number;
  cost: number | null;
  charged: number | null;
  latency: number | null;
  finish_reason?: string | null;
  routes_not_taken: Alternative[];
  given_up: Degradation[];
  skipped: { model: string; reason: string }[];
  prices: Record<string, string>;
  tool_calls?: { name: string; arguments: string }[];
}

export interface Feedback {
  score?: number;
  expected?: string;
  labels?: Record<string, number>;
  comment?: string;
}

/** A kept answer, as GET v1/traces/{id} returns it, or one that a file held. */
export interface StoredAnswer {
  /** Null where it came from a file. */
  id: string | null;
  text: string;
  trace: Trace;
  feedback: Feedback[];
  tenant: string | null;
}

export function emptyTrace(): Trace {
  return {
    query: { messages: [] },
    method: "",
    prior: {},
    ranking: [],
    layers: [],
    stop_reason: null,
    choice: null,
    comparisons: [],
    aggregator: null,
    failures: [],
    calls: 0,
    cost: null,
    charged: null,
    latency: null,
    routes_not_taken: [],
    given_up: [],
    skipped: [],
    prices: {},
  };
}

export function emptyLayer(selected: string[] = [], why = ""): Layer {
  return { selected, why, proposals: [], failures: [], assessments: [], scores: {}, ranking: [], quoted: {} };
}

/**
 * Return the answer in a parsed file: a line of `routemoa ask --json`, or what GET v1/traces/{id} returned; null where it
 * is neither. What is missing of it is filled in.
 */
export function readAnswer(plain: unknown): StoredAnswer | null {
  if (!isObject(plain) || !isObject(plain["trace"])) return null;
  const found = plain["trace"];
  const query = found["query"];
  if (!isObject(query) || !Array.isArray(query["messages"]) || !Array.isArray(found["layers"] ?? [])) return null;
  const layers = ((found["layers"] ?? []) as Partial<Layer>[]).map((layer) => ({ ...emptyLayer(), ...layer }));
  const trace: Trace = { ...emptyTrace(), ...(found as Partial<Trace>), layers };
  const feedback = Array.isArray(plain["feedback"]) ? (plain["feedback"] as Feedback[]) : [];
  return {
    id: typeof plain["id"] === "string" ? plain["id"] : null,
    text: typeof plain["text"] === "string" ? plain["text"] : "",
    trace,
    feedback,
    tenant: typeof plain["tenant"] === "string" ? plain["tenant"] : null,
  };
}

/** Return every model's latest answer, in the order of their first ones. */
export function latestAnswers(trace: Trace): Proposal[] {
  const latest = new Map<string, Proposal>();
  for (const layer of trace.layers) for (const proposal of layer.proposals) latest.set(proposal.model, proposal);
  return [...latest.values()];
}

/** Return the models of a trace in the order of its first ranking, then as they appear. */
export function listModels(trace: Trace): string[] {
  const names = [...trace.ranking.map((ranked) => ranked.model), ...Object.keys(trace.prior)];
  for (const layer of trace.layers) {
    names.push(...layer.selected, ...layer.proposals.map((p) => p.model), ...layer.failures.map((f) => f.model));
  }
  return [...new Set([...names, ...trace.skipped.map((skip) => skip.model)])];
}

/** Return the trace without what a judge does not read: images and other parts beside text. */
export function withoutMedia(trace: Trace): Trace {
  const messages = trace.query.messages.map(({ role, content }) => ({ role, content }));
  return { ...trace, query: { ...trace.query, messages } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
