// How far probabilities are right: of all answers believed right with 80 %, are 80 % right?
import { useState } from "preact/hooks";

import { Axes, chooseTicks, type Frame, PAD, scaleLinear } from "../../parts/plots/axes";
import { Figure } from "../../parts/plots/figure";
import { texts } from "../../texts.en";
import { type Calibration, formatPercent, type Quality } from "./figures";

const t = texts.quality.calibration;

export function CalibrationPlots({ quality }: { quality: Quality }) {
  const [model, setModel] = useState("");
  const chosen = quality.calibration.find((each) => each.model === model) ?? quality;
  return (
    <section class="card" aria-labelledby="calibration-title">
      <div class="page-head">
        <h2 id="calibration-title">{t.title}</h2>
        <label>
          {t.member}{" "}
          <select value={model} onChange={(e) => setModel(e.currentTarget.value)}>
            <option value="">{t.all}</option>
            {quality.calibration.map((each) => (
              <option key={each.model}>{each.model}</option>
            ))}
          </select>
        </label>
      </div>
      <div class="columns">
        <Reliability title={t.prior} found={chosen.prior} />
        <Reliability title={t.posterior} found={chosen.posterior} />
      </div>
    </section>
  );
}

function Reliability({ title, found }: { title: string; found: Calibration | null }) {
  if (!found)
    return (
      <div>
        <h3>{title}</h3>
        <p class="quiet">{t.none}</p>
      </div>
    );
  return (
    <Figure
      title={title}
      about={t.about(found.n, (100 * found.ece).toFixed(1), found.brier.toFixed(3))}
      columns={[t.believed, t.right, t.interval, t.answers]}
      rows={found.bins.map((bin) => [
        formatPercent(bin.confidence, ""),
        formatPercent(bin.right, ""),
        `${formatPercent(bin.ci95[0], "")} … ${formatPercent(bin.ci95[1], "")}`,
        bin.n,
      ])}
    >
      {(width) => <Plot found={found} width={Math.min(width, 460)} />}
    </Figure>
  );
}

function Plot({ found, width }: { found: Calibration; width: number }) {
  const frame: Frame = { width, height: Math.min(280, width * 0.8), left: 46, bottom: 38 };
  const x = scaleLinear([0, 1], [frame.left, width - PAD.right]);
  const y = scaleLinear([0, 1], [frame.height - frame.bottom, PAD.top]);
  const ticks = chooseTicks(0, 1).map((at) => ({ at, label: formatPercent(at, "") }));
  const most = Math.max(...found.bins.map((bin) => bin.n));
  return (
    <Axes frame={frame} x={x} y={y} xTicks={ticks} yTicks={ticks} xName={t.believed}>
      <line class="perfect" x1={x(0)} y1={y(0)} x2={x(1)} y2={y(1)} />
      {found.bins.map((bin) => (
        <g key={bin.low} class="series reliability">
          <line class="whisker" x1={x(bin.confidence)} x2={x(bin.confidence)} y1={y(bin.ci95[0])} y2={y(bin.ci95[1])} />
          <circle cx={x(bin.confidence)} cy={y(bin.right)} r={3 + 5 * Math.sqrt(bin.n / most)} />
        </g>
      ))}
    </Axes>
  );
}
