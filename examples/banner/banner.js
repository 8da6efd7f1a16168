// The banner: a dialog that is in nobody's way. It asks once, and again whenever somebody presses
// "Privacy choices". Closing it is no answer, and no answer is no.
import { PURPOSES, answer, answered, forbidden, gpc, resume } from "./choices.js";

const [banner, title, opener, failed, status] = ["banner", "banner-title", "open", "failed", "said"].map(
  (id) => document.getElementById(id),
);
const boxes = [...banner.querySelectorAll("input")];

function show() {
  const yes = answered()?.yes ?? []; // no box is ticked that nobody ticked
  for (const box of boxes) box.checked = yes.includes(box.name);
  failed.textContent = "";
  banner.show();
  opener.setAttribute("aria-expanded", "true");
  title.focus(); // on no button, so that no key that was meant for the page answers
}

function hide() {
  banner.close();
  opener.setAttribute("aria-expanded", "false");
  opener.focus(); // where it can be changed
}

function tell() {
  const yes = answered().yes.map((purpose) => purpose.replace("sale_share", "sharing"));
  const what = yes.length ? `You agreed to: ${yes.join(", ")}.` : "You said no.";
  status.textContent = `${what} “Privacy choices” changes it.`;
}

async function take(action) {
  const ticked = boxes.filter((box) => box.checked).map((box) => box.name);
  const wanted = { accept_all: PURPOSES, reject_all: [], save: ticked }[action];
  const buttons = banner.querySelectorAll("button");
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  try {
    await answer(wanted, action);
    hide();
    tell();
  } catch {
    failed.textContent = "Your answer could not be saved, so nothing is collected. Please try again.";
  } finally {
    for (const button of buttons) button.removeAttribute("aria-disabled");
  }
}

banner.addEventListener("click", ({ target }) => {
  if (target.dataset.answer && !target.ariaDisabled) take(target.dataset.answer);
});
banner.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") hide();
});
opener.addEventListener("click", () => (banner.open ? hide() : show()));

document.getElementById("gpc").hidden = !gpc;
for (const box of boxes.filter(({ name }) => forbidden(name))) {
  box.disabled = true;
  box.setAttribute("aria-describedby", "gpc");
}

if (answered()) {
  tell();
  resume();
} else {
  show();
}
