// The answers of each layer, side by side, each with the group that it agrees with.
import { useState } from "preact/hooks";

import type { AnswerGroup } from "../../data/judgment";
import type { OpenCall } from "../../data/run";
import type { Failure, Layer, Proposal, Trace } from "../../data/trace";
import { texts } from "../../texts.en";
import { formatCount, formatDollars, formatSeconds, formatShare, showControls } from "../format";
import { ModelName } from "../model-name";
import { ScrollRegion } from "../scroll-region";
import { groupLetter } from "./groups";

export const LONG = 500; // characters, beyond which an answer is folded

interface Props {
  trace: Trace;
  open: ReadonlyMap<string, OpenCall>;
  groups: AnswerGroup[];
  /** Says whether a member's own answer is right; absent where nothing can be said. */
  onLabel: ((model: string, right: boolean) => void) | null;
}

export function Answers({ trace, open, groups, onLabel }: Props) {
  return (
    <>
      {trace.layers.map((layer, i) => (
        <section key={i} class="layer" aria-labelledby={`layer-${i}`}>
          <h2 id={`layer-${i}`}>{texts.trace.layer(i + 1, layer.selected.length)}</h2>
          {layer.why && <p class="quiet">{layer.why}</p>}
          {layer.agreement && <p class="quiet">{layer.agreement.note}</p>}
          <div class="answers">
            {listCards(layer, i + 1, open).map((card) => (
              <AnswerCard key={card.model} card={card} trace={trace} groups={groups} onLabel={onLabel} />
            ))}
          </div>
        </section>
      ))}
    </>
  );
}

interface Card {
  model: string;
  text: string;
  proposal: Proposal | null;
  failure: Failure | null;
  shown: string[];
}

function listCards(layer: Layer, number: number, open: ReadonlyMap<string, OpenCall>): Card[] {
  const names = [...layer.selected, ...layer.proposals.map((p) => p.model), ...layer.failures.map((f) => f.model)];
  const running = [...open.values()].filter((call) => call.layer === number).map((call) => call.model);
  return [...new Set([...names, ...running])].map((model) => {
    const proposal = layer.proposals.findLast((p) => p.model === model) ?? null;
    const failure = proposal ? null : (layer.failures.findLast((f) => f.model === model) ?? null);
    const call = open.get(model);
    const text = proposal?.text ?? (call?.layer === number ? call.text : "");
    return { model, text, proposal, failure, shown: layer.quoted[model] ?? [] };
  });
}

function AnswerCard(props: { card: Card; trace: Trace; groups: AnswerGroup[]; onLabel: Props["onLabel"] }) {
  const { card, trace, groups, onLabel } = props;
  const { model, text, proposal, failure, shown } = card;
  const [whole, setWhole] = useState(false);
  const group = proposal ? groups.findIndex((found) => found.models.includes(model)) : -1;
  const running = !proposal && !failure;
  const long = text.length > LONG;
  const classes = ["answer", running ? "running" : "", failure ? "failed" : "", model === trace.choice ? "chosen" : ""];
  return (
    <article class={classes.join(" ")} data-group={group >= 0 ? group % 4 : undefined} aria-busy={running}>
      <header>
        <ModelName model={model} />
        {group >= 0 && <span class="group-badge">{groupLetter(group)}</span>}
        {model === trace.choice && <span class="badge">{texts.trace.chosen}</span>}
      </header>
      {shown.length > 0 && <small>{texts.trace.shown(shown.join(", "))}</small>}
      {failure ? (
        <p class="reason">{failure.kind === "cancelled" ? texts.trace.states.cancelled : failure.reason}</p>
      ) : (
        <pre class={long && !whole && !running ? "text folded" : "text"} dir="auto">
          {showControls(long && running ? `… ${text.slice(-LONG)}` : text)}
        </pre>
      )}
      {proposal?.tool_calls?.map((call, i) => (
        <pre key={i} class="call">
          {showControls(`${call.name}(${call.arguments})`)}
        </pre>
      ))}
      {long && !running && (
        <button type="button" class="plain" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? texts.trace.less : texts.trace.more(text.length)}
        </button>
      )}
      <footer>
        <small>{running ? (text ? texts.trace.states.writing : texts.trace.states.waiting) : proposal ? describeCall(proposal) : ""}</small>
        {proposal && onLabel && <Labels model={model} onLabel={onLabel} />}
      </footer>
    </article>
  );
}

function Labels({ model, onLabel }: { model: string; onLabel: (model: string, right: boolean) => void }) {
  const [said, setSaid] = useState<boolean | null>(null);
  const say = (right: boolean): void => {
    setSaid(right);
    onLabel(model, right);
  };
  return (
    <span class="labels" role="group" aria-label={texts.feedback.ofModel(model)}>
      <button type="button" class="plain" aria-pressed={said === true} onClick={() => say(true)}>
        {texts.feedback.right}
      </button>
      <button type="button" class="plain" aria-pressed={said === false} onClick={() => say(false)}>
        {texts.feedback.wrong}
      </button>
    </span>
  );
}

function describeCall(proposal: Proposal): string {
  const tokens = proposal.usage?.completion_tokens;
  const parts = [
    formatSeconds(proposal.latency),
    tokens == null ? "" : texts.trace.tokens(formatCount(tokens)),
    proposal.cost == null ? "" : formatDollars(proposal.cost),
    proposal.refusal ? texts.trace.refusal : "",
    proposal.finish_reason === "length" ? texts.trace.breaksOff : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

/** The judges' scores, one row for each judge; its own answer is on the diagonal. */
export function Judgments({ trace }: { trace: Trace }) {
  const scores = new Map<string, number | null>();
  for (const layer of trace.layers) {
    for (const { judge, subject, value } of layer.assessments) scores.set(`${judge}\n${subject}`, value);
  }
  const judges = [...new Set([...scores.keys()].map((pair) => pair.split("\n")[0] ?? ""))];
  const subjects = [...new Set([...scores.keys()].map((pair) => pair.split("\n")[1] ?? ""))];
  if (!judges.length && !trace.comparisons.length) return null;
  return (
    <section class="card" aria-labelledby="judgments-title">
      <h2 id="judgments-title">{texts.trace.judgments}</h2>
      {judges.length > 0 && (
        <ScrollRegion kind="bare" labelledBy="judgments-title">
          <table class="matrix">
            <thead>
              <tr>
                <th scope="col">{texts.trace.judge}</th>
                {subjects.map((subject) => (
                  <th key={subject} scope="col">
                    <ModelName model={subject} />
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {judges.map((judge) => (
                <tr key={judge}>
                  <th scope="row">
                    <ModelName model={judge} />
                  </th>
                  {subjects.map((subject) => (
                    <ScoreCell key={subject} value={scores.get(`${judge}\n${subject}`)} own={judge === subject} />
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollRegion>
      )}
      {trace.comparisons.map((comparison, i) => (
        <p key={i}>{texts.trace.compared(comparison.judge, ...comparison.answers, comparison.winner)}</p>
      ))}
    </section>
  );
}

function ScoreCell({ value, own }: { value: number | null | undefined; own: boolean }) {
  if (value === undefined) return <td class="number quiet">·</td>;
  const shade = { "--share": (value ?? 0).toFixed(3) };
  return (
    <td class={own ? "number score own" : "number score"} style={shade}>
      {value === null ? texts.trace.unreadable : formatShare(value)}
    </td>
  );
}
