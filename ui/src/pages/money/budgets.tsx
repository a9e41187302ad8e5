// Budgets: what is used, and what will be at this pace. Shown on the pages Money and Live.
import { formatDollars, formatPercent, formatTime } from "../../parts/format";
import { ScrollRegion } from "../../parts/scroll-region";
import { texts } from "../../texts.en";
import type { Budget } from "./data";

export function BudgetTable({ budgets }: { budgets: Budget[] }) {
  const t = texts.money.budgets;
  if (budgets.length === 0) return <p class="quiet">{t.none}</p>;
  return (
    <section>
      <h2>{t.title}</h2>
      <ScrollRegion label={t.title}>
        <table class="ledger">
          <thead>
            <tr>
              <th scope="col">{t.key}</th>
              <th scope="col">{t.span}</th>
              <th scope="col" class="number">{t.used}</th>
              <th scope="col" class="share">
                <span class="unseen">{t.share}</span>
              </th>
              <th scope="col" class="number">{t.limit}</th>
              <th scope="col">{t.forecast}</th>
            </tr>
          </thead>
          <tbody>
            {budgets.map((budget) => (
              <BudgetRow key={`${budget.key} ${budget.span}`} budget={budget} />
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </section>
  );
}

function BudgetRow({ budget }: { budget: Budget }) {
  const t = texts.money.budgets;
  const share = budget.limit > 0 ? budget.used / budget.limit : 1;
  const isShort = budget.spent_by !== null;
  return (
    <tr>
      <th scope="row">{budget.key === "*" ? t.all : budget.key}</th>
      <td>{t.spans[budget.span]}</td>
      <td class="number">{formatDollars(budget.used)}</td>
      <td class="share">
        <span class="track" title={formatPercent(share)}>
          <span class={`bar ${isShort ? "warm" : ""}`} style={{ width: `${Math.min(100, 100 * share)}%` }} />
        </span>
      </td>
      <td class="number">{formatDollars(budget.limit)}</td>
      <td class={isShort ? "warm-text" : ""}>
        {budget.forecast === null && t.tooEarly}
        {budget.forecast !== null && !isShort && t.lasts(formatDollars(budget.forecast))}
        {budget.spent_by !== null && t.spentBy(formatTime(budget.spent_by), formatDollars(budget.forecast))}
      </td>
    </tr>
  );
}
