//! The steps from each schema of a kind of record to the next, all in one place.
//!
//! Whoever changes what a record holds, so that what is on disk no longer reads as it should, raises its `SCHEMA` by one and
//! adds one function here that turns the JSON before into the JSON after. A field that is new and may be missing needs no
//! step: it has a default. Stores of every earlier version lie under `tests/fixtures/stores`, and a test opens them all.

use mainstay_store::record::Upcast;

/// The steps of a kind, oldest first: the first one reads schema 1. No kind has had a second schema yet.
pub(super) const fn of(_kind: &str) -> &'static [Upcast] {
    &[]
}

#[cfg(test)]
mod tests {
    use mainstay_store::record;
    use serde_json::{Value, json};

    use super::super::{RecordError, bring_up, decode};
    use super::*;

    /// As a step is written: JSON in, JSON out.
    fn minutes_to_seconds(payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut value: Value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let minutes = value["minutes"].take().as_u64().ok_or("`minutes` is missing")?;
        value["seconds"] = json!(minutes * 60);
        Ok(value.to_string().into_bytes())
    }

    #[test]
    fn an_older_record_is_brought_up_and_one_that_does_not_follow_its_schema_is_named() {
        let steps: [Upcast; 1] = [minutes_to_seconds];
        let raised = bring_up("wait", 1, br#"{"minutes":2}"#, &steps).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&raised).unwrap()["seconds"], 120);
        assert_eq!(&*bring_up("wait", 2, b"{}", &steps).unwrap(), b"{}");
        let RecordError::Malformed { kind: "wait", detail } = bring_up("wait", 1, b"{}", &steps).unwrap_err()
        else {
            panic!("another error")
        };
        assert!(detail.contains("schema 1: `minutes` is missing"), "{detail}");
    }

    #[test]
    fn a_newer_record_is_refused_by_name_and_number() {
        let newer = record::seal(2, b"{}");
        let refused = decode::<Value>("pause", 1, &newer).unwrap_err();
        assert_eq!(refused, RecordError::Schema { kind: "pause", found: 2, known: 1 });
        assert!(matches!(
            decode::<Value>("pause", 1, &record::seal(0, b"{}")),
            Err(RecordError::Malformed { .. })
        ));
    }
}
