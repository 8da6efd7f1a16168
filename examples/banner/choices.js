// What this browser's visitor agreed to. Candor is told of each answer, and every event carries
// it. While there is no yes, there is no analytics.js here, no identifier, and nothing is sent.

export const PURPOSES = ["analytics", "personalization", "marketing", "sale_share"];
// Those that have a category of their own in policy.yaml, by which events name them.
const CATEGORIES = ["analytics", "personalization", "marketing"];
// As `gpc` in policy.yaml says.
const DENIED_BY_GPC = ["sale_share"];
// After half a year it is asked again, be it a yes or a no, as the CNIL advises.
const ASK_AGAIN_MS = 182 * 24 * 60 * 60 * 1000;
const NOTHING = { yes: [], id: null, denied: [], untold: [] };

export const gpc = navigator.globalPrivacyControl === true;
const banner = document.getElementById("banner");
let started = null; // what becomes analytics.js, once there is a yes

/** The last answer: the purposes in `yes`, and when, `at`; null where there is none. */
export function answered() {
  const kept = read(localStorage, "choices");
  return kept && Date.now() - kept.at < ASK_AGAIN_MS ? kept : null;
}

/** Who is logged in: {userId, identityProof}, the latter if the shop's server vouches; or null. */
export function user() {
  return read(sessionStorage, "user");
}

export function forbidden(purpose) {
  return gpc && DENIED_BY_GPC.includes(purpose);
}

/** Take an answer. A no counts at once, a yes once Candor has it on record: else this throws. */
export async function answer(wanted, action) {
  const yes = wanted.filter((purpose) => !forbidden(purpose));
  await withdraw(yes, action);
  if (yes.length) await agree(yes, action);
}

async function withdraw(yes, action) {
  const before = answered() ?? NOTHING;
  const no = PURPOSES.filter((purpose) => !yes.includes(purpose));
  // What nobody agreed to needs no withdrawal, unless it is a known person who says no.
  const everything = user() && action === "reject_all";
  const denied = everything ? no : no.filter((purpose) => before.yes.includes(purpose));
  if (!denied.length && yes.length) return;
  const kept = { ...before, at: Date.now() };
  kept.yes = before.yes.filter((purpose) => yes.includes(purpose));
  kept.denied = [...before.denied, ...denied];
  if (denied.length) kept.untold = [...before.untold, said(denied, false, action, before.id)];
  if (!kept.yes.length) Object.assign(kept, { id: null, denied: [] });
  keep(kept);
  if (!kept.yes.length) await forget();
  await tellUntold();
}

async function agree(yes, action) {
  const before = answered() ?? NOTHING;
  const kept = { ...before, yes, at: Date.now() };
  // A no stays with the browser's id that it was said for, so a later yes begins with a new one.
  if (!before.id || yes.some((purpose) => before.denied.includes(purpose))) {
    Object.assign(kept, { id: crypto.randomUUID(), denied: [] });
  }
  await tell(said(yes, true, action, kept.id));
  keep(kept);
  start().catch(console.warn); // the answer counts, whether or not there is analytics.js to heed it
}

/** Go on where the last page of this visit stopped. */
export async function resume() {
  await tellUntold();
  if (answered()?.yes.length) await start();
}

export async function track(event, properties) {
  await (await started)?.track(event, properties);
}

export async function signIn(userId, identityProof) {
  keep({ userId, identityProof }, sessionStorage, "user");
  if (answered()?.yes.length) await (await started)?.identify(userId);
}

export async function signOut() {
  sessionStorage.removeItem("user");
  await forget(); // so that what comes next is not the same person's
  const kept = answered();
  if (kept) keep({ ...kept, id: null });
  if (kept?.yes.length) await agree(kept.yes, "signed_out");
}

/** Send that this page was seen, and by whom. */
async function start() {
  started ??= load();
  const analytics = await started;
  analytics.setAnonymousId(answered().id);
  const userId = user()?.userId;
  if (userId && analytics.user().id() !== userId) analytics.identify(userId);
  await analytics.page();
}

async function load() {
  const { api_url, write_key } = await settings();
  await script("analytics/index.js");
  const browser = window.AnalyticsNext.AnalyticsBrowser;
  const [analytics] = await browser.load({ writeKey: write_key, cdnURL: api_url });
  await analytics.addSourceMiddleware(carry);
  return analytics;
}

/** Make analytics.js forget the ids that it keeps in this browser. */
async function forget() {
  (await started)?.reset();
}

/** Every event carries the answer. An event that is not passed on is dropped. */
function carry({ payload, next }) {
  const yes = answered()?.yes ?? [];
  if (!yes.length) return;
  const categoryPreferences = Object.fromEntries(CATEGORIES.map((one) => [one, yes.includes(one)]));
  const identityProof = user()?.identityProof;
  Object.assign(payload.obj.context, { consent: { categoryPreferences }, identityProof });
  next(payload);
}

/** The body of POST /v1/consents, but for the write key. */
function said(purposes, granted, action, anonymousId) {
  const { userId, identityProof } = user() ?? {};
  return {
    userId,
    anonymousId: anonymousId ?? undefined,
    identityProof: granted ? identityProof : undefined, // a no needs none
    purposes: Object.fromEntries(purposes.map((purpose) => [purpose, granted])),
    mechanism: "banner",
    timestamp: new Date().toISOString(),
    evidence: {
      banner: banner.dataset.version,
      language: document.documentElement.lang,
      page: location.pathname,
      action,
      gpc,
    },
  };
}

async function tell(body) {
  const { api_url, write_key } = await settings();
  const answer = await fetch(`${api_url}/v1/consents`, {
    method: "POST",
    keepalive: true, // also if the visitor leaves meanwhile
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, writeKey: write_key }),
  });
  if (!answer.ok) throw new Error(`POST /v1/consents answered ${answer.status}`);
}

/** What does not get through is told on the next page, or the next day. */
async function tellUntold() {
  for (const body of answered()?.untold ?? []) {
    try {
      await tell(body);
    } catch {
      continue;
    }
    const kept = answered();
    keep({ ...kept, untold: kept.untold.filter((one) => one.timestamp !== body.timestamp) });
  }
}

async function settings() {
  return (await fetch("settings.json")).json();
}

function script(src) {
  return new Promise((loaded, failed) => {
    const element = Object.assign(document.createElement("script"), { src });
    element.onload = loaded;
    element.onerror = () => failed(new Error(`${src} could not be loaded`));
    document.head.append(element);
  });
}

function read(storage, name) {
  return JSON.parse(storage.getItem(name));
}

function keep(value, storage = localStorage, name = "choices") {
  storage.setItem(name, JSON.stringify(value));
}
