// A model's name with its colour, the same on the whole page.
const HUES = 8;
const known = new Map<string, number>();

/** Return the class of a model's colour: in the order in which names are first seen, those of the pool before all. */
export function hueOf(model: string): string {
  let hue = known.get(model);
  if (hue === undefined) {
    hue = known.size % HUES;
    known.set(model, hue);
  }
  return `hue-${hue}`;
}

export function ModelName({ model }: { model: string }) {
  return (
    <span class={`model ${hueOf(model)}`}>
      <span class="dot" aria-hidden="true" />
      {model}
    </span>
  );
}
