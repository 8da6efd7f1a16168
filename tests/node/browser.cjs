// Sends calls from a page with @segment/analytics-next, as a script element loads it:
// {key, cdn, page, integrations, calls: [[method, …arguments], …]}.
// Answers the anonymousId, the messages, and every URL that was asked for until then. The page
// stays open until standard input ends.
const { readFileSync } = require("node:fs");
const { JSDOM } = require("jsdom");

const LIBRARY = require.resolve("@segment/analytics-next/dist/umd/index.js");

function open(page, urls) {
  const { window } = new JSDOM("<!DOCTYPE html><title>Shop</title>", {
    url: page,
    runScripts: "outside-only",
  });
  const { prototype } = window.XMLHttpRequest;
  const before = prototype.open;
  prototype.open = function (method, url, ...more) {
    urls.push(url);
    return before.call(this, method, url, ...more);
  };
  window.eval(readFileSync(LIBRARY, "utf8"));
  return window;
}

async function main({ key, cdn, page, integrations, calls }) {
  const urls = [];
  const window = open(page, urls);
  const [analytics] = await window.AnalyticsNext.AnalyticsBrowser.load(
    { writeKey: key, cdnURL: cdn },
    { integrations },
  );
  const contexts = await Promise.all(calls.map(([method, ...given]) => analytics[method](...given)));
  const messages = contexts.map((context) => context.event);
  console.log(JSON.stringify({ anonymousId: analytics.user().anonymousId(), messages, urls }));
  process.stdin.on("end", () => window.close()).resume();
}

main(JSON.parse(process.argv[2]));
