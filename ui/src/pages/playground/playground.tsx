// Ask, and watch the mixture happen; two methods or policies side by side on the same question.
import { useEffect, useRef, useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { ApiError, getJson, postJson, toApiError } from "../../data/api";
import { readKey } from "../../data/keys";
import { Run } from "../../data/run";
import { readAnswer, type StoredAnswer, withoutMedia } from "../../data/trace";
import { Empty, Problem } from "../../parts/problem";
import { TraceView } from "../../parts/trace/trace-view";
import type { Route } from "../../route";
import { texts } from "../../texts.en";
import { type Compared, Comparison } from "./comparison";
import { Composer } from "./composer";
import { asEvents, buildRequest, type Column, type Draft, draftFrom, emptyDraft } from "./question";

const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** What a column shows. */
type Shown = { column: Column } & ({ run: Run; stored: null } | { run: null; stored: StoredAnswer });

export function Playground({ route }: { route: Route }) {
  const about = useAbout();
  const [draft, setDraft] = useState<Draft>(() => emptyDraft(about.methods[0] ?? "routemoa"));
  const [shown, setShown] = useState<Shown[]>([]);
  const [error, setError] = useState<ApiError | null>(null);
  const redraw = useRedraw();
  const running = shown.some(({ run }) => run?.state === "asking");

  const ask = (): void => {
    setError(null);
    try {
      const requests = draft.columns.map((column) => buildRequest(draft, column));
      const runs = draft.columns.map((column): Shown => ({ column, run: new Run(redraw), stored: null }));
      setShown(runs);
      runs.forEach(({ run }, i) => void run?.follow(asEvents(requests[i] ?? {})));
    } catch (problem) {
      setError(new ApiError(0, texts.playground.notJson(problem instanceof Error ? problem.message : "")));
    }
  };
  const stop = (): void => shown.forEach(({ run }) => run?.stop());
  const show = (stored: StoredAnswer): void => {
    setError(null);
    setShown([{ column: { method: stored.trace.method, prefer: "" }, run: null, stored }]);
    setDraft(draftFrom(stored.trace.query.messages, about.methods[0] ?? "routemoa"));
  };
  useStoredTrace(route.rest[0] ?? null, show, setError);
  const openFile = (file: File): void => {
    readFile(file).then(show, (problem: unknown) => setError(toApiError(problem)));
  };
  const goOn = (text: string): void => {
    const turns = [...draft.turns, { role: "assistant" as const, text, images: [] }];
    setDraft({ ...draft, turns: [...turns, { role: "user", text: "", images: [] }] });
    document.querySelector("main")?.scrollIntoView();
  };
  const compared = compareAnswers(shown);
  const mayAsk = about.role !== "admin" || readKey("tenant") !== "";
  return (
    <>
      <h1>{texts.pages.playground}</h1>
      {mayAsk ? (
        <Composer draft={draft} onDraft={setDraft} running={running} onAsk={ask} onStop={stop} onFile={openFile} onProblem={setError} />
      ) : (
        <Empty title={texts.playground.adminTitle}>{texts.playground.admin}</Empty>
      )}
      {error && <Problem error={error} />}
      {!shown.length && !error && mayAsk && (
        <Empty title={texts.playground.emptyTitle}>
          <p>{texts.playground.empty}</p>
        </Empty>
      )}
      {compared && <Comparison answers={compared} />}
      <div class={shown.length > 1 ? "compare" : ""}>
        {shown.map((one, i) => (
          <ColumnView key={i} shown={one} titled={shown.length > 1} onGoOn={goOn} />
        ))}
      </div>
    </>
  );
}

function ColumnView({ shown, titled, onGoOn }: { shown: Shown; titled: boolean; onGoOn: (text: string) => void }) {
  const { column, run, stored } = shown;
  const title = titled && (
    <h2 class="column-title">{nameColumn(column)}</h2>
  );
  if (stored) {
    return (
      <section>
        {title}
        <TraceView trace={stored.trace} text={stored.text} id={stored.id} tenant={stored.tenant} ended />
      </section>
    );
  }
  const ended = run.state === "done";
  const note = run.state === "stopped" ? texts.playground.stopped : null;
  return (
    <section aria-label={column.method}>
      {title}
      <p class="unseen" role="status">
        {describeState(run)}
      </p>
      {run.error && <Problem error={withReason(run.error)} />}
      {note && <p class="quiet">{note}</p>}
      {run.version > 0 && run.trace.method && (
        <TraceView trace={run.trace} text={run.text} id={run.id} ended={ended} open={run.open}>
          <button type="button" onClick={() => onGoOn(run.text)}>
            {texts.playground.goOn}
          </button>
        </TraceView>
      )}
      {run.version === 0 && run.state === "asking" && <p class="quiet">{texts.trace.working}</p>}
    </section>
  );
}

/** Return two complete answers, to be compared; null where there are none. */
function compareAnswers(shown: Shown[]): [Compared, Compared] | null {
  const answers = shown.flatMap(({ column, run }) =>
    run?.state === "done" ? [{ name: nameColumn(column), trace: run.trace, text: run.text }] : [],
  );
  const [one, other] = answers;
  return one && other ? [one, other] : null;
}

function nameColumn({ method, prefer }: Column): string {
  return prefer && method === "routemoa" ? `${method} · ${texts.prefer.names[prefer as "quality"]}` : method;
}

/** Return where a query stands, for readers that hear the page: the end alone, not each word. */
function describeState(run: Run): string {
  if (run.state === "asking") return texts.trace.working;
  return run.state === "done" ? texts.playground.ready(run.trace.choice ?? "", run.trace.stop_reason ?? "") : "";
}

function withReason(error: ApiError): ApiError {
  return error.message ? error : new ApiError(0, texts.problems.brokeOff);
}

/** Return what draws the page again, once for each frame however many events come. */
function useRedraw(): () => void {
  const [, setCount] = useState(0);
  const asked = useRef(false);
  return () => {
    if (asked.current) return;
    asked.current = true;
    const draw = (): void => {
      asked.current = false;
      setCount((count) => count + 1);
    };
    if (document.hidden) setTimeout(draw, 500);
    else requestAnimationFrame(draw);
  };
}

/** Show the trace that the address names. */
function useStoredTrace(
  id: string | null,
  show: (stored: StoredAnswer) => void,
  onError: (error: ApiError) => void,
): void {
  useEffect(() => {
    if (id === null) return;
    getJson<unknown>(`ui/api/traces/${encodeURIComponent(id)}`).then(
      (plain) => {
        const stored = readAnswer(plain);
        if (stored) show(stored);
      },
      (error: unknown) => onError(toApiError(error)),
    );
  }, [id]);
}

/** Return the answer in a file. Throws ApiError, also where the server reads no trace in it. */
async function readFile(file: File): Promise<StoredAnswer> {
  if (file.size > MAX_FILE_BYTES) throw new ApiError(0, texts.playground.fileTooLarge);
  const [line = ""] = (await file.text()).trimStart().split(/\n(?=\{)/, 1);
  let stored: StoredAnswer | null = null;
  try {
    stored = readAnswer(JSON.parse(line));
  } catch {
    // the message below says what is wanted
  }
  if (!stored) throw new ApiError(0, texts.playground.noTrace(file.name));
  await postJson("ui/api/judge", { answer: { text: "", trace: withoutMedia(stored.trace) } }); // it checks the trace
  return { ...stored, id: null, feedback: [], tenant: null };
}
