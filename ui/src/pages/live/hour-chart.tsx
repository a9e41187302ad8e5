// The last hour as bars, one a minute.
import { texts } from "../../texts.en";
import type { Bucket } from "./data";

const MINUTES = 60;
const WIDTH = 600;
const HEIGHT = 90;

interface Props {
  title: string;
  series: Bucket[];
  /** The place in a bucket of what is drawn. */
  pick: 1 | 2 | 3;
  /** Seconds since the epoch. */
  now: number;
  format: (value: number) => string;
}

export function HourChart({ title, series, pick, now, format }: Props) {
  const minutes = sumMinutes(series, pick, now);
  const highest = Math.max(...minutes);
  const step = WIDTH / MINUTES;
  return (
    <figure class="card chart hour">
      <figcaption class="title-row">
        <h2>{title}</h2>
        <span class="grow" />
        <small>{texts.live.chartTop(format(highest))}</small>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${texts.live.chartTop(format(highest))}`}>
        {highest > 0 &&
          minutes.map((value, i) => {
            const height = (HEIGHT * value) / highest;
            return <rect key={i} x={i * step + 1} y={HEIGHT - height} width={step - 2} height={height} />;
          })}
      </svg>
      <div class="axis">
        <small>{texts.live.hourAgo}</small>
        <small>{texts.live.rightNow}</small>
      </div>
    </figure>
  );
}

/** Return the sum of each of the last sixty minutes, the newest last. */
function sumMinutes(series: Bucket[], pick: 1 | 2 | 3, now: number): number[] {
  const sums = new Array<number>(MINUTES).fill(0);
  for (const bucket of series) {
    const ago = Math.floor(now / 60) - Math.floor(bucket[0] / 60);
    if (ago >= 0 && ago < MINUTES) sums[MINUTES - 1 - ago] = (sums[MINUTES - 1 - ago] ?? 0) + bucket[pick];
  }
  return sums;
}
