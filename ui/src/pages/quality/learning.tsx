// What was learned from feedback and taken over, step by step, and the way back.
import { useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { type ApiError, postJson, toApiError, useData } from "../../data/api";
import { ModelName } from "../../parts/model-name";
import { Problem, WhenLoaded } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import { texts } from "../../texts.en";
import { formatPercent, type Learning } from "./figures";

const t = texts.quality.learning;

export function LearningSteps() {
  const about = useAbout();
  const learning = useData<Learning>("ui/api/quality/learning");
  return (
    <section class="card" aria-labelledby="learning-title">
      <h2 id="learning-title">{t.title}</h2>
      <p class="quiet">{t.about}</p>
      <WhenLoaded loaded={learning}>
        {(found) => (
          <>
            <Now found={found} />
            {found.current && about.role === "admin" && <Undo path={found.current} done={learning.reload} />}
            {found.current && about.role !== "admin" && <p class="quiet">{t.needsKey}</p>}
            {found.steps.length > 0 && <Steps steps={found.steps} />}
          </>
        )}
      </WhenLoaded>
    </section>
  );
}

function Now({ found }: { found: Learning }) {
  const shifts = Object.entries(found.shift ?? {});
  const priors = Object.entries(found.prior ?? {});
  if (!found.current) return <p>{t.nothing}</p>;
  return (
    <>
      <p>{t.current(found.current)}</p>
      <ul>
        {shifts.map(([model, shift]) => (
          <li key={model}>
            <ModelName model={model} /> {t.shift(`${shift < 0 ? "−" : "+"}${Math.abs(shift).toFixed(2)}`)}
          </li>
        ))}
        {priors.map(([model, prior]) => (
          <li key={model}>
            <ModelName model={model} /> {t.prior(formatPercent(prior, ""))}
          </li>
        ))}
      </ul>
    </>
  );
}

function Undo({ path, done }: { path: string; done: () => void }) {
  const [asked, setAsked] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const undo = (): void => {
    postJson("admin/learning/undo", {}).then(
      () => {
        setAsked(false);
        done();
      },
      (e: unknown) => setError(toApiError(e)),
    );
  };
  return (
    <div class="undo">
      {error && <Problem error={error} />}
      {asked ? (
        <div class="row">
          <span>{t.sure(path)}</span>
          <button type="button" class="main" onClick={undo}>
            {t.undo}
          </button>
          <button type="button" onClick={() => setAsked(false)}>
            {t.keep}
          </button>
        </div>
      ) : (
        <button type="button" onClick={() => setAsked(true)}>
          {t.undo}
        </button>
      )}
    </div>
  );
}

function Steps({ steps }: { steps: Learning["steps"] }) {
  return (
    <ScrollRegion label={texts.plots.tableOf(t.title)}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t.at}</th>
            <th scope="col">{t.action}</th>
            <th scope="col">{t.names}</th>
            <th scope="col">{t.why}</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step, i) => (
            <tr key={i}>
              <td>{step.at.replace("T", " ").replace("+00:00", " UTC")}</td>
              <td>{step.action}</td>
              <td>{step.path ?? t.none}</td>
              <td>{step.figures?.why ?? ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollRegion>
  );
}
