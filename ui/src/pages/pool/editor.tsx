// The pool file as text: checked while it is written, compared with what runs, taken over.
import { useEffect, useRef, useState } from "preact/hooks";

import { type ApiError, postJson, send, toApiError } from "../../data/api";
import { Problem } from "../../parts/problem";
import { showControls } from "../../parts/format";
import { texts } from "../../texts.en";
import { AddModels } from "./add-models";
import type { Check, PoolInfo } from "./pool-data";
import { Warnings } from "./pool";

const t = texts.pool;
const CHECK_AFTER_MS = 350;
/** A text that was not taken over yet outlives a look at another page. */
let draft: { digest: string; text: string } | null = null;

export function Editor({ pool, text, reload }: { pool: PoolInfo; text: string; reload: () => void }) {
  const digest = pool.digest ?? "";
  const [edited, setEdited] = useState(draft && draft.digest === digest ? draft.text : text);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [before, setBefore] = useState<string | null>(null);
  const { check, checking } = useCheck(edited, edited === text);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    draft = edited === text ? null : { digest, text: edited };
  }, [edited, text, digest]);
  useEffect(() => setEdited((now) => (draft && draft.digest === digest ? now : text)), [text, digest]);

  const takeOver = (): void => {
    setBusy(true);
    setError(null);
    const body = JSON.stringify({ text: edited, digest });
    send("admin/pool", { method: "PUT", headers: { "content-type": "application/json" }, body }).then(
      () => {
        draft = null;
        setBefore(text);
        setBusy(false);
        reload();
      },
      (e: unknown) => {
        setBusy(false);
        setError(toApiError(e));
      },
    );
  };
  const changed = edited !== text;
  return (
    <section aria-labelledby="file-title" class="editor">
      <h2 id="file-title">{t.file(pool.source)}</h2>
      <p class="quiet">
        {t.editable} {text.includes("⟨hidden ") && t.hidden}
      </p>
      <AddModels text={edited} onText={setEdited} />
      <label class="unseen" for="pool-text">
        {t.text}
      </label>
      <div class="columns">
        <div>
          <textarea
            id="pool-text"
            ref={area}
            class="code"
            spellcheck={false}
            autocomplete="off"
            rows={Math.min(34, Math.max(14, edited.split("\n").length + 1))}
            value={edited}
            aria-describedby="pool-check"
            onInput={(e) => setEdited(e.currentTarget.value)}
          />
        </div>
        <div class="beside">
          <Verdict check={check} checking={checking} changed={changed} goTo={(line) => selectLine(area.current, line)} />
          {error && <Problem error={error} />}
          {changed && check && <Diff lines={check.diff} />}
          {changed && (
            <div class="row">
              <button type="button" class="main" disabled={busy || checking || !check?.ok} onClick={takeOver}>
                {busy ? t.takingOver : t.takeOver}
              </button>
              <button type="button" onClick={() => setEdited(text)}>
                {t.discard}
              </button>
            </div>
          )}
          {!changed && before !== null && before !== text && (
            <p role="status">
              {t.taken}{" "}
              <button type="button" class="plain" onClick={() => setEdited(before)}>
                {t.back}
              </button>
            </p>
          )}
        </div>
      </div>
    </section>
  );
}

/** Check a text a moment after the last key was pressed. */
function useCheck(text: string, isSame: boolean): { check: Check | null; checking: boolean } {
  const [state, setState] = useState<{ text: string; check: Check | null }>({ text: "", check: null });
  useEffect(() => {
    if (isSame) return;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      postJson<Check>("admin/pool/check", { text }, abort.signal).then(
        (check) => setState({ text, check }),
        (error: unknown) => {
          if (abort.signal.aborted) return;
          const { message } = toApiError(error);
          setState({ text, check: { ok: false, error: message, line: null, diff: [], warnings: [] } });
        },
      );
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text, isSame]);
  return { check: isSame ? null : state.check, checking: !isSame && state.text !== text };
}

interface VerdictProps {
  check: Check | null;
  checking: boolean;
  changed: boolean;
  goTo: (line: number) => void;
}

function Verdict({ check, checking, changed, goTo }: VerdictProps) {
  const line = check?.line ?? null;
  return (
    <div id="pool-check" role="status" class={`pool-check ${!check || checking ? "" : check.ok ? "good" : "bad"}`}>
      {!changed && t.unchanged}
      {changed && (!check || checking) && t.checking}
      {changed && check && !checking && (
        <>
          {check.ok ? t.valid(check.members?.length ?? 0) : showControls(check.error ?? "")}{" "}
          {line !== null && (
            <button type="button" class="plain" onClick={() => goTo(line)}>
              {t.line(line)}
            </button>
          )}
          <Warnings warnings={check.warnings} />
        </>
      )}
    </div>
  );
}

function Diff({ lines }: { lines: string[] }) {
  if (!lines.length) return null;
  return (
    <div>
      <h3>{t.diff}</h3>
      <pre class="card diff" tabIndex={0} aria-label={t.diff}>
        {lines.map((line, i) => (
          <span key={i} class={line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : "same"}>
            {nameHunk(line) ?? (showControls(line) || " ")}
            {"\n"}
          </span>
        ))}
      </pre>
    </div>
  );
}

/** Return what the head of a part of a diff says in words; null for another line. */
function nameHunk(line: string): string | null {
  const found = /^@@ -\d+(?:,\d+)? \+(\d+)/.exec(line);
  return found ? t.fromLine(Number(found[1])) : null;
}

function selectLine(area: HTMLTextAreaElement | null, line: number): void {
  if (!area) return;
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  area.scrollTop = Math.max(0, (line - 4) * (area.scrollHeight / lines.length));
}
