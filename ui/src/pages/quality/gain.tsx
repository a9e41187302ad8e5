// Is the mixture worth it: what it adds over each member alone, and whether the feedback there is can tell.
import { scaleLinear } from "../../parts/plots/axes";
import { Figure } from "../../parts/plots/figure";
import { formatDollars, formatSeconds } from "../../parts/format";
import { ModelName } from "../../parts/model-name";
import { texts } from "../../texts.en";
import { formatPercent, formatPoints, type MixtureGain } from "./figures";

const t = texts.quality.gain;

export function GainSection({ gains, best }: { gains: MixtureGain[]; best: { name: string; why: string } }) {
  const first = gains[0];
  if (!first) return null;
  return (
    <section class="card finding" aria-labelledby="gain-title">
      <h2 id="gain-title">{t.title}</h2>
      <p class={`finding-line ${TONE[first.verdict]}`}>{t.verdicts[first.verdict](best.name)}</p>
      <p>{explain(first)}</p>
      <dl class="key-figures">
        <Term name={t.mixture} value={formatPercent(first.mixture, texts.unknown)} />
        <Term name={t.cost} value={signed(first.extra_cost && 1000 * first.extra_cost, formatDollars)} />
        <Term name={t.wait} value={signed(first.extra_seconds, formatSeconds)} />
        {first.verdict === "adds" && <Term name={t.perAnswer} value={pricePerRight(first)} />}
      </dl>
      <p class="quiet">{t.best(best.name, best.why)}</p>
      <Figure
        title={t.plotTitle}
        about={t.plotAbout}
        columns={[t.member, t.points, t.low, t.high, t.known, t.notJudged, t.notCalled]}
        rows={gains.map((g) => [
          g.member,
          g.gain ? formatPoints(g.gain.mean) : texts.unknown,
          g.low === null ? texts.unknown : formatPoints(g.low),
          g.high === null ? texts.unknown : formatPoints(g.high),
          g.known,
          g.not_judged,
          g.not_called,
        ])}
      >
        {(width) => <GainPlot gains={gains} width={width} />}
      </Figure>
    </section>
  );
}

const TONE = { adds: "good", loses: "bad", "no difference seen": "open", unknown: "open" } as const;

/** Say what the verdict rests on, and what would settle it. */
function explain(gain: MixtureGain): string {
  const range = gain.low === null || gain.high === null ? "" : t.range(formatPoints(gain.low), formatPoints(gain.high));
  if (gain.why === "few answers") return t.few(gain.answers);
  if (gain.why === "not judged") return t.notKnown(gain.answers - gain.known, gain.answers, gain.not_judged, gain.not_called, range);
  const seen = gain.gain ? formatPoints(gain.gain.mean) : texts.unknown;
  if (gain.why === "bounds") return t.bounds(gain.answers - gain.known, gain.answers, range);
  return t.interval(seen, range, gain.answers) + (gain.verdict === "no difference seen" ? ` ${t.more}` : "");
}

function pricePerRight(gain: MixtureGain): string {
  if (gain.extra_cost === null || !gain.gain || gain.gain.mean <= 0) return texts.unknown;
  return formatDollars(gain.extra_cost / gain.gain.mean);
}

/** Return a difference with a minus that is not lost between other signs. */
function signed(value: number | null, format: (value: number) => string): string {
  if (value === null) return texts.unknown;
  return value < 0 ? `−${format(-value)}` : format(value);
}

function Term({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

const ROW = 46;

function GainPlot({ gains, width }: { gains: MixtureGain[]; width: number }) {
  const values = gains.flatMap((g) => [g.low ?? 0, g.high ?? 0, g.gain?.mean ?? 0]);
  const most = Math.min(1, Math.max(0.05, ...values.map(Math.abs)) * 1.1);
  const x = scaleLinear([-most, most], [12, width - 12]);
  const marks = [-most / 1.1, 0, most / 1.1];
  return (
    <div class="gain-plot">
      {gains.map((g) => (
        <div key={g.member} class="gain-row">
          <ModelName model={g.member} />
          <svg width={width} height={ROW - 22} viewBox={`0 0 ${width} ${ROW - 22}`} aria-hidden="true" focusable="false">
            <line class="zero" x1={x(0)} x2={x(0)} y1="0" y2={ROW - 22} />
            {g.low !== null && g.high !== null && (
              <line class="bounds" x1={x(Math.max(-most, g.low))} x2={x(Math.min(most, g.high))} y1="12" y2="12" />
            )}
            {g.gain && (
              <line class="interval" x1={x(Math.max(-most, g.gain.low))} x2={x(Math.min(most, g.gain.high))} y1="12" y2="12" />
            )}
            {g.gain && <circle class={g.known < g.answers ? "point hollow" : "point"} cx={x(g.gain.mean)} cy="12" r="5" />}
          </svg>
        </div>
      ))}
      <svg width={width} height="18" aria-hidden="true" focusable="false">
        {marks.map((mark, i) => (
          <text key={mark} class="tick" x={x(mark)} y="13" text-anchor={["start", "middle", "end"][i]}>
            {mark ? formatPoints(mark) : t.equal}
          </text>
        ))}
      </svg>
    </div>
  );
}
