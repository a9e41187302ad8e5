// What GET ui/api/money returns.
export const GROUPINGS = ["model", "day", "key", "purpose", "method"] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** The calls of one group; null is unknown. */
export interface Group {
  group: string;
  calls: number;
  failed: number;
  cut: number;
  open: number;
  prompt_tokens: number | null;
  completion_tokens: number | null;
  cached_tokens: number | null;
  /** Dollars. */
  cost: number | null;
  unpriced: number;
  charged: number | null;
  mean_seconds: number | null;
}

/** What answers did cost, and what another way would have by an estimate; in dollars. */
export interface Saving {
  answers: number;
  cost: number;
  estimate: number;
}

export interface Budget {
  key: string;
  span: "day" | "month";
  /** Dollars. */
  limit: number;
  used: number;
  /** Seconds since the epoch. */
  start: number;
  reset: number;
  forecast: number | null;
  spent_by: number | null;
}

export interface DayCost {
  day: string;
  model: string;
  cost: number | null;
}

export interface MoneyData {
  since: number;
  until: number;
  groups: Record<Grouping, Group[]>;
  total: Group | null;
  days: DayCost[];
  keys: string[];
  savings: { moa: Saving; costliest: Saving; missing: number };
  cache: { prompt_tokens: number | null; cached_tokens: number | null; saved: number | null };
  budgets: Budget[];
}
