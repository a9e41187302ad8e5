// One trace, and the traces of questions like its own.
import { useData } from "../../data/api";
import { formatDollars, formatShare, formatShortTime, showControls } from "../../parts/format";
import { WhenLoaded } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import { TraceView } from "../../parts/trace/trace-view";
import type { Trace } from "../../data/trace";
import { linkTo } from "../../route";
import { texts } from "../../texts.en";
import type { TraceRow } from "./rows";

interface StoredTrace {
  /** Of the response, with its prefix. */
  id: string;
  tenant: string | null;
  text: string;
  trace: Trace;
}

export function OneTrace({ id }: { id: string }) {
  const loaded = useData<StoredTrace>(`ui/api/traces/${encodeURIComponent(id)}`);
  return (
    <>
      <p>
        <a href={linkTo("traces")}>{texts.traces.back}</a>
      </p>
      <h1>{texts.traces.one}</h1>
      <WhenLoaded loaded={loaded}>
        {(found) => (
          <>
            <Question trace={found.trace} />
            <TraceView trace={found.trace} text={found.text} id={found.id} tenant={found.tenant} ended />
            <Similar id={id} />
          </>
        )}
      </WhenLoaded>
    </>
  );
}

function Question({ trace }: { trace: Trace }) {
  const asked = [...(trace.query?.messages ?? [])].reverse().find((message) => message.role === "user");
  const text = typeof asked?.content === "string" ? asked.content : "";
  return <blockquote class="asked">{text ? showControls(text) : texts.traces.noTexts}</blockquote>;
}

function Similar({ id }: { id: string }) {
  const loaded = useData<{ data: (TraceRow & { similarity: number })[] }>(
    `ui/api/traces/${encodeURIComponent(id)}/similar`,
  );
  const { columns, similar } = texts.traces;
  return (
    <section class="similar">
      <h2>{similar.title}</h2>
      <WhenLoaded loaded={loaded}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="quiet">{similar.none}</p>
          ) : (
            <ScrollRegion label={similar.title}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">{columns.question}</th>
                    <th scope="col" class="number">
                      {similar.similarity}
                    </th>
                    <th scope="col">{columns.choice}</th>
                    <th scope="col">{columns.panel}</th>
                    <th scope="col" class="number">
                      {columns.cost}
                    </th>
                    <th scope="col">{columns.at}</th>
                  </tr>
                </thead>
                <tbody>
                  {data.map((row) => (
                    <tr key={row.id}>
                      <td>
                        <a href={linkTo("traces", [row.id])}>{showControls(row.question)}</a>
                      </td>
                      <td class="number">{formatShare(row.similarity)}</td>
                      <td>{row.choice ?? texts.unknown}</td>
                      <td>{row.panel ? texts.traces.panels[row.panel] : texts.unknown}</td>
                      <td class="number">{formatDollars(row.cost)}</td>
                      <td class="when">{formatShortTime(row.at)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </ScrollRegion>
          )
        }
      </WhenLoaded>
    </section>
  );
}
