//! What a workflow reads of the shared context: `context: { prices: { key: market/prices, max_age: 10m } }`.

use crate::context::{Key, MAX_MAX_AGE, MAX_READS, Read};
use crate::document::{Code, Field, Fields, Report};
use crate::workflow::StepId;

/// The keys read, in the order of the document.
pub(super) fn reads(field: &Field<'_>, report: &mut Report<'_>) -> Vec<Read> {
    let Some(entries) = field.node.entries() else {
        field.wrong_type("a map from names to keys", report);
        return Vec::new();
    };
    if entries.len() > MAX_READS {
        let message = format!("reads {} keys", entries.len());
        let hint = format!("read at most {MAX_READS}; keep together what is read together");
        report.add(Code::FieldRange, &field.path, message, hint);
    }
    let read = |entry: &crate::yaml::Entry| {
        let path = field.path.key(&entry.key);
        // Expressions read it like a step's id, so it has the same shape.
        if StepId::new(&entry.key).is_err() {
            let message = "must be a-z, then a-z, 0-9 and '_', at most 64 of them";
            report.add_at(
                Code::NameInvalid,
                &path,
                entry.place,
                message,
                "expressions read it as `context.<name>`",
            );
        }
        let mut fields = Fields::open(&entry.value, path, &["key", "max_age"], report);
        let key = fields.required("key").and_then(|field| key(&field, report));
        let max_age =
            fields.optional("max_age").map(|field| field.duration(MAX_MAX_AGE, MAX_MAX_AGE, report));
        fields.report_missing(report);
        Some(Read { name: entry.key.as_str().into(), key: key?, max_age })
    };
    entries.iter().take(MAX_READS).filter_map(read).collect()
}

fn key(field: &Field<'_>, report: &mut Report<'_>) -> Option<Key> {
    let text = field.text(report)?;
    let refused = |error: crate::context::KeyError| {
        report.add(Code::ContextKeyInvalid, &field.path, error.to_string(), "");
    };
    Key::new(text).map_err(refused).ok()
}
