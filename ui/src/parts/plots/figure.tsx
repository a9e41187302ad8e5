// A plot with its name, and the same figures as a table: for screen readers, and for whoever wants the numbers.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { texts } from "../../texts.en";
import { ScrollRegion } from "../scroll-region";

interface Props {
  title: string;
  /** What the plot shows, in a sentence. */
  about: string;
  columns: string[];
  /** The first cell of a row names it. */
  rows: (string | number)[][];
  /** Draws the plot in as many pixels as there are. */
  children: (width: number) => ComponentChildren;
}

export function Figure({ title, about, columns, rows, children }: Props) {
  const [box, width] = useWidth();
  return (
    <figure class="plot-figure">
      <figcaption>
        <h3>{title}</h3>
        <p class="quiet">{about}</p>
      </figcaption>
      <div ref={box} class="plot">
        {width > 0 && children(width)}
      </div>
      <details>
        <summary>{texts.plots.asTable}</summary>
        <DataTable label={title} columns={columns} rows={rows} />
      </details>
    </figure>
  );
}

export function DataTable({ label, columns, rows }: { label: string; columns: string[]; rows: (string | number)[][] }) {
  return (
    <ScrollRegion label={texts.plots.tableOf(label)}>
      <table>
        <thead>
          <tr>
            {columns.map((name, i) => (
              <th key={name} scope="col" class={i ? "number" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {row.map((cell, j) =>
                j ? (
                  <td key={j} class="number">
                    {cell}
                  </td>
                ) : (
                  <th key={j} scope="row">
                    {cell}
                  </th>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollRegion>
  );
}

/** Return a ref and the width of its element in pixels, 0 before it is known. */
function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!box.current) return;
    const look = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    look.observe(box.current);
    return () => look.disconnect();
  }, []);
  return [box, width];
}
