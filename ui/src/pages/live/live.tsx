// What the server does at this moment.
import { useEffect, useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { formatCount, formatDollars, formatPercent, formatSeconds, formatShortTime } from "../../parts/format";
import { ModelName } from "../../parts/model-name";
import { Problem } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import type { Route } from "../../route";
import { texts } from "../../texts.en";
import { BudgetTable } from "../money/budgets";
import { type EndedRequest, type LiveState, type MemberHealth, type Moment, type RunningRequest, useLive } from "./data";
import { HourChart } from "./hour-chart";

export function Live({ route: _ }: { route: Route }) {
  const live = useLive();
  return (
    <>
      <div class="title-row">
        <h1>{texts.pages.live}</h1>
        <Link live={live} />
        {live.moment && live.moment.workers.length > 1 && <p class="quiet">{texts.live.workers(live.moment.workers.length)}</p>}
      </div>
      {live.error && <Problem error={live.error} />}
      {live.moment ? <Shown live={live} moment={live.moment} /> : !live.error && <p class="quiet">{live.link === "waiting" ? texts.problems.unreachable : texts.problems.loading}</p>}
    </>
  );
}

function Link({ live }: { live: LiveState }) {
  const { links } = texts.live;
  const late = useLate(live.link === "waiting", 3000);
  const wasOpen = live.moment !== null; // a moment's break of a stream that works is no news
  const shown = live.link === "waiting" && wasOpen && !late ? "open" : live.link;
  return (
    <p class={`link ${shown}`} role="status">
      <span class="dot" aria-hidden="true" />
      {links[shown]}
    </p>
  );
}

function Shown({ live, moment }: { live: LiveState; moment: Moment }) {
  const { hour, queue } = moment;
  const t = texts.live;
  return (
    <>
      <dl class="figures">
        <Figure label={t.now} value={formatCount(moment.running)} note={queue ? t.queue(formatCount(queue.waiting), formatCount(queue.limit)) : t.own} />
        <Figure
          label={t.firstToken}
          value={hour.first_token === null ? texts.unknown : formatSeconds(hour.first_token)}
          note={hour.first_token === null ? t.noFirstToken : t.firstTokenNote}
        />
        <Figure label={t.dollars} value={formatDollars(hour.dollars)} note={t.dollarsNote} />
        <Figure
          label={t.errors}
          value={formatCount(hour.errors)}
          note={t.errorsNote(formatCount(hour.requests), queue ? formatPercent(queue.busy) : null)}
        />
      </dl>
      <div class="pair">
        <HourChart title={t.requestsChart} series={live.series} pick={1} now={moment.at} format={formatCount} />
        <HourChart title={t.dollarsChart} series={live.series} pick={3} now={moment.at} format={formatDollars} />
      </div>
      <div class="pair">
        <Running requests={moment.requests} count={moment.running} skew={live.skew} />
        <Members members={moment.members} />
      </div>
      <BudgetTable budgets={moment.budgets} />
      <Ended requests={moment.ended} />
    </>
  );
}

function Figure({ label, value, note }: { label: string; value: string; note: string }) {
  return (
    <div class="card figure">
      <dt>{label}</dt>
      <dd class="value">{value}</dd>
      <dd class="quiet">{note}</dd>
    </div>
  );
}

function Running({ requests, count, skew }: { requests: RunningRequest[]; count: number; skew: number }) {
  const t = texts.live;
  const about = useAbout();
  const now = useClock(requests.length > 0) + skew;
  return (
    <section class="card">
      <h2>{t.running}</h2>
      {requests.length === 0 && <p class="quiet">{t.idle}</p>}
      <ul class="plain">
        {requests.map((request) => (
          <li key={`${request.worker} ${request.number}`} class="in-work">
            <span class="grow">
              {request.model ?? t.noModel}
              {about.role === "admin" && <small> {request.tenant ?? texts.money.noKey}</small>}
              {request.worker !== null && <small> · {t.worker(request.worker)}</small>}
            </span>
            {request.first === null ? <small>{t.waiting}</small> : <small>{t.firstAfter(formatSeconds(request.first))}</small>}
            <span class="number">{formatSeconds(Math.max(0, now - request.began))}</span>
          </li>
        ))}
      </ul>
      {count > requests.length && <p class="quiet">{t.more(formatCount(count - requests.length))}</p>}
    </section>
  );
}

function Members({ members }: { members: MemberHealth[] }) {
  const t = texts.live;
  return (
    <section class="card">
      <h2>{t.members}</h2>
      <ul class="plain">
        {members.map((member) => (
          <li key={member.name} class="member">
            <ModelName model={member.name} />
            <span class={`tag ${STATE_TAGS[member.state]}`}>{t.states[member.state]}</span>
            {member.retry_in !== null && <small>{t.retry(Math.round(member.retry_in))}</small>}
            {member.workers.length > 0 && <small>{t.inWorkers(member.workers)}</small>}
            {member.reason && <small class="reason">{t.reason(member.reason, member.failures)}</small>}
          </li>
        ))}
      </ul>
    </section>
  );
}

const STATE_TAGS = { closed: "agreed", "half-open": "differed", open: "bad" } as const;

function Ended({ requests }: { requests: EndedRequest[] }) {
  const t = texts.live;
  const showsKeys = useAbout().role === "admin";
  const showsWorkers = requests.some(({ worker }) => worker !== null);
  if (requests.length === 0) return null;
  return (
    <section>
      <h2>{t.ended}</h2>
      <ScrollRegion label={t.ended}>
        <table class="ledger">
          <thead>
            <tr>
              <th scope="col">{t.columns.at}</th>
              <th scope="col">{t.columns.model}</th>
              {showsKeys && <th scope="col">{t.columns.key}</th>}
              {showsWorkers && <th scope="col">{t.columns.worker}</th>}
              <th scope="col">{t.columns.status}</th>
              <th scope="col" class="number">{t.columns.first}</th>
              <th scope="col" class="number">{t.columns.seconds}</th>
            </tr>
          </thead>
          <tbody>
            {requests.map((request) => (
              <tr key={`${request.worker} ${request.at} ${request.seconds}`}>
                <td>{formatShortTime(request.at)}</td>
                <td>{request.model ?? t.noModel}</td>
                {showsKeys && <td>{request.tenant ?? texts.money.noKey}</td>}
                {showsWorkers && <td>{request.worker}</td>}
                <td>
                  <Status status={request.status} />
                </td>
                <td class="number">{request.first === null ? t.notStreamed : formatSeconds(request.first)}</td>
                <td class="number">{formatSeconds(request.seconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </section>
  );
}

function Status({ status }: { status: number | null }) {
  if (status === null) return <span class="tag">{texts.live.left}</span>;
  return <span class={`tag ${status < 400 ? "agreed" : "bad"}`}>{status}</span>;
}

/** Return this machine's clock in seconds, twice a second while it is wanted. */
function useClock(wanted: boolean): number {
  const [now, setNow] = useState(Date.now() / 1000);
  useEffect(() => {
    if (!wanted) return;
    setNow(Date.now() / 1000);
    const timer = setInterval(() => setNow(Date.now() / 1000), 500);
    return () => clearInterval(timer);
  }, [wanted]);
  return now;
}

/** Return whether something has been so for a while. */
function useLate(holds: boolean, milliseconds: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (!holds) return;
    const timer = setTimeout(() => setLate(true), milliseconds);
    return () => clearTimeout(timer);
  }, [holds, milliseconds]);
  return late;
}
