// Which answers say the same, how likely each group is right, and which one leads.
import { useAbout } from "../../data/about";
import type { Judgment } from "../../data/judgment";
import { texts } from "../../texts.en";
import { formatShare, showControls } from "../format";
import { ModelName } from "../model-name";

export function groupLetter(group: number): string {
  return group < 26 ? String.fromCharCode(65 + group) : `${group + 1}`;
}

export function AgreementGroups({ judgment }: { judgment: Judgment | null }) {
  const { fusion } = useAbout().mixture;
  if (!judgment?.groups.length) return null;
  return (
    <section class="card" aria-labelledby="groups-title">
      <h2 id="groups-title">{texts.trace.groups}</h2>
      <p class="quiet">{judgment.closed ? texts.trace.closed : texts.trace.openQuestion}</p>
      {fusion !== "adaptive" && <p class="quiet">{texts.trace.otherFusion(fusion)}</p>}
      <ol class="groups">
        {judgment.groups.map((group, i) => (
          <li key={i} data-group={i % 4} class={group.leads ? "leads" : ""}>
            <span class="group-badge">{groupLetter(i)}</span>
            <span class="states">{group.states === null ? "" : showControls(group.states)}</span>
            <span class="members">
              {group.models.map((model) => (
                <ModelName key={model} model={model} />
              ))}
            </span>
            <span class="meter" role="img" aria-label={texts.trace.groupLabel(formatShare(group.probability))}>
              <span style={{ width: `${(100 * group.probability).toFixed(2)}%` }} />
            </span>
            <span class="number">{formatShare(group.probability)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
