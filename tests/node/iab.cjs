// IAB Tech Lab's own implementations: {write: [[kind, what], …], read: [[kind, text], …]}.
// Answers {written: [text, …], again: [what, …], read: [what | {refused}, …]}; `again` is what they
// read in what they wrote. Kinds: "tcf" is @iabtcf/core, in the words of tests/consent_strings.py;
// "gpp", and "gpp-tcf" for its TCF section alone, are @iabgpp/cmpapi, in its own words.
const { readFileSync } = require("node:fs");
const core = require("@iabtcf/core");
const gpp = require("@iabgpp/cmpapi");

const VECTORS = {
  special_features: "specialFeatureOptins",
  consent: "purposeConsents",
  interest: "purposeLegitimateInterests",
  vendor_consent: "vendorConsents",
  vendor_interest: "vendorLegitimateInterests",
  disclosed: "vendorsDisclosed",
  allowed: "vendorsAllowed",
};
const PLAIN = {
  cmp_id: "cmpId",
  cmp_version: "cmpVersion",
  screen: "consentScreen",
  language: "consentLanguage",
  list_version: "vendorListVersion",
  policy_version: "policyVersion",
  non_standard: "useNonStandardStacks",
  purpose_one: "purposeOneTreatment",
  country: "publisherCountryCode",
};
const PUBLISHER = {
  consent: "publisherConsents",
  interest: "publisherLegitimateInterests",
  custom_consent: "publisherCustomConsents",
  custom_interest: "publisherCustomLegitimateInterests",
};
const SEGMENTS = { disclosed: "vendorsDisclosed", allowed: "vendorsAllowed", publisher: "publisherTC" };

const ids = (vector) => [...vector.values()].sort((a, b) => a - b);
const inOrder = (list) => list.sort((a, b) => a[0] - b[0] || a[1] - b[1]);

function writeTcf(what) {
  const model = new core.TCModel();
  model.isServiceSpecific = true;
  model.created = new Date(what.created);
  model.lastUpdated = new Date(what.updated);
  for (const [ours, theirs] of Object.entries(PLAIN)) model[theirs] = what[ours];
  for (const [ours, theirs] of Object.entries(VECTORS)) model[theirs].set(what[ours] ?? []);
  for (const [purpose, kind, vendors] of what.restrictions)
    for (const vendor of vendors)
      model.publisherRestrictions.add(vendor, new core.PurposeRestriction(purpose, kind));
  model.publisherRestrictions.gvl = { vendorIds: { has: () => true } };
  if (what.publisher) {
    model.numCustomPurposes = what.publisher.custom;
    for (const [ours, theirs] of Object.entries(PUBLISHER)) model[theirs].set(what.publisher[ours]);
  }
  const order = ["core", ...what.order.map((name) => SEGMENTS[name])];
  return order.map((segment) => core.SegmentEncoder.encode(model, segment)).join(".");
}

function readTcf(text) {
  const model = core.TCString.decode(text);
  const { publisherRestrictions: map } = model;
  const what = { version: model.version, service_specific: model.isServiceSpecific };
  what.created = model.created.getTime();
  what.updated = model.lastUpdated.getTime();
  for (const [ours, theirs] of Object.entries(PLAIN)) what[ours] = model[theirs];
  for (const [ours, theirs] of Object.entries(VECTORS)) what[ours] = ids(model[theirs]);
  what.restrictions = inOrder(
    map.getRestrictions().map((one) => [one.purposeId, one.restrictionType, map.getVendors(one)]),
  );
  what.publisher = { custom: model.numCustomPurposes };
  for (const [ours, theirs] of Object.entries(PUBLISHER)) what.publisher[ours] = ids(model[theirs]);
  return what;
}

function writeGpp(what) {
  const model = new gpp.GppModel();
  for (const [section, fields] of Object.entries(what)) {
    for (const [name, value] of Object.entries(fields)) {
      const given =
        name === "PublisherRestrictions"
          ? value.map(([purpose, kind, vendors]) => new gpp.RangeEntry(purpose, kind, vendors))
          : ["Created", "LastUpdated"].includes(name)
            ? new Date(value)
            : value;
      model.setFieldValue(section, name, given);
    }
  }
  return model.encode();
}

function plain(section) {
  const what = { ...section };
  for (const name of ["Created", "LastUpdated"]) if (what[name]) what[name] = what[name].getTime();
  if (what.PublisherRestrictions)
    what.PublisherRestrictions = inOrder(
      what.PublisherRestrictions.map((one) => [one.getKey(), one.getType(), one.getIds()]),
    );
  return what;
}

function readGpp(text) {
  const model = new gpp.GppModel(text);
  const sections = Object.entries(model.toObject());
  return Object.fromEntries(sections.map(([name, section]) => [name, plain(section)]));
}

const WRITE = { tcf: writeTcf, gpp: writeGpp };
const READ = {
  tcf: readTcf,
  gpp: readGpp,
  "gpp-tcf": (text) => plain(new gpp.TcfEuV2(text).toObj()),
};

function read([kind, text]) {
  try {
    return READ[kind](text);
  } catch (error) {
    return { refused: error.name };
  }
}

const given = JSON.parse(readFileSync(0, "utf8"));
const written = (given.write ?? []).map(([kind, what]) => WRITE[kind](what));
const again = (given.write ?? []).map(([kind], index) => read([kind, written[index]]));
console.log(JSON.stringify({ written, again, read: (given.read ?? []).map(read) }));
