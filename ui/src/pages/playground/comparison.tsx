// Two answers to the same question in one table: which is dearer, slower, and whether they say the same.
import { type Judgment, useJudgment } from "../../data/judgment";
import { emptyLayer, emptyTrace, type Trace } from "../../data/trace";
import { formatCount, formatDollars, formatSeconds, showControls } from "../../parts/format";
import { ScrollRegion } from "../../parts/scroll-region";
import { MethodHead } from "../../parts/trace/method-head";
import { texts } from "../../texts.en";

export interface Compared {
  name: string;
  trace: Trace;
  text: string;
}

export function Comparison({ answers }: { answers: [Compared, Compared] }) {
  const [one, other] = answers;
  const { judgment } = useJudgment(traceOf(answers), `${one.text}\n${other.text}`, {});
  const same = judgment ? judgment.groups.length === 1 && judgment.groups[0]?.models.length === 2 : null;
  const words = texts.compare;
  return (
    <section class="card compared" aria-labelledby="compared-title">
      <h2 id="compared-title">{words.title}</h2>
      {same !== null && <p>{same ? words.agree : judgment?.closed ? words.differ : words.openDiffer}</p>}
      <ScrollRegion kind="bare" labelledBy="compared-title">
        <table>
          <MethodHead>
            {judgment?.closed && <th scope="col">{words.says}</th>}
            <th scope="col" class="number">
              {words.times}
            </th>
          </MethodHead>
          <tbody>
            {answers.map(({ name, trace }, i) => (
              <tr key={i}>
                <th scope="row">
                  <button type="button" class="plain" onClick={() => goTo(i)}>
                    {name}
                  </button>
                </th>
                <td class="number">{formatCount(trace.calls)}</td>
                <td class="number">{formatSeconds(trace.latency)}</td>
                <td class="number">{formatDollars(trace.cost)}</td>
                {judgment?.closed && <td>{showControls(findStated(judgment, i) ?? texts.unknown)}</td>}
                <td class="number">{formatTimes(trace.cost, one.trace.cost)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </section>
  );
}

/** Return a trace in which both final answers stand side by side, for the judge to group. */
function traceOf(answers: [Compared, Compared]): Trace {
  const proposals = answers.map(({ text }, i) => ({ model: `${i}`, text, usage: {}, latency: null, cost: null }));
  const layer = { ...emptyLayer(), proposals: proposals as never };
  return { ...emptyTrace(), query: answers[0].trace.query, layers: [layer] };
}

/** Return the result that an answer states; null where none is found in it. */
function findStated(judgment: Judgment, place: number): string | null {
  return judgment.groups.find(({ models }) => models.includes(`${place}`))?.states ?? null;
}

/** Bring a column into view: on a phone the second stands far below the first. */
function goTo(place: number): void {
  document.querySelectorAll(".compare > section")[place]?.scrollIntoView();
}

function formatTimes(cost: number | null, base: number | null): string {
  return cost === null || !base ? texts.unknown : `${(cost / base).toFixed(cost / base < 10 ? 1 : 0)} ×`;
}
