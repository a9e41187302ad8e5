// An answer judged again by the server, under the recorded policy or another one: POST ui/api/judge. No model is called.
import { useEffect, useState } from "preact/hooks";

import { type ApiError, postJson, toApiError } from "./api";
import { type Scores, type Trace, withoutMedia } from "./trace";

export const WEIGHTS = ["votes", "verbalized", "cross", "similarity"] as const;
export type WeightName = (typeof WEIGHTS)[number];
export const PREFERENCES = ["quality", "balanced", "cheap", "fast"] as const;

/** What a policy has of its own; what is left out is the pool's. */
export interface PolicyChoice {
  prefer?: string;
  target?: number;
  stop_confidence?: number;
  max_models?: number;
  weights?: Partial<Record<WeightName, number>>;
}

/** Answers that say the same. */
export interface AnswerGroup {
  models: string[];
  probability: number;
  /** The result that they state; null where they are open. */
  states: string | null;
  leads: boolean;
}

export interface Judgment {
  choice: string | null;
  stop_reason: string | null;
  scores: Scores;
  layers: number;
  calls: number;
  changed: boolean;
  recorded: string | null;
  /** The models that the policy would have called first, and why. */
  first: { models: string[]; why: string };
  groups: AnswerGroup[];
  /** Whether the answers state results, so that at most one group is right. */
  closed: boolean;
  weights: Record<WeightName, number>;
  policy: { prefer: string; target: number; stop_confidence: number; max_models: number };
}

/** Judge a trace; again where `key` or the policy changes, a moment after the last change. */
export function useJudgment(
  trace: Trace,
  key: string | null,
  policy: PolicyChoice,
): { judgment: Judgment | null; error: ApiError | null } {
  const [found, setFound] = useState<{ judgment: Judgment | null; error: ApiError | null }>({
    judgment: null,
    error: null,
  });
  const asked = JSON.stringify(policy);
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    const wait = setTimeout(() => {
      const body = { answer: { text: "", trace: withoutMedia(trace) }, policy: JSON.parse(asked) as PolicyChoice };
      postJson<Judgment>("ui/api/judge", body, abort.signal).then(
        (judgment) => setFound({ judgment, error: null }),
        (error: unknown) => {
          if (!abort.signal.aborted) setFound((before) => ({ ...before, error: toApiError(error) }));
        },
      );
    }, 60);
    return () => {
      clearTimeout(wait);
      abort.abort();
    };
  }, [key, asked]);
  return found;
}
