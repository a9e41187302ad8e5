// Add members: a provider's live list, and which of it the presets of `routemoa init` would take.
import { useState } from "preact/hooks";

import { type ApiError, postJson, toApiError, useData } from "../../data/api";
import { formatCount, formatPrices, showControls } from "../../parts/format";
import { Problem, WhenLoaded } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import { texts } from "../../texts.en";
import type { ListedModel, ModelList, Provider } from "./pool-data";

const t = texts.pool.add;
const PRESETS = ["cheap", "balanced", "best"] as const;
const MOST_SHOWN = 200;

interface Props {
  text: string;
  onText: (text: string) => void;
}

export function AddModels(props: Props) {
  const [open, setOpen] = useState(false);
  return (
    <details class="card add" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t.title}</summary>
      {open && <ChooseProvider {...props} />}
    </details>
  );
}

function ChooseProvider(props: Props) {
  const providers = useData<{ data: Provider[] }>("admin/pool/providers");
  return (
    <WhenLoaded loaded={providers}>
      {({ data }) => {
        const ready = data.filter((p) => p.local || p.variable);
        const without = data.filter((p) => !p.local && !p.variable);
        return (
          <>
            <ProviderForm providers={ready} {...props} />
            {without.length > 0 && (
              <details class="quiet">
                <summary>{t.noKey(without.length)}</summary>
                <p>{t.noKeyWhy}</p>
                <ul>
                  {without.map((p) => (
                    <li key={p.name}>
                      {p.title}: <code>{p.variables.join(" / ")}</code>
                    </li>
                  ))}
                </ul>
              </details>
            )}
          </>
        );
      }}
    </WhenLoaded>
  );
}

function ProviderForm({ providers, text, onText }: { providers: Provider[] } & Props) {
  const [name, setName] = useState(providers[0]?.name ?? "");
  const [list, setList] = useState<ModelList | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const fetchList = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setList(null);
    postJson<ModelList>("admin/pool/providers/models", { provider: name })
      .then(setList, (e: unknown) => setError(toApiError(e)))
      .finally(() => setBusy(false));
  };
  const add = (models: string[]): void => {
    setError(null);
    postJson<{ text: string }>("admin/pool/models", { text, provider: list?.provider, models }).then(
      (found) => {
        setList(null);
        onText(found.text);
      },
      (e: unknown) => setError(toApiError(e)),
    );
  };
  return (
    <>
      <form class="row" onSubmit={fetchList}>
        <label>
          {t.provider}{" "}
          <select value={name} onChange={(e) => setName(e.currentTarget.value)}>
            {providers.map((p) => (
              <option key={p.name} value={p.name}>
                {p.title} {p.variable ? `(${p.variable})` : ""}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={busy || !name}>
          {busy ? t.fetching : t.fetch}
        </button>
      </form>
      {error && <Problem error={error} />}
      {list && <ModelChoice key={list.provider} list={list} add={add} />}
    </>
  );
}

function ModelChoice({ list, add }: { list: ModelList; add: (models: string[]) => void }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [search, setSearch] = useState("");
  const wanted = list.models.filter((m) => m.id.toLowerCase().includes(search.trim().toLowerCase()));
  const toggle = (id: string): void => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const take = (preset: string): void => setChosen(new Set(list.models.filter((m) => m.presets.includes(preset)).map((m) => m.id)));
  if (!list.models.length) return <p>{t.none(list.title)}</p>;
  return (
    <div class="choice">
      <div class="row">
        <span>{t.preset}</span>
        {PRESETS.map((preset) => (
          <button key={preset} type="button" onClick={() => take(preset)}>
            {t.presets[preset]}
          </button>
        ))}
        <input
          type="search"
          aria-label={t.search}
          placeholder={t.search}
          value={search}
          onInput={(e) => setSearch(e.currentTarget.value)}
        />
      </div>
      <ScrollRegion kind="models" label={t.models(list.title)}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.model}</th>
              <th scope="col" class="number">{texts.pool.prices}</th>
              <th scope="col" class="number">{texts.pool.context}</th>
              <th scope="col" class="number">{t.score}</th>
            </tr>
          </thead>
          <tbody>
            {wanted.slice(0, MOST_SHOWN).map((m) => (
              <ModelRow key={m.id} model={m} checked={chosen.has(m.id)} toggle={toggle} />
            ))}
          </tbody>
        </table>
      </ScrollRegion>
      <button type="button" class="main" disabled={!chosen.size} onClick={() => add([...chosen])}>
        {t.add(chosen.size)}
      </button>
    </div>
  );
}

function ModelRow({ model: m, checked, toggle }: { model: ListedModel; checked: boolean; toggle: (id: string) => void }) {
  return (
    <tr>
      <td>
        <label>
          <input type="checkbox" checked={checked} onChange={() => toggle(m.id)} /> {showControls(m.id)}
        </label>
      </td>
      <td class="number">{formatPrices(m.input_price, m.output_price)}</td>
      <td class="number">{m.context === null ? texts.unknown : formatCount(m.context)}</td>
      <td class="number" title={m.score_of ?? ""}>
        {m.score === null ? texts.unknown : m.score.toFixed(2)}
      </td>
    </tr>
  );
}
