// The answers that were kept: searched, filtered, opened, exported.
import { useEffect, useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { DownloadButton } from "../../parts/download-button";
import { formatCount, formatDollars, formatSeconds, formatShortTime, showControls } from "../../parts/format";
import { ModelName } from "../../parts/model-name";
import { NoTraces, TracesOff } from "../../parts/no-traces";
import { Problem } from "../../parts/problem";
import { VirtualRows } from "../../parts/virtual-rows";
import { useMedia } from "../../parts/media";
import { linkTo, parseRoute, type Route } from "../../route";
import { texts } from "../../texts.en";
import { type Filter, FilterBar, FILTERS } from "./filter-bar";
import { OneTrace } from "./one-trace";
import { type TraceRow, useTraceRows } from "./rows";

const ROW_REM = 2.9;
const NARROW_ROW_REM = 4.6;
const NO_CHOICES = { keys: [], models: [], methods: [] };

export function Traces({ route }: { route: Route }) {
  const about = useAbout();
  const [id] = route.rest;
  if (id) return <OneTrace key={id} id={id} />;
  if (!about.traces.keep) return <TracesOff page="traces" />;
  return <TraceSearch />;
}

function TraceSearch() {
  const [filter, setFilter] = useState<Filter>(readFilter);
  useEffect(() => {
    const follow = (): void => setFilter(readFilter());
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
  const rows = useTraceRows(query);
  const change = (changed: Filter): void => {
    setFilter(changed);
    history.replaceState(null, "", linkTo("traces", [], changed)); // the address can be shared; no page is left
  };
  const total = rows.about?.total ?? 0;
  const isEmpty = rows.about !== null && rows.about.stored === 0 && rows.about.missing === 0;
  return (
    <>
      <div class="title-row">
        <h1>{texts.pages.traces}</h1>
        <p class="quiet" role="status">
          {rows.about && texts.traces.found(formatCount(total), formatCount(rows.about.stored), rows.about.missing)}
        </p>
        <span class="grow" />
        {total > 0 && (
          <>
            <DownloadButton
              path={`ui/api/records?${query}`}
              name="records.jsonl"
              label={texts.traces.exportAll}
              hint={texts.traces.exportHint}
            />
            <DownloadButton
              path={`ui/api/records?${query}&scored=1`}
              name="scored-records.jsonl"
              label={texts.traces.exportScored}
              hint={texts.traces.exportScoredHint}
            />
          </>
        )}
      </div>
      {rows.error && <Problem error={rows.error} retry={rows.reload} />}
      {isEmpty ? (
        <NoTraces />
      ) : (
        (rows.about !== null || !rows.error) && (
        <>
          <FilterBar filter={filter} choices={rows.about?.choices ?? NO_CHOICES} onChange={change} />
          <TraceTable rows={rows} query={query} />
        </>
        )
      )}
    </>
  );
}

function TraceTable({ rows, query }: { rows: ReturnType<typeof useTraceRows>; query: string }) {
  const { columns } = texts.traces;
  const isNarrow = useMedia("(max-width: 720px)");
  const head = Object.entries(columns).map(([name, label]) => (
    <span key={name} role="columnheader" class={`c-${name}`}>
      {label}
    </span>
  ));
  return (
    <VirtualRows
      count={rows.about?.total ?? 0}
      rowHeight={isNarrow ? NARROW_ROW_REM : ROW_REM}
      label={texts.pages.traces}
      resetOn={query}
      onView={rows.show}
      head={head}
    >
      {(index) => <Cells row={rows.row(index)} />}
    </VirtualRows>
  );
}

function Cells({ row }: { row: TraceRow | undefined }) {
  if (!row) return <span role="cell" class="c-question quiet">{texts.problems.loading}</span>;
  return (
    <>
      <span role="cell" class="c-question">
        <a href={linkTo("traces", [row.id])}>{showControls(row.question) || row.id}</a>
      </span>
      <span role="cell" class="c-choice">{row.choice ? <ModelName model={row.choice} /> : texts.unknown}</span>
      <span role="cell" class="c-method">{row.method}</span>
      <span role="cell" class="c-panel">
        {row.panel && <span class={`tag ${row.panel}`}>{texts.traces.panels[row.panel]}</span>}
        {row.gave_up && <span class="tag gave-up">{texts.traces.gaveUp}</span>}
      </span>
      <span role="cell" class="c-feedback">{row.feedback > 0 && <Said row={row} />}</span>
      <span role="cell" class="c-calls number">{row.calls}</span>
      <span role="cell" class="c-cost number">{formatDollars(row.cost)}</span>
      <span role="cell" class="c-seconds number">{formatSeconds(row.seconds)}</span>
      <span role="cell" class="c-at">{formatShortTime(row.at)}</span>
    </>
  );
}

function Said({ row }: { row: TraceRow }) {
  const t = texts.traces.said;
  if (row.score === null) return <span class="tag">{t.noted}</span>;
  const isGood = row.score > 0.5;
  return <span class={`tag ${isGood ? "agreed" : "bad"}`}>{isGood ? t.good : t.bad}</span>;
}

/** Return the filter in the address. */
function readFilter(): Filter {
  const { query } = parseRoute(window.location.hash);
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
}
