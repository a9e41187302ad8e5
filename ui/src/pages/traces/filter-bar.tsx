// What the list of traces is filtered by.
import { useEffect, useRef, useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { texts } from "../../texts.en";

export type Filter = Record<string, string>;
export const FILTERS = ["text", "key", "model", "method", "panel", "feedback", "gave_up", "min_cost", "order"] as const;

interface Choices {
  keys: string[];
  models: string[];
  methods: string[];
}

interface Props {
  filter: Filter;
  choices: Choices;
  onChange: (filter: Filter) => void;
}

export function FilterBar({ filter, choices, onChange }: Props) {
  const about = useAbout();
  const t = texts.traces.filters;
  const set = (name: string, value: string): void => onChange({ ...filter, [name]: value });
  const select = (name: string, label: string, options: [string, string][]) => (
    <label>
      <span>{label}</span>
      <select value={filter[name] ?? ""} onChange={(e) => set(name, e.currentTarget.value)}>
        {options.map(([value, shown]) => (
          <option key={value} value={value}>
            {shown}
          </option>
        ))}
      </select>
    </label>
  );
  const named = (names: string[]): [string, string][] => [["", t.any], ...names.map((n): [string, string] => [n, n])];
  return (
    <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>
      <TextFilter value={filter["text"] ?? ""} onChange={(text) => set("text", text)} />
      {about.role === "admin" && select("key", t.key, named(choices.keys))}
      {select("model", t.model, named(choices.models))}
      {select("method", t.method, named(choices.methods))}
      {select("panel", t.panel, [["", t.any], ...Object.entries(texts.traces.panels)])}
      {select("feedback", t.feedback, [["", t.any], ...Object.entries(t.feedbacks)])}
      {select("min_cost", t.cost, [["", t.any], ...t.costs])}
      {select("order", t.order, Object.entries(t.orders))}
      <label class="check">
        <input
          type="checkbox"
          checked={filter["gave_up"] === "1"}
          onChange={(e) => set("gave_up", e.currentTarget.checked ? "1" : "")}
        />
        {t.gaveUp}
      </label>
    </form>
  );
}

const TYPING_MS = 40;

function TextFilter({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(value);
  const known = useRef(value);
  useEffect(() => {
    if (known.current !== value) setText(value); // another address; what is being typed stays
    known.current = value;
  }, [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => {
      known.current = text;
      onChange(text);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label class="text">
      <span>{texts.traces.filters.text}</span>
      <input
        type="search"
        value={text}
        placeholder={texts.traces.filters.textHint}
        onInput={(e) => setText(e.currentTarget.value)}
      />
    </label>
  );
}
