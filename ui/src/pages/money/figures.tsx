// The figures that are read first: spent, saved by estimates, read from caches.
import type { ComponentChildren } from "preact";

import { formatCount, formatDollars, formatPercent } from "../../parts/format";
import { texts } from "../../texts.en";
import type { MoneyData, Saving } from "./data";

export function Figures({ data }: { data: MoneyData }) {
  const { total, savings, cache } = data;
  const t = texts.money.figures;
  if (!total) return null;
  return (
    <dl class="figures">
      <Figure label={t.spent} value={formatDollars(total.charged)}>
        {t.spentNote(formatCount(total.calls), formatCount(total.unpriced))}
      </Figure>
      <SavingFigure label={t.moa} saving={savings.moa} missing={savings.missing} />
      <SavingFigure label={t.costliest} saving={savings.costliest} missing={savings.missing} />
      <CacheFigure cache={cache} />
    </dl>
  );
}

function SavingFigure({ label, saving, missing }: { label: string; saving: Saving; missing: number }) {
  const t = texts.money.figures;
  if (saving.answers === 0) {
    return (
      <Figure label={label} value={texts.unknown}>
        {t.noEstimate}
      </Figure>
    );
  }
  const saved = saving.estimate - saving.cost;
  return (
    <Figure label={label} value={saved < 0 ? t.more(formatDollars(-saved)) : t.saved(formatDollars(saved))}>
      {missing > 0 && `${t.soFar(formatCount(missing))} `}
      {t.savingNote(formatCount(saving.answers), formatDollars(saving.cost), formatDollars(saving.estimate))}
    </Figure>
  );
}

function CacheFigure({ cache }: { cache: MoneyData["cache"] }) {
  const t = texts.money.figures;
  if (cache.cached_tokens === null || !cache.prompt_tokens) {
    return (
      <Figure label={t.cache} value={texts.unknown}>
        {t.cacheUnknown}
      </Figure>
    );
  }
  return (
    <Figure label={t.cache} value={formatPercent(cache.cached_tokens / cache.prompt_tokens)}>
      {cache.saved === null ? t.cacheUnpriced : t.cacheNote(formatDollars(cache.saved))}
    </Figure>
  );
}

function Figure({ label, value, children }: { label: string; value: string; children: ComponentChildren }) {
  return (
    <div class="card figure">
      <dt>{label}</dt>
      <dd class="value">{value}</dd>
      <dd class="quiet">{children}</dd>
    </div>
  );
}
