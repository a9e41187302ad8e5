// Numbers, times and texts as they are shown. Unknown is "unknown", never 0.
import { texts } from "../texts.en";

/** Return dollars with two significant digits below a cent: $0.0013. */
export function formatDollars(dollars: number | null | undefined): string {
  if (dollars == null) return texts.unknown;
  if (dollars === 0) return "$0";
  const digits = Math.abs(dollars) >= 0.01 ? 2 : Math.min(9, 1 - Math.floor(Math.log10(Math.abs(dollars))));
  return `$${dollars.toFixed(digits)}`;
}

/** Return dollars per million tokens, in / out: $0.35 / $0.40. */
export function formatPrices(input: number | null, output: number | null): string {
  return input === null ? texts.unknown : [input, output].map(formatPrice).join(" / ");
}

function formatPrice(dollars: number | null): string {
  if (dollars === null) return texts.unknown;
  return `$${dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 6 })}`;
}

export function formatSeconds(seconds: number | null | undefined): string {
  if (seconds == null) return texts.unknown;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)}\u00a0s`;
}

/** Return a probability with two digits: 0.83. */
export function formatShare(share: number | null | undefined): string {
  return share == null ? texts.unknown : share.toFixed(2);
}

/** Return a share as a percentage: 12 %. */
export function formatPercent(share: number | null | undefined): string {
  if (share == null) return texts.unknown;
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`;
}

export function formatTime(seconds: number): string {
  return new Date(1000 * seconds).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Return a time as short as lists want it: without this year, without seconds. */
export function formatShortTime(seconds: number): string {
  const at = new Date(1000 * seconds);
  const year = at.getFullYear() === new Date().getFullYear() ? {} : ({ year: "numeric" } as const);
  return at.toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...year });
}

export function formatCount(count: number | null | undefined): string {
  return count == null ? texts.unknown : count.toLocaleString("en-US");
}

// C0 and C1 controls but tab and line feed, and the marks that turn the direction of text around.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Return a text of a model with its control characters visible: ␛ for escape. */
export function showControls(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(CONTROLS, (found) => {
    const code = found.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "␡" : "�";
  });
}
