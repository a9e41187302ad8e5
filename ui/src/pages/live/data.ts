// What the server does at this moment: the events of GET ui/api/live, folded into one state of bounded size.
import { useEffect, useReducer } from "preact/hooks";

import type { ApiError } from "../../data/api";
import { keyFor } from "../../data/api";
import { onKeyChange } from "../../data/keys";
import { followEvents } from "../../data/stream";
import type { Budget } from "../money/data";

export interface RunningRequest {
  /** The process of the server that answers; null where there is one. */
  worker: number | null;
  /** Counts the requests of a worker. */
  number: number;
  tenant: string | null;
  model: string | null;
  /** Seconds since the epoch. */
  began: number;
  /** Seconds until the first piece of the answer. */
  first: number | null;
}

export interface EndedRequest {
  worker: number | null;
  at: number;
  tenant: string | null;
  model: string | null;
  status: number | null;
  first: number | null;
  seconds: number;
}

export interface MemberHealth {
  name: string;
  state: "closed" | "open" | "half-open";
  failures: number;
  /** Seconds until it is called again. */
  retry_in: number | null;
  reason: string | null;
  /** The workers for which it is not well; empty where there is one. */
  workers: number[];
}

/** [start in seconds since the epoch, requests that ended, errors, dollars] of a quarter of a minute. */
export type Bucket = [number, number, number, number];

export interface Moment {
  /** The server's clock, in seconds since the epoch. */
  at: number;
  /** Whether `series` is the whole hour, or only what is new. */
  first: boolean;
  /** The processes of the server that are shown as one; [null] where there is one. */
  workers: (number | null)[];
  running: number;
  requests: RunningRequest[];
  ended: EndedRequest[];
  hour: { requests: number; errors: number; dollars: number; first_token: number | null };
  series: Bucket[];
  members: MemberHealth[];
  /** Null for a tenant: it is about all callers. */
  queue: { waiting: number; refused: number; busy: number; limit: number } | null;
  budgets: Budget[];
}

export interface LiveState {
  moment: Moment | null;
  /** The server's clock less this machine's, in seconds. */
  skew: number;
  series: Bucket[];
  link: "opening" | "open" | "waiting" | "refused";
  error: ApiError | null;
}

type Change = { moment: Moment } | { link: LiveState["link"]; error: ApiError | null };

const HOUR = 3600;
const START: LiveState = { moment: null, skew: 0, series: [], link: "opening", error: null };

function change(state: LiveState, what: Change): LiveState {
  if ("link" in what) return { ...state, link: what.link, error: what.error };
  const { moment } = what;
  const skew = moment.at - Date.now() / 1000;
  return { moment, skew, series: addBuckets(moment.first ? [] : state.series, moment), link: "open", error: null };
}

/** Return the series with what is new; the last bucket may have grown, and those older than an hour are dropped. */
function addBuckets(before: Bucket[], moment: Moment): Bucket[] {
  const first = moment.series[0]?.[0] ?? Infinity;
  const kept = before.filter(([start]) => start < first && start > moment.at - HOUR);
  return [...kept, ...moment.series];
}

/** Follow the server while the page is shown and the tab is in view: one stream. */
export function useLive(): LiveState {
  const [state, dispatch] = useReducer(change, START);
  useEffect(() => {
    const follow = (): (() => void) =>
      followEvents(
        "ui/api/live",
        (event) => dispatch({ moment: JSON.parse(event.data) as Moment }),
        (link, error) => dispatch({ link, error: error ?? null }),
      );
    let key = keyFor("ui/api/live");
    let stop = follow();
    const forget = onKeyChange(() => {
      if (keyFor("ui/api/live") === key) return;
      key = keyFor("ui/api/live");
      stop();
      stop = follow();
    });
    return () => {
      forget();
      stop();
    };
  }, []);
  return state;
}
