// Judges the same answers under another policy. It calls no model: the server computes the posterior again.
import { type Judgment, type PolicyChoice, WEIGHTS } from "../../data/judgment";
import { texts } from "../../texts.en";
import { CodeBlock } from "../code-block";
import { PreferSelect } from "../prefer-select";
import { Slider } from "../slider";

interface Props {
  policy: PolicyChoice;
  onPolicy: (policy: PolicyChoice) => void;
  /** Under the pool's policy: where the sliders start. */
  base: Judgment;
  judgment: Judgment | null;
}

export function JudgeAgain({ policy, onPolicy, base, judgment }: Props) {
  const changed = Object.keys(policy).length > 0;
  const weights = policy.weights ?? {};
  return (
    <details class="card again-panel">
      <summary>
        <h2>{texts.again.title}</h2>
      </summary>
      <p class="quiet">{texts.again.why}</p>
      <div class="sliders">
        <PreferSelect value={policy.prefer ?? base.policy.prefer} onValue={(prefer) => onPolicy({ ...policy, prefer })} />
        <Slider
          label={texts.again.target}
          value={policy.target ?? judgment?.policy.target ?? base.policy.target}
          range={[0.5, 1, 0.01]}
          onValue={(target) => onPolicy({ ...policy, target })}
        />
        <Slider
          label={texts.again.sure}
          value={policy.stop_confidence ?? base.policy.stop_confidence}
          range={[0.5, 1, 0.01]}
          onValue={(stop_confidence) => onPolicy({ ...policy, stop_confidence })}
        />
        {WEIGHTS.map((name) => (
          <Slider
            key={name}
            label={texts.again.weights[name]}
            value={weights[name] ?? base.weights[name]}
            range={[0, 6, 0.05]}
            onValue={(weight) => onPolicy({ ...policy, weights: { ...weights, [name]: weight } })}
          />
        ))}
      </div>
      {judgment && (
        <div class="verdict" aria-live="polite">
          <p>
            <strong>{texts.again.choice(judgment.choice, judgment.recorded)}</strong>
          </p>
          <p>{judgment.stop_reason}</p>
          <p class="quiet">{texts.again.first(judgment.first.models.join(", "), judgment.first.why)}</p>
          <p class="quiet">{texts.again.calls(judgment.calls, judgment.layers)}</p>
        </div>
      )}
      {changed && (
        <div class="row">
          <button type="button" onClick={() => onPolicy({})}>
            {texts.again.reset}
          </button>
          <CodeBlock label={texts.again.copy} code={writePolicy(policy)} />
        </div>
      )}
    </details>
  );
}

/** Return a policy as the pool file's table, with the weights as the judge file has them. */
function writePolicy({ weights, ...mixture }: PolicyChoice): string {
  const lines = Object.entries(mixture).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const table = lines.length ? ["[mixture]", ...lines, ""].join("\n") : "";
  if (!weights || !Object.keys(weights).length) return table;
  const file = JSON.stringify({ coefficients: weights }, null, 2);
  return `${table}\n# ${texts.again.weightsNote}\n${file.replace(/^/gm, "# ")}\n`.trimStart();
}
