// The traces that fit a filter: the pieces in view are fetched as they come into view.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { type ApiError, getJson, toApiError } from "../../data/api";
import { onKeyChange } from "../../data/keys";

export interface TraceRow {
  id: string;
  /** Seconds since the epoch. */
  at: number;
  tenant: string | null;
  method: string;
  choice: string | null;
  calls: number;
  /** Dollars; null is unknown. */
  cost: number | null;
  seconds: number | null;
  /** The beginning of the last user turn; empty where texts are not kept. */
  question: string;
  panel: "one" | "agreed" | "differed" | null;
  gave_up: boolean;
  /** How often something was said of it, and what its caller said last, in [0, 1]. */
  feedback: number;
  score: number | null;
}

interface Piece {
  data: TraceRow[];
  total: number;
  /** All traces that the caller may see, and those that the server has not read yet. */
  stored: number;
  missing: number;
  choices: { keys: string[]; models: string[]; methods: string[] };
}

export interface TraceRows {
  /** Null until the first piece is here. */
  about: Omit<Piece, "data"> | null;
  error: ApiError | null;
  row: (index: number) => TraceRow | undefined;
  /** Fetch the rows in [first, last), as far as they are not here. */
  show: (first: number, last: number) => void;
  reload: () => void;
}

const PIECE = 100;
const AGAIN_MS = 150; // until the next look, while the server still reads

export function useTraceRows(query: string): TraceRows {
  const [about, setAbout] = useState<Omit<Piece, "data"> | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [turn, setTurn] = useState(0);
  const [, redraw] = useState(0);
  const pieces = useRef(new Map<number, TraceRow[]>());
  const asked = useRef(new Set<number>());
  const view = useRef<[number, number]>([0, 30]);
  const abort = useRef(new AbortController());
  const reload = useCallback(() => setTurn((before) => before + 1), []);

  const fetchPiece = useCallback(
    (piece: number): void => {
      if (asked.current.has(piece)) return;
      asked.current.add(piece);
      const { signal } = abort.current;
      getJson<Piece>(`ui/api/traces?${query}&offset=${piece * PIECE}&limit=${PIECE}`, signal).then(
        ({ data, ...found }) => {
          if (signal.aborted) return;
          pieces.current.set(piece, data);
          setAbout(found);
          setError(null);
          redraw((before) => before + 1);
        },
        (problem: unknown) => {
          if (signal.aborted) return;
          asked.current.delete(piece);
          setError(toApiError(problem));
        },
      );
    },
    [query],
  );

  const show = useCallback(
    (first: number, last: number): void => {
      view.current = [first, last];
      for (let piece = Math.floor(first / PIECE); piece * PIECE < Math.max(last, 1); piece++) fetchPiece(piece);
    },
    [fetchPiece],
  );

  useEffect(() => onKeyChange(reload), [reload]);
  useEffect(() => {
    abort.current = new AbortController();
    asked.current = new Set();
    const [first, last] = turn ? view.current : [0, 30];
    show(first, last);
    return () => abort.current.abort();
  }, [show, turn]);
  useEffect(() => {
    pieces.current = new Map();
    view.current = [0, 30];
  }, [query]);
  useEffect(() => {
    if (!about?.missing) return;
    const timer = setTimeout(reload, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [about, reload]);

  const row = (index: number): TraceRow | undefined => pieces.current.get(Math.floor(index / PIECE))?.[index % PIECE];
  return { about, error, row, show, reload };
}
