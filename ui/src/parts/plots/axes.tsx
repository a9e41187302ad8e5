// The frame of a plot: scales, lines and labels. Pure.
import type { ComponentChildren } from "preact";

export interface Scale {
  (value: number): number;
}

export function scaleLinear([from, to]: [number, number], [start, end]: [number, number]): Scale {
  const span = to - from || 1;
  return (value) => start + ((value - from) / span) * (end - start);
}

/** Return at most six round values from `low` to `high`. */
export function chooseTicks(low: number, high: number): number[] {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough) ?? 10) * power;
  const ticks: number[] = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) ticks.push(n * step);
  return ticks;
}

export interface Frame {
  width: number;
  height: number;
  left: number;
  bottom: number;
}

export const PAD = { top: 10, right: 22 } as const;

interface Props {
  frame: Frame;
  x: Scale;
  y: Scale;
  xTicks: { at: number; label: string }[];
  yTicks: { at: number; label: string }[];
  xName?: string;
  children: ComponentChildren;
}

/** Draw axes around a plot. It is hidden from screen readers: its table says the same. */
export function Axes({ frame, x, y, xTicks, yTicks, xName, children }: Props) {
  const { width, height, left, bottom } = frame;
  return (
    <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" focusable="false">
      {yTicks.map(({ at, label }) => (
        <g key={at}>
          <line class="grid" x1={left} x2={width - PAD.right} y1={y(at)} y2={y(at)} />
          <text class="tick" x={left - 6} y={y(at)} dy="0.32em" text-anchor="end">
            {label}
          </text>
        </g>
      ))}
      {xTicks.map(({ at, label }) => (
        <text key={at} class="tick" x={x(at)} y={height - bottom + 16} text-anchor="middle">
          {label}
        </text>
      ))}
      {xName && (
        <text class="tick" x={(left + width - PAD.right) / 2} y={height - 2} text-anchor="middle">
          {xName}
        </text>
      )}
      {children}
    </svg>
  );
}
