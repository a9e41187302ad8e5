// What stands where traces would be shown: none were kept yet, or none are.
import { linkTo } from "../route";
import { texts } from "../texts.en";
import { Empty } from "./problem";

export function NoTraces() {
  const t = texts.traces;
  return (
    <Empty title={t.noneTitle}>
      <p>{t.none}</p>
      <a href={linkTo("playground")}>{t.noneAsk}</a>
    </Empty>
  );
}

/** A whole page, since it has nothing else. */
export function TracesOff({ page }: { page: "traces" | "quality" }) {
  return (
    <>
      <h1>{texts.pages[page]}</h1>
      <Empty title={texts.traces.offTitle}>{texts.traces.off}</Empty>
    </>
  );
}
