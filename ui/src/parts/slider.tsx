import { useId } from "preact/hooks";

interface Props {
  label: string;
  value: number;
  /** Lowest, highest and step. */
  range: [number, number, number];
  onValue: (value: number) => void;
}

export function Slider({ label, value, range, onValue }: Props) {
  const id = useId();
  const [min, max, step] = range;
  return (
    <div class="field slider">
      <label for={id}>{label}</label>
      <output for={id}>{value.toFixed(2)}</output>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        onInput={(e) => onValue(Number(e.currentTarget.value))}
      />
    </div>
  );
}
