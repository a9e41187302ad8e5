// What was spent, on what, what it saved by estimates, and what is left of the budgets.
import { useEffect, useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { useData } from "../../data/api";
import { DownloadButton } from "../../parts/download-button";
import { formatCount, formatDollars, formatSeconds } from "../../parts/format";
import { Empty, WhenLoaded } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import { linkTo, type Route } from "../../route";
import { texts } from "../../texts.en";
import { BudgetTable } from "./budgets";
import { DayChart } from "./day-chart";
import { type Group, GROUPINGS, type Grouping, type MoneyData } from "./data";
import { Figures } from "./figures";

const AGAIN_MS = 300; // until the next look, while the server still reads traces for the estimates
const PERIODS = ["1", "7", "30", "90", "365"];

export function Money({ route: _ }: { route: Route }) {
  const about = useAbout();
  const [days, setDays] = useState("30");
  const [key, setKey] = useState("");
  const query = new URLSearchParams({ days, key }).toString();
  const loaded = useData<MoneyData>(about.has_ledger ? `ui/api/money?${query}` : null);
  const missing = loaded.data?.savings.missing ?? 0;
  useEffect(() => {
    if (missing === 0 || loaded.loading) return;
    const timer = setTimeout(loaded.reload, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [missing, loaded.loading, loaded.reload]);
  const t = texts.money;
  if (!about.has_ledger) return <Empty title={t.offTitle}>{t.off}</Empty>;
  return (
    <>
      <div class="title-row">
        <h1>{texts.pages.money}</h1>
        <label class="inline">
          <span class="unseen">{t.period}</span>
          <select value={days} onChange={(e) => setDays(e.currentTarget.value)}>
            {PERIODS.map((each) => (
              <option key={each} value={each}>
                {t.periods(each)}
              </option>
            ))}
          </select>
        </label>
        {about.role === "admin" && loaded.data && (
          <label class="inline">
            <span class="unseen">{t.key}</span>
            <select value={key} onChange={(e) => setKey(e.currentTarget.value)}>
              <option value="">{t.allKeys}</option>
              {loaded.data.keys.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      <WhenLoaded loaded={loaded}>
        {(data) => (data.total ? <Sums data={data} query={query} /> : <NoCalls data={data} />)}
      </WhenLoaded>
    </>
  );
}

function NoCalls({ data }: { data: MoneyData }) {
  return (
    <>
      <Empty title={texts.money.noneTitle}>{texts.money.none}</Empty>
      <BudgetTable budgets={data.budgets} />
    </>
  );
}

function Sums({ data, query }: { data: MoneyData; query: string }) {
  return (
    <>
      <Figures data={data} />
      <DayChart days={data.days} models={data.groups.model.map((group) => group.group)} />
      <BudgetTable budgets={data.budgets} />
      <Ledger data={data} query={query} />
    </>
  );
}

function Ledger({ data, query }: { data: MoneyData; query: string }) {
  const [by, setBy] = useState<Grouping>("model");
  const t = texts.money;
  return (
    <section>
      <div class="title-row">
        <h2>{t.ledger}</h2>
        <div class="tabs" role="group" aria-label={t.by}>
          {GROUPINGS.map((each) => (
            <button key={each} type="button" aria-pressed={each === by} onClick={() => setBy(each)}>
              {t.groupings[each]}
            </button>
          ))}
        </div>
        <span class="grow" />
        <DownloadButton path={`ui/api/money.csv?${query}&by=${by}`} name={`routemoa-by-${by}.csv`} label={t.csv} />
        <DownloadButton path={`ui/api/money.csv?${query}&by=call`} name="routemoa-calls.csv" label={t.csvCalls} />
      </div>
      <GroupTable by={by} groups={data.groups[by]} total={data.total} />
    </section>
  );
}

function GroupTable({ by, groups, total }: { by: Grouping; groups: Group[]; total: Group | null }) {
  const { columns, groupings, total: all } = texts.money;
  const whole = total?.charged ?? 0;
  return (
    <ScrollRegion label={texts.money.ledger}>
      <table class="ledger">
        <thead>
          <tr>
            <th scope="col">{groupings[by]}</th>
            <th scope="col" class="number">{columns.charged}</th>
            <th scope="col" class="share">
              <span class="unseen">{columns.share}</span>
            </th>
            <th scope="col" class="number">{columns.calls}</th>
            <th scope="col" class="number">{columns.failed}</th>
            <th scope="col" class="number">{columns.prompt}</th>
            <th scope="col" class="number">{columns.cached}</th>
            <th scope="col" class="number">{columns.completion}</th>
            <th scope="col" class="number">{columns.unpriced}</th>
            <th scope="col" class="number">{columns.seconds}</th>
          </tr>
        </thead>
        <tbody>
          {groups.map((group) => (
            <GroupRow key={group.group} group={group} name={<Name by={by} name={group.group} />} whole={whole} />
          ))}
        </tbody>
        {total && (
          <tfoot>
            <GroupRow group={total} name={all} whole={whole} />
          </tfoot>
        )}
      </table>
    </ScrollRegion>
  );
}

function Name({ by, name }: { by: Grouping; name: string }) {
  if (name === "-") return <>{texts.money.noKey}</>;
  if (by === "model" || by === "method") return <a href={linkTo("traces", [], { [by]: name })}>{name}</a>;
  return <>{name}</>;
}

function GroupRow({ group, name, whole }: { group: Group; name: preact.ComponentChildren; whole: number }) {
  const share = whole > 0 && group.charged !== null ? group.charged / whole : 0;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td class="number">{formatDollars(group.charged)}</td>
      <td class="share">
        <span class="bar" style={{ width: `${100 * share}%` }} />
      </td>
      <td class="number">{formatCount(group.calls)}</td>
      <td class="number">{formatCount(group.failed)}</td>
      <td class="number">{formatCount(group.prompt_tokens)}</td>
      <td class="number">{formatCount(group.cached_tokens)}</td>
      <td class="number">{formatCount(group.completion_tokens)}</td>
      <td class="number">{formatCount(group.unpriced)}</td>
      <td class="number">{formatSeconds(group.mean_seconds)}</td>
    </tr>
  );
}
