// A trace as a file: a line as `routemoa ask --json` prints it, which the playground and `routemoa judge replay` open.
import type { Trace } from "../../data/trace";
import { texts } from "../../texts.en";

export function ShareTrace({ trace, text, id }: { trace: Trace; text: string; id: string | null }) {
  const save = (): void => {
    const file = new Blob([`${JSON.stringify({ text, trace })}\n`], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `trace-${(id ?? "routemoa").replace(/[^\w-]/g, "")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return (
    <button type="button" onClick={save}>
      {texts.trace.save}
    </button>
  );
}
