// A query under way: the events of POST v1/chat/completions in the mode "events", folded as they come.
import { ApiError, toApiError } from "./api";
import { readEvents } from "./stream";
import {
  type Agreement,
  type Alternative,
  type Assessment,
  type Comparison,
  type Degradation,
  emptyLayer,
  emptyTrace,
  type Failure,
  type Layer,
  type Proposal,
  type Query,
  type RankedModel,
  type Scores,
  type Trace,
} from "./trace";

/** A call that has not ended. */
export interface OpenCall {
  model: string;
  layer: number;
  text: string;
}

/** The object `routemoa` of a response. */
interface Summary {
  calls: number;
  cost: number | null;
  charged: number | null;
  prices: Record<string, string>;
}

type AnyEvent = { event: string } & Partial<{
  query: Query;
  method: string;
  prices: Record<string, string>;
  prior: Scores;
  ranking: RankedModel[];
  layer: number;
  models: string[];
  why: string;
  skip: { model: string; reason: string };
  model: string;
  quoted: string[];
  text: string;
  proposal: Proposal;
  failure: Failure | null;
  assessments: Assessment[];
  agreement: Agreement;
  scores: Scores;
  reason: string;
  choice: string | null;
  routes_not_taken: Alternative[];
  comparison: Comparison;
  kept: boolean;
  leader: string;
  given_up: Degradation;
  latency: number;
  finish_reason: string | null;
  id: string;
  routemoa: Summary;
  tool_calls: { name: string; arguments: string }[];
}>;

export type RunState = "asking" | "done" | "failed" | "stopped";

/** One query, from its request to its answer. `version` grows with each event. */
export class Run {
  readonly trace: Trace = emptyTrace();
  readonly open = new Map<string, OpenCall>();
  readonly started = performance.now();
  state: RunState = "asking";
  text = "";
  id: string | null = null;
  error: ApiError | null = null;
  /** Seconds until the first piece of the answer. */
  firstToken: number | null = null;
  version = 0;
  private readonly abort = new AbortController();

  constructor(private readonly onChange: () => void) {}

  /** Send the request and follow its events to the end. */
  async follow(body: Record<string, unknown>): Promise<void> {
    const init: RequestInit = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: this.abort.signal,
    };
    try {
      for await (const { name, data } of readEvents("v1/chat/completions", init)) {
        if (data === "[DONE]") break;
        const parsed: unknown = JSON.parse(data);
        if (name === "error" || isError(parsed)) throw readStreamError(parsed);
        this.add(parsed as AnyEvent);
        this.change();
      }
      if (this.state === "asking") throw new ApiError(0, "");
    } catch (error) {
      if (this.state !== "stopped") {
        this.state = "failed";
        this.error = toApiError(error);
      }
    }
    this.open.clear();
    this.change();
  }

  stop(): void {
    if (this.state !== "asking") return;
    this.state = "stopped";
    this.abort.abort();
  }

  private change(): void {
    this.version += 1;
    this.onChange();
  }

  private layerOf(event: AnyEvent): Layer {
    const { layers } = this.trace;
    const number = event.layer ?? Math.max(1, layers.length);
    while (layers.length < number) layers.push(emptyLayer());
    return layers[number - 1] ?? emptyLayer();
  }

  private add(event: AnyEvent): void {
    const { trace } = this;
    switch (event.event) {
      case "started":
        Object.assign(trace, { query: event.query, method: event.method, prices: event.prices ?? {} });
        break;
      case "scored":
        Object.assign(trace, { prior: event.prior, ranking: event.ranking });
        break;
      case "selected":
        trace.layers.push(emptyLayer(event.models, event.why));
        break;
      case "skipped":
        if (event.skip) trace.skipped.push(event.skip);
        break;
      case "gave_up":
        if (event.given_up) trace.given_up.push(event.given_up);
        break;
      case "stopped":
        trace.stop_reason = event.reason ?? null;
        trace.choice = event.choice ?? null;
        trace.routes_not_taken = event.routes_not_taken ?? [];
        break;
      case "compared":
        if (event.comparison) trace.comparisons.push(event.comparison);
        break;
      case "answer_delta":
      case "continued":
      case "done":
        this.addToAnswer(event);
        break;
      default:
        this.addToCalls(event);
    }
  }

  private addToCalls(event: AnyEvent): void {
    const { trace } = this;
    const model = event.model ?? event.proposal?.model ?? event.failure?.model ?? "";
    switch (event.event) {
      case "proposal_started":
        trace.calls += 1;
        this.open.set(model, { model, layer: event.layer ?? 1, text: "" });
        if (event.quoted?.length) this.layerOf(event).quoted[model] = event.quoted;
        break;
      case "proposal_delta": {
        const call = this.open.get(model);
        if (call) call.text += event.text ?? "";
        break;
      }
      case "proposal_finished":
        this.open.delete(model);
        if (event.proposal) this.layerOf(event).proposals.push(event.proposal);
        break;
      case "proposal_failed":
        this.open.delete(model);
        if (event.failure) this.layerOf(event).failures.push(event.failure);
        break;
      case "judged":
        this.layerOf(event).assessments.push(...(event.assessments ?? []));
        break;
      case "code_compared":
        this.layerOf(event).agreement = event.agreement ?? null;
        break;
      case "reranked":
        Object.assign(this.layerOf(event), { scores: event.scores, ranking: event.ranking });
        break;
      case "aggregator_started":
        trace.calls += 1;
        trace.aggregator = model;
        break;
      case "aggregator_failed":
        trace.aggregator = null;
        if (!event.kept) this.text = "";
        if (event.failure) trace.failures.push(event.failure);
        break;
      case "call_started":
        trace.calls += 1;
        break;
      case "call_finished":
        if (event.failure) trace.failures.push(event.failure);
        break;
    }
  }

  private addToAnswer(event: AnyEvent): void {
    if (event.event === "answer_delta") {
      this.firstToken ??= (performance.now() - this.started) / 1000;
      this.text += event.text ?? "";
    } else if (event.event === "continued") {
      this.text = "";
    } else {
      const { routemoa, latency, finish_reason, tool_calls } = event;
      Object.assign(this.trace, { latency: latency ?? null, finish_reason, tool_calls: tool_calls ?? [] });
      if (routemoa) {
        const { calls, cost, charged, prices } = routemoa;
        Object.assign(this.trace, { calls, cost, charged, prices });
      }
      this.id = event.id ?? null;
      this.state = "done";
    }
  }
}

function isError(parsed: unknown): boolean {
  return typeof parsed === "object" && parsed !== null && "error" in parsed && !("event" in parsed);
}

function readStreamError(parsed: unknown): ApiError {
  const { error } = parsed as { error?: { message?: string; code?: string | null } };
  return new ApiError(500, error?.message ?? "", error?.code ?? null);
}
