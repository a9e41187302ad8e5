// What the caller says of an answer: POST v1/feedback.
import { useState } from "preact/hooks";

import { type ApiError, postJson, toApiError } from "../../data/api";
import { texts } from "../../texts.en";
import { Problem } from "../problem";

/** Send what is said of an answer; the fields are those of POST v1/feedback. */
export function sendFeedback(id: string, said: Record<string, unknown>): Promise<unknown> {
  return postJson("v1/feedback", { id, ...said });
}

export function FeedbackForm({ id }: { id: string }) {
  const [said, setSaid] = useState<"up" | "down" | null>(null);
  const [expected, setExpected] = useState("");
  const [comment, setComment] = useState("");
  const [note, setNote] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const send = (body: Record<string, unknown>): void => {
    setError(null);
    sendFeedback(id, body).then(
      () => setNote(texts.feedback.thanks),
      (problem: unknown) => setError(toApiError(problem)),
    );
  };
  const thumb = (direction: "up" | "down"): void => {
    setSaid(direction);
    send({ thumb: direction });
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    send({ ...(expected ? { expected } : {}), ...(comment ? { comment } : {}) });
  };
  return (
    <section class="feedback" aria-label={texts.feedback.title}>
      <div class="row">
        <span>{texts.feedback.question}</span>
        <button type="button" aria-pressed={said === "up"} onClick={() => thumb("up")}>
          {texts.feedback.up}
        </button>
        <button type="button" aria-pressed={said === "down"} onClick={() => thumb("down")}>
          {texts.feedback.down}
        </button>
        <span class="quiet" role="status">
          {note}
        </span>
      </div>
      <details>
        <summary>{texts.feedback.sayMore}</summary>
        <form class="say-more" onSubmit={submit}>
          <label class="field">
            {texts.feedback.expected}
            <input value={expected} onInput={(e) => setExpected(e.currentTarget.value)} />
          </label>
          <label class="field">
            {texts.feedback.comment}
            <input value={comment} onInput={(e) => setComment(e.currentTarget.value)} />
          </label>
          <button type="submit" disabled={!expected && !comment}>
            {texts.feedback.send}
          </button>
        </form>
      </details>
      {error && <Problem error={error} />}
    </section>
  );
}
