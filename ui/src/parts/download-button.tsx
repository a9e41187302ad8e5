// A button that saves what a route returns.
import { useState } from "preact/hooks";

import { type ApiError, toApiError } from "../data/api";
import { download } from "../data/download";

export function DownloadButton({ path, name, label, hint }: { path: string; name: string; label: string; hint?: string }) {
  const [state, setState] = useState<{ busy: boolean; error: ApiError | null }>({ busy: false, error: null });
  const save = (): void => {
    setState({ busy: true, error: null });
    download(path, name).then(
      () => setState({ busy: false, error: null }),
      (error: unknown) => setState({ busy: false, error: toApiError(error) }),
    );
  };
  return (
    <>
      <button type="button" disabled={state.busy} onClick={save} title={hint ?? ""}>
        {label}
      </button>
      {state.error && (
        <small class="bad" role="alert">
          {state.error.message}
        </small>
      )}
    </>
  );
}
