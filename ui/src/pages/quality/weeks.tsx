// Which member got worse or better: this week beside the four before it, week by week, and lasting drift.
import { Axes, chooseTicks, type Frame, PAD, scaleLinear } from "../../parts/plots/axes";
import { Figure } from "../../parts/plots/figure";
import { hueOf, ModelName } from "../../parts/model-name";
import { ScrollRegion } from "../../parts/scroll-region";
import { texts } from "../../texts.en";
import { type Drift, formatDay, formatPercent, formatPoints, type MemberChange, type MemberRate, type Quality } from "./figures";

const t = texts.quality.weeks;
const WEEK = 7 * 86_400;

export function ChangesSection({ quality, drift, members }: { quality: Quality; drift: Drift[]; members: string[] }) {
  const { changes, weeks } = quality;
  const worse = changes.filter((c) => c.verdict === "worse").map((c) => c.model);
  const better = changes.filter((c) => c.verdict === "better").map((c) => c.model);
  const known = changes.filter((c) => c.verdict !== "unknown");
  const fall = quality.shared_fall;
  const tone = fall !== null ? "open" : worse.length ? "bad" : known.length ? "good" : "open";
  return (
    <section class="card finding" aria-labelledby="weeks-title">
      <h2 id="weeks-title">{t.title}</h2>
      <p class={`finding-line ${tone}`}>
        {fall !== null ? t.allFell(formatPoints(fall)) : worse.length ? t.worse(worse) : known.length ? t.noneWorse : t.unknown}
      </p>
      {fall !== null && <p>{t.allFellWhy}</p>}
      {better.length > 0 && <p>{t.better(better)}</p>}
      <ScrollRegion label={texts.plots.tableOf(t.title)}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.member}</th>
              <th scope="col">{t.verdict}</th>
              <th scope="col" class="number">{t.recent}</th>
              <th scope="col" class="number">{t.before}</th>
              <th scope="col" class="number">{t.change}</th>
            </tr>
          </thead>
          <tbody>
            {changes.map((c) => (
              <ChangeRow key={c.model} change={c} />
            ))}
          </tbody>
        </table>
      </ScrollRegion>
      <p class="quiet">{t.about}</p>
      {drift.length > 0 && (
        <>
          <h3>{t.drift}</h3>
          <ul>
            {drift.map((d) => (
              <li key={d.model + d.since}>
                {t.driftLine(d.model, formatPercent(d.before, ""), formatPercent(d.after, ""), formatDay(d.since), d.outcomes)}
              </li>
            ))}
          </ul>
        </>
      )}
      {weeks.length > 1 && <WeeksFigure weeks={weeks} members={members} />}
    </section>
  );
}

function ChangeRow({ change: c }: { change: MemberChange }) {
  const interval = c.low === null || c.high === null ? "" : ` (${formatPoints(c.low)} … ${formatPoints(c.high)})`;
  return (
    <tr>
      <th scope="row">
        <ModelName model={c.model} />
      </th>
      <td>
        <span class={`tone ${c.verdict === "worse" ? "bad" : c.verdict === "better" ? "good" : ""}`}>{t.verdicts[c.verdict]}</span>
      </td>
      <td class="number">{showRate(c.recent)}</td>
      <td class="number">{showRate(c.before)}</td>
      <td class="number">{c.change === null ? texts.unknown : formatPoints(c.change) + interval}</td>
    </tr>
  );
}

export function showRate(rate: MemberRate): string {
  return rate.mean === null ? texts.unknown : `${formatPercent(rate.mean, "")} ${t.of(rate.n)}`;
}

function WeeksFigure({ weeks, members }: { weeks: Quality["weeks"]; members: string[] }) {
  return (
    <Figure
      title={t.plotTitle}
      about={t.plotAbout}
      columns={[t.week, ...members]}
      rows={weeks.map(([start, rates]) => [formatDay(start), ...rates.map(showRate)])}
    >
      {(width) => <WeeksPlot weeks={weeks} members={members} width={width} />}
    </Figure>
  );
}

function WeeksPlot({ weeks, members, width }: { weeks: Quality["weeks"]; members: string[]; width: number }) {
  const frame: Frame = { width, height: 220, left: 46, bottom: 24 };
  const first = weeks[0]?.[0] ?? 0;
  const last = (weeks[weeks.length - 1]?.[0] ?? 0) + WEEK;
  const x = scaleLinear([first, last], [frame.left, width - PAD.right]);
  const y = scaleLinear([0, 1], [frame.height - frame.bottom, PAD.top]);
  const every = Math.max(1, Math.ceil((weeks.length * 56) / (width - frame.left)));
  const xTicks = weeks.filter((_, i) => i % every === 0).map(([start]) => ({ at: start + WEEK / 2, label: formatDay(start) }));
  return (
    <>
      <Legend members={members} />
      <Axes frame={frame} x={x} y={y} xTicks={xTicks} yTicks={chooseTicks(0, 1).map((at) => ({ at, label: formatPercent(at, "") }))}>
        {members.map((model, m) => {
          const points = weeks.flatMap(([start, rates]) => {
            const rate = rates.find((r) => r.model === model);
            return rate && rate.mean !== null ? [{ at: x(start + WEEK / 2) + (m - (members.length - 1) / 2) * 5, rate }] : [];
          });
          return (
            <g key={model} class={`series ${hueOf(model)}`}>
              <polyline points={points.map((p) => `${p.at},${y(p.rate.mean ?? 0)}`).join(" ")} />
              {points.map(({ at, rate }) => (
                <g key={at}>
                  <line class="whisker" x1={at} x2={at} y1={y(rate.low ?? 0)} y2={y(rate.high ?? 0)} />
                  <circle cx={at} cy={y(rate.mean ?? 0)} r="4" />
                </g>
              ))}
            </g>
          );
        })}
      </Axes>
    </>
  );
}

export function Legend({ members }: { members: string[] }) {
  return (
    <ul class="plot-legend" aria-hidden="true">
      {members.map((model) => (
        <li key={model}>
          <ModelName model={model} />
        </li>
      ))}
    </ul>
  );
}
