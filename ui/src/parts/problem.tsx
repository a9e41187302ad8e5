// What went wrong, and what to do; and what a page shows while it has nothing else to show.
import { Component, type ComponentChildren } from "preact";

import { ApiError, type Loaded } from "../data/api";
import { texts } from "../texts.en";

export function Problem({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <p>{error.message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          {texts.problems.retry}
        </button>
      )}
    </div>
  );
}

/** A page's place while there is nothing: what would be here, and how to get it. */
export function Empty({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="empty">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** Show what was loaded, or why there is nothing. */
export function WhenLoaded<T>({ loaded, children }: { loaded: Loaded<T>; children: (data: T) => ComponentChildren }) {
  const { data, error, loading, reload } = loaded;
  return (
    <>
      {error && <Problem error={error} retry={reload} />}
      {data !== null ? children(data) : loading && <p class="quiet">{texts.problems.loading}</p>}
    </>
  );
}

/** Shows a fault of the page in its place, so that the rest goes on. */
export class FaultBoundary extends Component<{ children: ComponentChildren }, { fault: Error | null }> {
  override state = { fault: null as Error | null };

  static override getDerivedStateFromError(fault: Error) {
    return { fault };
  }

  render() {
    const { fault } = this.state;
    if (!fault) return this.props.children;
    return <Problem error={new ApiError(0, texts.problems.defect(fault.message))} />;
  }
}
