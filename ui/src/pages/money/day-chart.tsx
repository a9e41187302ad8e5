// Dollars a day, a colour for each model. The same numbers stand in the table by day.
import { formatDollars } from "../../parts/format";
import { hueOf } from "../../parts/model-name";
import { texts } from "../../texts.en";
import type { DayCost } from "./data";

const WIDTH = 1000;
const HEIGHT = 180;

export function DayChart({ days, models }: { days: DayCost[]; models: string[] }) {
  const byDay = new Map<string, DayCost[]>();
  for (const each of days) byDay.set(each.day, [...(byDay.get(each.day) ?? []), each]);
  if (byDay.size < 2) return null;
  const dates = listDays([...byDay.keys()]);
  const sums = dates.map((day) => (byDay.get(day) ?? []).reduce((sum, { cost }) => sum + (cost ?? 0), 0));
  const highest = Math.max(...sums);
  if (highest <= 0) return null;
  const step = WIDTH / dates.length;
  return (
    <figure class="card chart">
      <figcaption class="title-row">
        <h2>{texts.money.chart}</h2>
        <ul class="legend">
          {models.map((model) => (
            <li key={model}>
              <svg class={`swatch ${hueOf(model)}`} aria-hidden="true" viewBox="0 0 1 1">
                <rect width="1" height="1" />
              </svg>
              {model}
            </li>
          ))}
        </ul>
        <span class="grow" />
        <small>{texts.money.chartTop(formatDollars(highest))}</small>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={describe(dates, sums)}>
        {dates.map((day, i) => {
          let top = HEIGHT;
          return (
            <g key={day}>
              <title>{`${day}: ${formatDollars(sums[i] ?? 0)}`}</title>
              {inOrder(byDay.get(day) ?? [], models).map(({ model, cost }) => {
                const height = (HEIGHT * (cost ?? 0)) / highest;
                top -= height;
                return <rect key={model} class={hueOf(model)} x={i * step + step * 0.1} y={top} width={step * 0.8} height={height} />;
              })}
            </g>
          );
        })}
      </svg>
      <div class="axis">
        <small>{dates[0]}</small>
        <small>{dates[dates.length - 1]}</small>
      </div>
    </figure>
  );
}

/** Return the parts of a day with each model at its place, so that a colour can be followed from day to day. */
function inOrder(parts: DayCost[], models: string[]): DayCost[] {
  return [...parts].sort((a, b) => models.indexOf(a.model) - models.indexOf(b.model));
}

/** Return all days from the first to the last, those without a call as well. */
function listDays(found: string[]): string[] {
  const sorted = [...found].sort();
  const [first, last] = [sorted[0] ?? "", sorted[sorted.length - 1] ?? ""];
  const days = [];
  for (let at = Date.parse(first); at <= Date.parse(last); at += 86_400_000) days.push(new Date(at).toISOString().slice(0, 10));
  return days;
}

function describe(dates: string[], sums: number[]): string {
  const top = sums.indexOf(Math.max(...sums));
  return texts.money.chartLabel(dates[0] ?? "", dates[dates.length - 1] ?? "", dates[top] ?? "", formatDollars(sums[top] ?? 0));
}
