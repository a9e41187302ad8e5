// What feedback says: whether the mixture is worth it, which member changed, and how far its probabilities are right.
import { useAbout } from "../../data/about";
import { useData } from "../../data/api";
import { formatTime } from "../../parts/format";
import { NoTraces, TracesOff } from "../../parts/no-traces";
import { Empty, WhenLoaded } from "../../parts/problem";
import { goTo, linkTo, type Route } from "../../route";
import { texts } from "../../texts.en";
import { CalibrationPlots } from "./calibration";
import { ChoicesPlot } from "./choices";
import type { Report } from "./figures";
import { GainSection } from "./gain";
import { KindsTable } from "./kinds";
import { LearningSteps } from "./learning";
import { ChangesSection } from "./weeks";

const SPANS = [7, 30, 90, 365];
const t = texts.quality;

export function Quality({ route }: { route: Route }) {
  const about = useAbout();
  const days = SPANS.find((span) => String(span) === route.query.get("days")) ?? 30;
  const report = useData<Report>(about.traces.keep ? `ui/api/quality?days=${days}` : null);
  if (!about.traces.keep) return <TracesOff page="quality" />;
  return (
    <>
      <div class="page-head">
        <h1>{texts.pages.quality}</h1>
        <label>
          {t.span}{" "}
          <select value={days} onChange={(e) => goTo(linkTo("quality", [], { days: e.currentTarget.value }))}>
            {SPANS.map((span) => (
              <option key={span} value={span}>
                {t.days(span)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <WhenLoaded loaded={report}>{(found) => <Sections report={found} />}</WhenLoaded>
    </>
  );
}

function Sections({ report }: { report: Report }) {
  const about = useAbout();
  if (!report.kept) return <Empty title={texts.traces.offTitle}>{texts.traces.off}</Empty>;
  if (!report.answers) return <NoTraces />;
  const { quality } = report;
  return (
    <div class="quality">
      <p class="quiet">
        {t.rests(report.judged, report.answers, formatTime(report.at))} {report.judged < report.answers && t.selected}{" "}
        {report.left_out > 0 && t.leftOut(report.left_out)} {quality.thumbs > 0 && t.thumbs(quality.thumbs)}
      </p>
      {quality.judged === 0 && <Empty title={t.noFeedbackTitle}>{t.noFeedback}</Empty>}
      {quality.judged > 0 && <GainSection gains={quality.gains} best={report.best_single} />}
      {quality.judged > 0 && <ChangesSection quality={quality} drift={report.drift} members={report.members} />}
      {quality.judged > 0 && <KindsTable kinds={quality.kinds} members={report.members} />}
      <ChoicesPlot choices={report.choices} days={report.days} />
      {quality.judged > 0 && <CalibrationPlots quality={quality} />}
      {about.role !== "tenant" && <LearningSteps />}
    </div>
  );
}
