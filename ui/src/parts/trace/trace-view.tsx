// How an answer came about: while it does, and after. Everything here is read from the trace and from the judge's route.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { readKey } from "../../data/keys";
import { type AnswerGroup, type PolicyChoice, useJudgment } from "../../data/judgment";
import type { OpenCall } from "../../data/run";
import type { Trace } from "../../data/trace";
import { texts } from "../../texts.en";
import { formatDollars, formatSeconds, formatShare, showControls } from "../format";
import { ModelName } from "../model-name";
import { Problem } from "../problem";
import { Answers, Judgments, LONG } from "./answers";
import { Costs } from "./costs";
import { FeedbackForm, sendFeedback } from "./feedback";
import { AgreementGroups } from "./groups";
import { JudgeAgain } from "./judge-again";
import { ModelBars } from "./model-bars";
import { ShareTrace } from "./share";

interface Props {
  trace: Trace;
  /** The final answer, as far as it is written. */
  text: string;
  /** Of the response; null where the trace is not kept here. */
  id: string | null;
  /** Whether the answer is complete. */
  ended: boolean;
  open?: ReadonlyMap<string, OpenCall>;
  /** Whose trace it is, as the admin sees it. */
  tenant?: string | null;
  children?: ComponentChildren;
}

const NONE: ReadonlyMap<string, OpenCall> = new Map();

export function TraceView({ trace, text, id, ended, open = NONE, tenant = null, children }: Props) {
  const about = useAbout();
  const [policy, setPolicy] = useState<PolicyChoice>({});
  const answers = trace.layers.reduce((sum, layer) => sum + layer.proposals.length, 0);
  const key = answers ? `${id}/${answers}/${trace.layers.length}/${ended}` : null;
  const asRecorded = useJudgment(trace, key, {});
  const changed = Object.keys(policy).length > 0;
  const again = useJudgment(trace, ended && changed ? key : null, policy);
  const judged = changed ? again : asRecorded;
  const maySay = id !== null && ended && about.traces.keep && ownsTrace(about.role, about.name, tenant);
  const label = (model: string, right: boolean): void => {
    if (id) void sendFeedback(id, { labels: { [model]: right ? 1 : 0 } });
  };
  return (
    <div class="trace">
      <FinalAnswer trace={trace} text={text} ended={ended} groups={asRecorded.judgment?.groups ?? []}>
        {maySay && <FeedbackForm id={id} />}
        {ended && (
          <div class="row">
            <ShareTrace trace={trace} text={text} id={id} />
            {children}
          </div>
        )}
      </FinalAnswer>
      <div class="columns">
        <ModelBars trace={trace} open={open} again={changed ? (again.judgment?.scores ?? null) : null} />
        <div class="stack">
          <AgreementGroups judgment={judged.judgment ?? asRecorded.judgment} />
          {ended && <Costs trace={trace} />}
        </div>
      </div>
      {asRecorded.error && <Problem error={asRecorded.error} />}
      {ended && asRecorded.judgment && (
        <JudgeAgain policy={policy} onPolicy={setPolicy} base={asRecorded.judgment} judgment={judged.judgment} />
      )}
      <Answers
        trace={trace}
        open={open}
        groups={asRecorded.judgment?.groups ?? []}
        onLabel={maySay ? label : null}
      />
      <Judgments trace={trace} />
      <LeftOut trace={trace} />
    </div>
  );
}

/** Feedback belongs to the key that asked: the admin key alone says nothing. */
function ownsTrace(role: string, name: string | null, tenant: string | null): boolean {
  if (role === "admin") return readKey("tenant") !== "" && tenant !== null;
  return role === "open" || tenant === null || tenant === name;
}

interface FinalProps {
  trace: Trace;
  text: string;
  ended: boolean;
  groups: AnswerGroup[];
  children: ComponentChildren;
}

function FinalAnswer({ trace, text, ended, groups, children }: FinalProps) {
  const whyChosen = explainChoice(trace, groups);
  const writer = trace.aggregator ?? trace.choice;
  return (
    <section class="card final" aria-labelledby="answer-title" aria-busy={!ended}>
      <h2 id="answer-title">{texts.trace.answer}</h2>
      <div class="said">
      {text && <FinalText text={text} ended={ended} />}
      {trace.tool_calls?.map((call, i) => (
        <pre key={i} class="call">
          {showControls(`${call.name}(${call.arguments})`)}
        </pre>
      ))}
      {!text && !ended && <p class="quiet">{texts.trace.working}</p>}
      </div>
      <div class="why">
      {trace.stop_reason !== null && (
        <dl class="facts">
          <dt>{trace.aggregator ? texts.trace.writtenBy : texts.trace.answerOf}</dt>
          <dd>{writer ? <ModelName model={writer} /> : texts.unknown}</dd>
          {whyChosen && (
            <>
              <dt>{texts.trace.whyChosen}</dt>
              <dd>{whyChosen}</dd>
            </>
          )}
          <dt>{texts.trace.stopped}</dt>
          <dd>{trace.stop_reason}</dd>
          {ended && (
            <>
              <dt>{texts.trace.took}</dt>
              <dd>{texts.trace.took3(trace.calls, formatDollars(trace.cost), formatSeconds(trace.latency))}</dd>
            </>
          )}
        </dl>
      )}
      {children}
      </div>
    </section>
  );
}

/** Show an answer; where the reasons stand below it, a long one is folded, so that they are within reach. */
function FinalText({ text, ended }: { text: string; ended: boolean }) {
  const [whole, setWhole] = useState(false);
  const folded = ended && !whole && text.length > LONG;
  return (
    <>
      <pre class={folded ? "text foldable" : "text"} dir="auto">
        {showControls(text)}
      </pre>
      {ended && text.length > LONG && (
        <button type="button" class="plain unfold" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? texts.trace.less : texts.trace.more(text.length)}
        </button>
      )}
    </>
  );
}

/** Say why an answer was given: where its model has the highest posterior, and others answered too. */
function explainChoice(trace: Trace, groups: AnswerGroup[]): string | null {
  const latest = trace.layers.findLast((layer) => Object.keys(layer.scores).length)?.scores ?? {};
  const chosen = trace.choice;
  const share = chosen === null ? null : (latest[chosen] ?? null);
  const answered = new Set(trace.layers.flatMap((layer) => layer.proposals.map(({ model }) => model)));
  if (chosen === null || share === null || answered.size < 2) return null;
  const same = groups.find(({ models }) => models.includes(chosen))?.models.filter((model) => model !== chosen) ?? [];
  const rest = [...answered].filter((model) => model !== chosen && !same.includes(model));
  const next = rest.reduce<number | null>((best, model) => Math.max(best ?? 0, latest[model] ?? 0), null);
  if (share < (next ?? 0)) return null;
  return texts.trace.likeliest(formatShare(share), same, next === null ? null : formatShare(next));
}

/** What the limits left no room for, and the models that were not called. */
function LeftOut({ trace }: { trace: Trace }) {
  const lines = [
    ...trace.given_up.map(({ why, models }) => (models?.length ? `${models.join(", ")}: ${why}` : why)),
    ...trace.skipped.map(({ model, reason }) => `${model}: ${reason}`),
    ...trace.failures.map(({ model, reason }) => `${model}: ${reason}`),
  ];
  if (!lines.length) return null;
  return (
    <section class="card">
      <h2>{texts.trace.leftOut}</h2>
      <ul>
        {lines.map((line, i) => (
          <li key={i}>{showControls(line)}</li>
        ))}
      </ul>
    </section>
  );
}
