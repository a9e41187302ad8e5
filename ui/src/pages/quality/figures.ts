// What GET ui/api/quality says. Scores and probabilities are in [0, 1]; null is unknown.
export interface Bin {
  low: number;
  high: number;
  n: number;
  confidence: number;
  right: number;
  ci95: [number, number];
}

export interface Calibration {
  n: number;
  ece: number;
  brier: number;
  bins: Bin[];
}

export interface MemberRate {
  model: string;
  n: number;
  mean: number | null;
  low: number | null;
  high: number | null;
}

export interface MemberChange {
  model: string;
  recent: MemberRate;
  before: MemberRate;
  change: number | null;
  low: number | null;
  high: number | null;
  verdict: "worse" | "better" | "no change seen" | "unknown";
}

export interface QuestionKind {
  words: string[];
  questions: number;
  members: MemberRate[];
  chosen: Record<string, number>;
}

export interface MixtureGain {
  member: string;
  /** Answers of the mixture whose score is known; of these, questions on which the member's own answer was judged, too. */
  answers: number;
  known: number;
  not_called: number;
  not_judged: number;
  mixture: number | null;
  gain: { mean: number; low: number; high: number } | null;
  low: number | null;
  high: number | null;
  verdict: "adds" | "loses" | "no difference seen" | "unknown";
  why: "few answers" | "not judged" | "interval" | "bounds";
  /** Dollars and seconds a question. */
  extra_cost: number | null;
  extra_seconds: number | null;
}

export interface ChoiceCount {
  /** Seconds since the epoch. */
  day: number;
  method: string;
  choice: string | null;
  answers: number;
  calls: number;
  cost: number | null;
  priced: number;
  judged: number;
}

export interface Drift {
  model: string;
  since: number;
  outcomes: number;
  before: number;
  after: number;
  change: number;
}

export interface Quality {
  judged: number;
  /** Of these, answers of which only the given text was judged. */
  thumbs: number;
  prior: Calibration | null;
  posterior: Calibration | null;
  calibration: { model: string; prior: Calibration | null; posterior: Calibration | null }[];
  changes: MemberChange[];
  /** By how much all members fell alike this week (below 0); null where they did not. */
  shared_fall: number | null;
  weeks: [number, MemberRate[]][];
  kinds: QuestionKind[];
  gains: MixtureGain[];
}

export type Report =
  | { kept: false }
  | {
      kept: true;
      days: number;
      /** Seconds since the epoch. */
      at: number;
      answers: number;
      judged: number;
      choices: ChoiceCount[];
      best_single: { name: string; why: string };
      members: string[];
      quality: Quality;
      drift: Drift[];
      left_out: number;
    };

export interface Learning {
  current?: string | null;
  shift?: Record<string, number>;
  prior?: Record<string, number>;
  steps: { at: string; action: string; path?: string; before?: string; figures?: { why?: string; outcomes?: number } }[];
}

/** Return a share as percent: "83 %". */
export function formatPercent(share: number | null | undefined, unknown: string): string {
  return share == null ? unknown : `${Math.round(100 * share)} %`;
}

/** Return a difference of shares in points, with its sign: "+3.2". */
export function formatPoints(difference: number): string {
  const points = (100 * difference).toFixed(1).replace("-", "−");
  if (points === "0.0" || points === "−0.0") return "0.0";
  return difference < 0 ? points : `+${points}`;
}

export function formatDay(seconds: number): string {
  return new Date(1000 * seconds).toLocaleDateString(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
}
