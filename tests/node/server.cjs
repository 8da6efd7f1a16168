// Sends calls with @segment/analytics-node: {key, host, path, calls: [[method, message], …]}.
// Answers the messages, once all are delivered.
const { readFileSync } = require("node:fs");
const { Analytics } = require("@segment/analytics-node");

async function main({ key, host, path, calls }) {
  const analytics = new Analytics({ writeKey: key, host, path, httpRequestTimeout: 60_000 });
  const messages = calls.map(
    ([method, message]) =>
      new Promise((delivered, failed) =>
        analytics[method](message, (error, context) =>
          error ? failed(error) : delivered(context.event),
        ),
      ),
  );
  await analytics.closeAndFlush({ timeout: 120_000 });
  console.log(JSON.stringify(await Promise.all(messages)));
}

main(JSON.parse(readFileSync(0, "utf8")));
