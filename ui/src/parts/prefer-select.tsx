// What a policy prefers: one choice of four, or as the pool has it.
import { PREFERENCES } from "../data/judgment";
import { texts } from "../texts.en";

interface Props {
  value: string;
  /** The pool's preference, where it can be left to the pool: the empty value. */
  pool?: string;
  onValue: (value: string) => void;
}

export function PreferSelect({ value, pool, onValue }: Props) {
  return (
    <label class="field">
      {texts.prefer.label}
      <select value={value} onChange={(e) => onValue(e.currentTarget.value)}>
        {pool !== undefined && <option value="">{texts.prefer.asPool(pool)}</option>}
        {PREFERENCES.map((name) => (
          <option key={name} value={name}>
            {texts.prefer.names[name]}
          </option>
        ))}
      </select>
    </label>
  );
}
