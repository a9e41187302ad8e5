// How likely each model is right: before any call, after each layer, and under another policy.
import type { OpenCall } from "../../data/run";
import { listModels, type Scores, type Trace } from "../../data/trace";
import { texts } from "../../texts.en";
import { formatSeconds, formatShare } from "../format";
import { ModelName } from "../model-name";

interface Props {
  trace: Trace;
  open: ReadonlyMap<string, OpenCall>;
  /** The posterior under another policy. */
  again: Scores | null;
}

export function ModelBars({ trace, open, again }: Props) {
  const models = listModels(trace);
  if (!models.length) return null;
  const latest = trace.layers.findLast((layer) => Object.keys(layer.scores).length)?.scores ?? {};
  const known = models.some((model) => trace.prior[model] != null || latest[model] != null || again?.[model] != null);
  const order = [...models].sort((a, b) => rank(latest, trace, b) - rank(latest, trace, a));
  return (
    <section class="card" aria-labelledby="models-title">
      <h2 id="models-title">{known ? texts.trace.models : texts.trace.modelsAlone}</h2>
      {known && <p class="bar-keys">
        <span class="key prior" /> {texts.trace.prior}
        <span class="key posterior" /> {texts.trace.posterior}
        {again && (
          <>
            <span class="key again" /> {texts.trace.again}
          </>
        )}
      </p>}
      <ul class="bars">
        {order.map((model) => (
          <ModelRow key={model} model={model} trace={trace} call={open.get(model)} again={again?.[model] ?? null} known={known} />
        ))}
      </ul>
    </section>
  );
}

function ModelRow(props: { model: string; trace: Trace; call: OpenCall | undefined; again: number | null; known: boolean }) {
  const { model, trace, call, again, known } = props;
  const prior = trace.prior[model] ?? null;
  const steps = trace.layers.map((layer) => layer.scores[model] ?? null).filter((score) => score !== null);
  const posterior = steps.at(-1) ?? null;
  const state = describeState(model, trace, call);
  const chosen = model === trace.choice;
  return (
    <li class={`${state.kind}${chosen ? " chosen" : ""}`}>
      <span class="name">
        <ModelName model={model} />
        {chosen && <span class="badge">{texts.trace.chosen}</span>}
      </span>
      {known && <span class="bar" role="img" aria-label={texts.trace.barLabel(model, prior, posterior)}>
        {posterior !== null && <span class="fill" style={{ width: percent(posterior) }} />}
        {prior !== null && <span class="mark" style={{ left: percent(prior) }} />}
        {steps.slice(0, -1).map((score, i) => (
          <span key={i} class="step" style={{ left: percent(score) }} />
        ))}
        {again !== null && <span class="again" style={{ left: percent(again) }} />}
      </span>}
      {known && <span class="shares">
        {formatShare(prior)}
        {posterior !== null && ` → ${formatShare(posterior)}`}
        {again !== null && <span class="again"> · {formatShare(again)}</span>}
      </span>}
      <small class="state">{state.text}</small>
    </li>
  );
}

type StateKind = "waiting" | "writing" | "answered" | "failed" | "skipped" | "idle";

function describeState(model: string, trace: Trace, call: OpenCall | undefined): { kind: StateKind; text: string } {
  const { states } = texts.trace;
  if (call) {
    return call.text ? { kind: "writing", text: states.writing } : { kind: "waiting", text: states.waiting };
  }
  const answer = trace.layers.flatMap((layer) => layer.proposals).findLast((p) => p.model === model);
  if (answer) return { kind: "answered", text: states.answered(formatSeconds(answer.latency)) };
  const failure = trace.layers.flatMap((layer) => layer.failures).findLast((f) => f.model === model);
  if (failure) {
    const cancelled = failure.kind === "cancelled";
    return { kind: "failed", text: cancelled ? states.cancelled : states.failed(failure.reason) };
  }
  const skip = trace.skipped.find((skipped) => skipped.model === model);
  return skip ? { kind: "skipped", text: skip.reason } : { kind: "idle", text: states.idle };
}

function rank(latest: Scores, trace: Trace, model: string): number {
  return latest[model] ?? trace.prior[model] ?? -1;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)}%`;
}
