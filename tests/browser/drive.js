// Presses the buttons of the page, as a person would, and notes what the page shows. Added to the
// page by proxy.rs. STEPS is replaced by the trial.
(async () => {
  "use strict";
  const notes = document.documentElement.dataset;
  const byId = id => document.getElementById(id);
  const number = id => Number(byId(id).textContent.replaceAll(",", ""));
  const says = text => byId("log").textContent.includes(text);
  const until = async (what, holds) => {
    const deadline = performance.now() + 20_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error("not within 20 s: " + what);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  };
  const isLive = () => byId("page-state").dataset.up === "true";
  setInterval(() => { notes.highestLost = Math.max(Number(notes.highestLost || 0), number("lost")); }, 20);

  const press = id => {
    byId(id).focus();
    if (document.activeElement !== byId(id)) throw new Error(id + " cannot have the focus");
    byId(id).click();
  };
  const steps = {
    recovery: async () => {
      await until("all connections are up", () => says("All connections are up."));
      press("publish");
      await until("some results", () => number("results") >= 10);
      press("kill");
      await until("nsqd is down", () => byId("at-nsqd").textContent === "down");
      notes.killDisabled = byId("kill").getAttribute("aria-disabled");
      notes.resultsWhileDown = number("results");
      await until("nsqd is up again", () => says("nsqd is up again."));
      await until("connections are up again", () => says("All connections are up again."));
      await until("all have a result", () => says("All 100 orders have a result. Lost: 0."));
    },
    // The moment of the picture: a restart lies behind, and orders are in flight.
    again: async () => {
      press("publish");
      await until("some more results", () => number("results") >= 140);
    },
    outage: async () => {
      await until("all connections are up", () => says("All connections are up."));
      press("publish");
      await until("some results", () => number("results") >= 30);
      press("kill");
      await until("connections are lost", () => says("Connection lost: "));
    },
    cut: async () => {
      await until("the page is live", isLive);
      await fetch("/test/cut");
      await until("the page says that it is not live", () => !isLive());
    },
    reconnect: async () => {
      await steps.cut();
      notes.lostText = byId("page-text").textContent;
      await fetch("/test/heal");
      await until("the page is live again", isLive);
    },
    external: async () => {
      await until("all connections are up", () => says("All connections are up."));
      press("kill");
      press("publish");
      await until("all have a result", () => says("All 100 orders have a result. Lost: 0."));
    },
  };
  try {
    for (const step of STEPS) await steps[step]();
    notes.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    notes.outcome = "done";
  } catch (error) {
    notes.outcome = String(error);
  }
  document.activeElement.blur();
  document.documentElement.id = "notes";
  await fetch("/test/release");
})();
