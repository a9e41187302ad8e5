// A long list of which only the rows in view exist: thousands scroll as smoothly as ten.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const BEYOND = 4; // rows above and below the view

interface Span {
  first: number;
  last: number;
}

interface Props {
  count: number;
  /** Of a row, in rem: all rows are as high. */
  rowHeight: number;
  label: string;
  /** The list's first row is shown again when this changes. */
  resetOn: string;
  /** Hears which rows are in view, so that they can be fetched. */
  onView: (first: number, last: number) => void;
  children: (index: number) => ComponentChildren;
  head: ComponentChildren;
}

export function VirtualRows({ count, rowHeight, label, resetOn, onView, children, head }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [span, setSpan] = useState<Span>({ first: 0, last: 30 });
  const pixels = rowHeight * useRem();
  const look = (): void => {
    if (!box.current) return;
    const first = Math.max(0, Math.floor(box.current.scrollTop / pixels) - BEYOND);
    const last = Math.min(count, Math.ceil((box.current.scrollTop + box.current.clientHeight) / pixels) + BEYOND);
    setSpan((before) => (before.first === first && before.last === last ? before : { first, last }));
  };
  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [resetOn]);
  useLayoutEffect(look, [count, pixels, resetOn]);
  useEffect(() => {
    window.addEventListener("resize", look);
    return () => window.removeEventListener("resize", look);
  });
  useEffect(() => {
    if (count > 0) onView(span.first, span.last);
  }, [span, count, resetOn]);
  const rows = [];
  for (let index = span.first; index < Math.min(span.last, count); index++) {
    rows.push(
      <div key={index} role="row" aria-rowindex={index + 2} class="v-row">
        {children(index)}
      </div>,
    );
  }
  return (
    <div class="v-table" role="table" aria-label={label} aria-rowcount={count + 1}>
      <div role="rowgroup" class="v-head">
        <div role="row" aria-rowindex={1} class="v-row">
          {head}
        </div>
      </div>
      <div class="v-box" ref={box} onScroll={look} tabIndex={0} role="rowgroup">
        <div class="v-space" role="presentation" style={{ height: `${count * pixels}px` }}>
          <div class="v-window" role="presentation" style={{ top: `${span.first * pixels}px` }}>
            {rows}
          </div>
        </div>
      </div>
    </div>
  );
}

/** Return the pixels of one rem: wide screens have larger type. */
function useRem(): number {
  const [rem, setRem] = useState(readRem);
  useEffect(() => {
    const follow = (): void => setRem(readRem());
    window.addEventListener("resize", follow);
    return () => window.removeEventListener("resize", follow);
  }, []);
  return rem;
}

function readRem(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
}
