// Keeps the status page fresh: fetches the page again and takes over its main part, without touching what is read.
const EVERY_MS = 3000;
const live = document.querySelector(".live");

function show(fresh) {
  live.classList.toggle("stale", !fresh);
  live.querySelector(".word").textContent = fresh ? live.dataset.live : live.dataset.stale;
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (!answer.ok) throw new Error("refused");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const current = document.getElementById("main");
  const focused = current.contains(document.activeElement) ? document.activeElement.getAttribute("aria-labelledby") : null;
  const offsets = [...current.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  const next = document.adoptNode(page.getElementById("main"));
  current.replaceWith(next);
  next.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = offsets[index] ?? 0; });
  if (focused) next.querySelector(`.scroll[aria-labelledby="${focused}"]`)?.focus({ preventScroll: true });
}

async function tick() {
  if (!document.hidden && getSelection().isCollapsed) {
    try {
      await refresh();
      show(true);
    } catch {
      show(false);
    }
  }
  setTimeout(tick, EVERY_MS);
}

setTimeout(tick, EVERY_MS);
