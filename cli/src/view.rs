//! What commands answer, with stable field names: the JSON of `--output json`, and what tables are made of.
//!
//! Messages of the wire are taken apart here and nowhere later. Times are RFC 3339 in UTC, spans are milliseconds with
//! three decimals, payloads are JSON values, and states are lower-case words. Fields are added, never renamed.

pub mod page;
