// Which member's answer was chosen, day by day: from all answers, judged or not.
import { Axes, chooseTicks, type Frame, PAD, scaleLinear } from "../../parts/plots/axes";
import { Figure } from "../../parts/plots/figure";
import { hueOf } from "../../parts/model-name";
import { texts } from "../../texts.en";
import { type ChoiceCount, formatDay } from "./figures";
import { Legend } from "./weeks";

const t = texts.quality.choices;
const DAY = 86_400;

interface Bar {
  start: number;
  counts: Map<string, number>;
  total: number;
}

export function ChoicesPlot({ choices, days }: { choices: ChoiceCount[]; days: number }) {
  const step = days > 90 ? 7 * DAY : DAY;
  const bars = groupBars(choices, step);
  const totals = new Map<string, number>();
  for (const bar of bars) for (const [model, count] of bar.counts) totals.set(model, (totals.get(model) ?? 0) + count);
  const models = [...totals.keys()].sort((a, b) => (totals.get(b) ?? 0) - (totals.get(a) ?? 0));
  return (
    <section class="card">
      <Figure
        title={t.title}
        about={t.about}
        columns={[step > DAY ? t.week : t.day, ...models, t.all]}
        rows={bars.map((bar) => [formatDay(bar.start), ...models.map((m) => bar.counts.get(m) ?? 0), bar.total])}
      >
        {(width) => <Bars bars={bars} models={models} step={step} width={width} />}
      </Figure>
    </section>
  );
}

function groupBars(choices: ChoiceCount[], step: number): Bar[] {
  const bars = new Map<number, Bar>();
  for (const each of choices) {
    const start = Math.floor(each.day / step) * step;
    const bar = bars.get(start) ?? { start, counts: new Map<string, number>(), total: 0 };
    const name = each.choice ?? t.none;
    bar.counts.set(name, (bar.counts.get(name) ?? 0) + each.answers);
    bar.total += each.answers;
    bars.set(start, bar);
  }
  return [...bars.values()].sort((a, b) => a.start - b.start);
}

function Bars({ bars, models, step, width }: { bars: Bar[]; models: string[]; step: number; width: number }) {
  const frame: Frame = { width, height: 210, left: 40, bottom: 24 };
  const first = bars[0]?.start ?? 0;
  const last = (bars[bars.length - 1]?.start ?? 0) + step;
  const most = Math.max(1, ...bars.map((b) => b.total));
  const x = scaleLinear([first, last], [frame.left, width - PAD.right]);
  const y = scaleLinear([0, most], [frame.height - frame.bottom, PAD.top]);
  const wide = Math.max(1, Math.min(40, x(first + step) - x(first) - 2));
  const slots = Math.round((last - first) / step);
  const every = Math.max(1, Math.ceil((slots * 56) / (width - frame.left)));
  const xTicks = Array.from({ length: Math.ceil(slots / every) }, (_, i) => first + i * every * step);
  return (
    <>
      <Legend members={models} />
      <Axes
        frame={frame}
        x={x}
        y={y}
        xTicks={xTicks.map((at) => ({ at: at + step / 2, label: formatDay(at) }))}
        yTicks={chooseTicks(0, most).filter(Number.isInteger).map((at) => ({ at, label: String(at) }))}
      >
        {bars.map((bar) => {
          let below = 0;
          return models.map((model) => {
            const count = bar.counts.get(model) ?? 0;
            if (!count) return null;
            const top = y(below + count);
            const height = y(below) - top;
            below += count;
            const at = x(bar.start + step / 2) - wide / 2;
            return <rect key={bar.start + model} class={`bar-part ${hueOf(model)}`} x={at} y={top} width={wide} height={height} />;
          });
        })}
      </Axes>
    </>
  );
}
