"""What the policy's names mean in the W3C community group's Data Privacy Vocabulary.

DPV 2.2 with its extensions for personal data and for the GDPR (https://w3id.org/dpv). A name that
is not here is told by the general term and the policy's own words, and never by a guess.
"""

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
    "dcat": "http://www.w3.org/ns/dcat#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "dct:created": {"@type": "xsd:dateTime"},
    "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime"},
    "dct:publisher": {"@type": "@id"},
    "dpv:hasLegalBasis": {"@type": "@id"},
    "dpv:isIndicatedBy": {"@type": "@id"},
    "skos:broader": {"@type": "@id"},
}
"""Written into each document, because what a signed text means must not hang on a page elsewhere
(JSON-LD 1.1, section 3.1). The prefixes are those of the guide that `candor.receipts` names."""

BASES = {
    "consent": "eu-gdpr:A6-1-a",
    "contract": "eu-gdpr:A6-1-b",
    "legal_obligation": "eu-gdpr:A6-1-c",
    "legitimate_interest": "eu-gdpr:A6-1-f",
}
PURPOSES = {
    "service": "dpv:ServiceProvision",
    "analytics": "dpv:ServiceUsageAnalytics",
    "personalization": "dpv:Personalisation",
    "marketing": "dpv:Marketing",
    "sale_share": "dpv:SellDataToThirdParties",
    "privacy_rights": "dpv:LegalCompliance",
}
TRAITS = {
    "email": "pd:EmailAddress",
    "phone": "pd:TelephoneNumber",
    "name": "pd:Name",
    "firstName": "pd:Name",
    "lastName": "pd:Name",
    "address": "pd:PhysicalAddress",
    "title": "pd:Job",
    "username": "pd:Username",
    "id": "pd:UID",
    "birthday": "pd:BirthDate",
    "age": "pd:Age",
    "gender": "pd:Gender",
    "avatar": "pd:Picture",
}
"""Segment's reserved traits."""
IDENTIFIERS = {
    "user_id": "pd:UID",
    "crm_id": "pd:UID",
    "email": "pd:EmailAddress",
    "phone": "pd:TelephoneNumber",
    "device_id": "pd:DeviceBased",
    "anonymous_id": "pd:UID",
    "advertising_id": "pd:DeviceBased",
}
EVENTS = {
    "identify": "pd:Identifying",
    "alias": "pd:Identifying",
    "group": "pd:GroupMembership",
    "page": "pd:BrowsingBehaviour",
    "screen": "pd:ServiceConsumptionBehaviour",
    "Order Completed": "pd:Purchase",
    "Order Updated": "pd:Purchase",
    "Order Refunded": "pd:Purchase",
    "Order Cancelled": "pd:Purchase",
}
ANY_EVENT = "pd:Behavioural"
DEVICE = {
    "ip": "pd:IPAddress",
    "userAgent": "pd:UserAgent",
    "locale": "pd:Language",
    "campaign": "pd:BrowsingReferral",
}
"""What is kept of an event's context."""
RIGHTS = {
    "See it": "eu-gdpr:A15",
    "Correct it": "eu-gdpr:A16",
    "Erase it": "eu-gdpr:A17",
    "Pause it": "eu-gdpr:A18",
    "Take it with you": "eu-gdpr:A20",
    "Object": "eu-gdpr:A21",
    "Take consent back": "eu-gdpr:A7-3",
    "Complain": "eu-gdpr:A77",
}
"""By the names under which `candor.notice` explains them."""
