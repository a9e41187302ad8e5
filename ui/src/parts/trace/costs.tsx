// What the answer took, beside what other methods would have taken.
import type { Alternative, Trace } from "../../data/trace";
import { texts } from "../../texts.en";
import { formatCount, formatDollars, formatSeconds } from "../format";
import { ScrollRegion } from "../scroll-region";
import { MethodHead } from "./method-head";

export function Costs({ trace }: { trace: Trace }) {
  const taken: Alternative = { method: trace.method, calls: trace.calls, cost: trace.cost, latency: trace.latency };
  const others = trace.routes_not_taken;
  const dearest = Math.max(0, ...[taken, ...others].map(({ cost }) => cost ?? 0));
  return (
    <section class="card" aria-labelledby="costs-title">
      <h2 id="costs-title">{texts.trace.costs}</h2>
      <ScrollRegion kind="bare" labelledBy="costs-title">
        <table class="costs">
          <MethodHead>
            <th scope="col">
              <span class="unseen">{texts.trace.dollars}</span>
            </th>
          </MethodHead>
          <tbody>
            <CostRow route={taken} dearest={dearest} estimated={false} />
            {others.map((route) => (
              <CostRow key={route.method} route={route} dearest={dearest} estimated />
            ))}
          </tbody>
        </table>
      </ScrollRegion>
      {others.length > 0 && <p class="quiet">{texts.trace.estimated}</p>}
      {trace.cost === null && <p class="quiet">{texts.trace.unknownCost}</p>}
    </section>
  );
}

function CostRow({ route, dearest, estimated }: { route: Alternative; dearest: number; estimated: boolean }) {
  const share = dearest > 0 && route.cost !== null ? route.cost / dearest : 0;
  return (
    <tr class={estimated ? "estimate" : "taken"}>
      <th scope="row">
        {route.method} {estimated ? "" : <span class="badge">{texts.trace.thisAnswer}</span>}
      </th>
      <td class="number">{formatCount(route.calls)}</td>
      <td class="number">{formatSeconds(route.latency)}</td>
      <td class="number">{formatDollars(route.cost)}</td>
      <td class="gauge">
        <span style={{ width: `${(100 * share).toFixed(1)}%` }} />
      </td>
    </tr>
  );
}
