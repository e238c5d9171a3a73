//! The configuration file: YAML, one field a setting. What is a list of pairs elsewhere may be a map here.

use std::collections::BTreeMap;

use mainstay_kernel::yaml::{self, Entry, Kind, Node};

use super::source::{Origin, Setting, Texts};

/// Reads the settings of the file at `path` whose content is `text`; what is wrong goes to `errors`.
pub(super) fn read(
    path: &str,
    text: &str,
    known: &[Setting],
    errors: &mut Vec<String>,
) -> BTreeMap<&'static str, Texts> {
    let mut found = BTreeMap::new();
    let entries = match yaml::parse(text) {
        Ok(Node { kind: Kind::Map(entries), .. }) => entries,
        Ok(Node { kind: Kind::Null, .. }) => return found,
        Ok(_) => {
            errors.push(format!("{path}: is no list of settings; write lines like `listen: 127.0.0.1:7400`"));
            return found;
        }
        Err(error) => {
            errors.push(format!("{path}: {error}"));
            return found;
        }
    };
    for Entry { key, place, value } in entries {
        let at = format!("{path}: line {}, {key}", place.line);
        let Some(setting) = known.iter().find(|setting| setting.key == key) else {
            let names: Vec<&str> = known.iter().map(|setting| setting.key).collect();
            errors.push(format!("{at}: there is no such setting; there are {}", names.join(", ")));
            continue;
        };
        match texts(&value) {
            Some(values) => {
                found.insert(setting.key, Texts { values, origin: Origin::File(at) });
            }
            None => errors.push(format!("{at}: wants a value or a list of values")),
        }
    }
    found
}

fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(scalar).collect(),
        Kind::Map(entries) => pairs("", entries),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => Some(vec![scalar(node)?]),
    }
}

/// A map as its other sources write it: `key=value`, and `outer.key=value` for what is nested.
fn pairs(outer: &str, entries: &[Entry]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for Entry { key, value, .. } in entries {
        match &value.kind {
            Kind::Map(inner) => texts.extend(pairs(&format!("{outer}{key}."), inner)?),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                texts.push(format!("{outer}{key}={}", scalar(value)?));
            }
        }
    }
    Some(texts)
}

fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Number(number) => Some(number.text.clone()),
        Kind::Text(text) => Some(text.clone()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}
