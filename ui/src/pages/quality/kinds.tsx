// How often each member is right, by kind of question; which kinds there are follows from the questions' own words.
import { showControls } from "../../parts/format";
import { ModelName } from "../../parts/model-name";
import { ScrollRegion } from "../../parts/scroll-region";
import { texts } from "../../texts.en";
import { formatPercent, type MemberRate, type QuestionKind } from "./figures";

const t = texts.quality.kinds;

export function KindsTable({ kinds, members }: { kinds: QuestionKind[]; members: string[] }) {
  if (!kinds.length) return null;
  return (
    <section aria-labelledby="kinds-title">
      <h2 id="kinds-title">{t.title}</h2>
      <p class="quiet">{kinds.length === 1 ? t.one : t.about}</p>
      <ScrollRegion label={texts.plots.tableOf(t.title)}>
        <table class="kinds">
          <thead>
            <tr>
              <th scope="col">{t.kind}</th>
              <th scope="col" class="number">{t.questions}</th>
              {members.map((model) => (
                <th key={model} scope="col" class="number">
                  <ModelName model={model} />
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {kinds.map((kind, i) => (
              <tr key={i}>
                <th scope="row" class="words">
                  {showControls(kind.words.join(", ")) || t.all}
                </th>
                <td class="number">{kind.questions}</td>
                {kind.members.map((rate) => (
                  <Cell key={rate.model} rate={rate} best={isBest(rate, kind.members)} share={(kind.chosen[rate.model] ?? 0) / kind.questions} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </section>
  );
}

function isBest(rate: MemberRate, all: MemberRate[]): boolean {
  return rate.n > 0 && all.every((other) => (other.mean ?? -1) <= (rate.mean ?? -1));
}

function Cell({ rate, best, share }: { rate: MemberRate; best: boolean; share: number }) {
  if (rate.mean === null) return <td class="number quiet">{texts.unknown}</td>;
  return (
    <td class={`number ${best ? "best" : ""}`}>
      <strong>{formatPercent(rate.mean, "")}</strong>
      <span class="rate-bar" aria-hidden="true">
        <span style={{ width: `${100 * rate.mean}%` }} />
      </span>
      <small>
        {t.interval(formatPercent(rate.low, ""), formatPercent(rate.high, ""), rate.n)}
        <br />
        {t.chosen(formatPercent(share, ""))}
      </small>
    </td>
  );
}
