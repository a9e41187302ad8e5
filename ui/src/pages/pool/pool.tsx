// The members, and the pool file: shown to the operator, edited with the admin key.
import { useState } from "preact/hooks";

import { useAbout } from "../../data/about";
import { type ApiError, postJson, toApiError, useData } from "../../data/api";
import { formatCount, formatPrices, formatSeconds, showControls } from "../../parts/format";
import { ModelName } from "../../parts/model-name";
import { Empty, Problem, WhenLoaded } from "../../parts/problem";
import { ScrollRegion } from "../../parts/scroll-region";
import type { Route } from "../../route";
import { texts } from "../../texts.en";
import { Editor } from "./editor";
import type { PoolInfo, PoolMember, Probe } from "./pool-data";

const t = texts.pool;

export function Pool({ route: _ }: { route: Route }) {
  const about = useAbout();
  const info = useData<PoolInfo>(about.role === "tenant" ? null : "ui/api/pool");
  return (
    <>
      <h1>{texts.pages.pool}</h1>
      {about.role === "tenant" ? (
        <Empty title={t.adminTitle}>{t.admin}</Empty>
      ) : (
        <WhenLoaded loaded={info}>{(pool) => <PoolSections pool={pool} reload={info.reload} />}</WhenLoaded>
      )}
    </>
  );
}

function PoolSections({ pool, reload }: { pool: PoolInfo; reload: () => void }) {
  return (
    <div class="pool">
      {pool.members && <Members pool={pool} members={pool.members} />}
      {pool.text === null ? (
        <Empty title={t.noFileTitle}>{pool.why}</Empty>
      ) : pool.editable ? (
        <Editor pool={pool} text={pool.text} reload={reload} />
      ) : (
        <ReadOnly pool={pool} text={pool.text} />
      )}
    </div>
  );
}

function Members({ pool, members }: { pool: PoolInfo; members: PoolMember[] }) {
  const [probes, setProbes] = useState<Record<string, Probe>>({});
  const [state, setState] = useState<{ busy: boolean; error: ApiError | null }>({ busy: false, error: null });
  const probe = (): void => {
    setState({ busy: true, error: null });
    postJson<{ data: Probe[] }>("admin/pool/probe", {}).then(
      ({ data }) => {
        setProbes(Object.fromEntries(data.map((each) => [each.name, each])));
        setState({ busy: false, error: null });
      },
      (error: unknown) => setState({ busy: false, error: toApiError(error) }),
    );
  };
  return (
    <section aria-labelledby="members-title">
      <div class="page-head">
        <h2 id="members-title">{t.members}</h2>
        {pool.editable && (
          <button type="button" onClick={probe} disabled={state.busy}>
            {state.busy ? t.probing : t.probe}
          </button>
        )}
      </div>
      {state.error && <Problem error={state.error} />}
      <Warnings warnings={[...(pool.absent ?? []).map((each) => `${each.why}; ${t.leftOut}`), ...(pool.warnings ?? [])]} />
      <ScrollRegion label={texts.plots.tableOf(t.members)}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.name}</th>
              <th scope="col">{t.endpoint}</th>
              <th scope="col">{t.key}</th>
              <th scope="col" class="number">{t.prices}</th>
              <th scope="col" class="number">{t.context}</th>
              <th scope="col" class="number">{t.prior}</th>
              {pool.editable && <th scope="col">{t.probed}</th>}
            </tr>
          </thead>
          <tbody>
            {members.map((m) => (
              <tr key={m.name}>
                <th scope="row">
                  <ModelName model={m.name} />
                  {m.model !== m.name && <small class="under">{m.model}</small>}
                </th>
                <td class="place">{m.endpoint}</td>
                <td>{m.api_key_env ? <code>{m.api_key_env}</code> : t.noKey}</td>
                <td class="number" title={m.price ?? ""}>
                  {formatPrices(m.input_price, m.output_price)}
                </td>
                <td class="number">{m.context === null ? texts.unknown : formatCount(m.context)}</td>
                <td class="number">{m.prior === null ? texts.unknown : m.prior.toFixed(2)}</td>
                {pool.editable && <td aria-live="polite">{showProbe(probes[m.name])}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </section>
  );
}

function showProbe(probe: Probe | undefined) {
  if (!probe) return "";
  if (probe.ok === null) return t.probedLocal;
  if (probe.ok) return <span class="tone good">{t.answered(formatSeconds(probe.latency))}</span>;
  return <span class="tone bad">{showControls(probe.problem ?? "")}</span>;
}

export function Warnings({ warnings }: { warnings: string[] }) {
  if (!warnings.length) return null;
  return (
    <ul class="warnings">
      {warnings.map((warning) => (
        <li key={warning}>{showControls(warning)}</li>
      ))}
    </ul>
  );
}

function ReadOnly({ pool, text }: { pool: PoolInfo; text: string }) {
  return (
    <section aria-labelledby="file-title">
      <h2 id="file-title">{t.file(pool.source)}</h2>
      <p class="quiet">{t.readOnly}</p>
      <pre class="card pool-file" tabIndex={0} aria-label={t.file(pool.source)}>
        {text}
      </pre>
    </section>
  );
}
