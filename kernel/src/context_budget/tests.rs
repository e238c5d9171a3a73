use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A token is a word with the blanks behind it, or a mark.
struct Words;

impl Words {
    fn ends(text: &str) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut last = None;
        for (at, char) in text.char_indices() {
            let kind = if char.is_alphanumeric() {
                0
            } else if char == ' ' {
                1
            } else {
                2
            };
            if at > 0 && (kind == 2 || last == Some(2) || (last == Some(1) && kind == 0)) {
                ends.push(at);
            }
            last = Some(kind);
        }
        if !text.is_empty() {
            ends.push(text.len());
        }
        ends
    }
}

impl Tokenizer for Words {
    fn count(&self, text: &str) -> usize {
        Self::ends(text).len()
    }

    fn head<'t>(&self, text: &'t str, most: usize) -> &'t str {
        let ends = Self::ends(text);
        let end = most.checked_sub(1).map_or(0, |last| ends.get(last).copied().unwrap_or(text.len()));
        &text[..end]
    }
}

fn budget(max_tokens: u32, over: Over, fields: &[&str]) -> ContextBudget {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    ContextBudget { max_tokens, encoding: Encoding::default(), over, fields }
}

fn words(n: usize) -> String {
    "word ".repeat(n)
}

#[test]
fn what_fits_stays_as_it_is_to_the_letter() {
    let input = Json::parse(br#"{"n": 1.10, "text":"one two"}"#, &crate::json::Limits::default()).unwrap();
    let fitted = budget(64, Over::Truncate, &[]).cut(&input, &Words).unwrap();
    assert_eq!((fitted.input.as_str(), fitted.cuts.len()), (input.as_str(), 0));
}

#[test]
fn what_is_too_long_is_refused_if_nothing_may_be_done() {
    let error = budget(64, Over::Reject, &[]).cut(&Json::from(&json!(words(100))), &Words).unwrap_err();
    assert_eq!(error.to_string(), "the input has 102 tokens; at most 64 are allowed");
}

#[test]
fn the_longest_texts_are_cut_first_and_say_so() {
    let input = json!({"a": words(300), "b": words(20), "c": [words(200)], "n": 7});
    let fitted = budget(200, Over::Truncate, &[]).cut(&Json::from(&input), &Words).unwrap();
    let value = fitted.input.value();
    assert_eq!((&value["b"], &value["n"]), (&input["b"], &json!(7)), "what is short stays whole");
    for cut in [&value["a"], &value["c"][0]] {
        assert!(cut.as_str().unwrap().ends_with(MARK), "{cut}");
    }
    let pointers: Vec<&str> = fitted.cuts.iter().map(|cut| cut.pointer.as_str()).collect();
    assert_eq!(pointers, ["/a", "/c/0"]);
    assert_eq!(fitted.cuts[0].room, fitted.cuts[1].room, "both have the same room");
    assert!(Words.count(fitted.input.as_str()) <= 200);
}

#[test]
fn only_what_may_be_cut_is_cut() {
    let input = Json::from(&json!({"ask": words(60), "text": {"a/b": words(90), "m~n": [words(90)]}}));
    let fitted = budget(150, Over::Truncate, &["/text", "/text/a~1b", "/none"]).cut(&input, &Words).unwrap();
    assert_eq!(fitted.input.value()["ask"], input.value()["ask"]);
    assert_eq!(fitted.cuts.len(), 2, "each once: {:?}", fitted.cuts);
    let error = budget(70, Over::Truncate, &["/text"]).cut(&input, &Words).unwrap_err();
    assert!(error.to_string().ends_with("and what may not be cut of it is too long"), "{error}");
}

#[test]
fn what_somebody_else_is_to_summarise_is_named_with_its_room() {
    let by = Name::new("text.shorten").unwrap();
    let excess = budget(100, Over::Summarize { by }, &["/text"])
        .excess(&Json::from(&json!({"text": words(500)})), &Words)
        .unwrap();
    let [Excess { pointer, tokens, room }] = &excess[..] else { panic!("{excess:?}") };
    assert_eq!((pointer.as_str(), *tokens), ("/text", 500));
    assert!((60..100).contains(room), "{room}");
}

#[test]
fn a_declaration_says_what_is_wrong_with_it() {
    let declare = |max, encoding, over, by: Option<&str>, fields: &[&str]| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        ContextBudget::declare(max, encoding, over, by.map(|by| Name::new(by).unwrap()), fields)
    };
    assert_eq!(declare(64, "", "truncate", None, &["/a"]), Ok(budget(64, Over::Truncate, &["/a"])));
    for (declared, error) in [
        (declare(63, "", "reject", None, &[]), DeclarationError::MaxTokens),
        (declare(MOST + 1, "", "reject", None, &[]), DeclarationError::MaxTokens),
        (declare(64, "gpt", "reject", None, &[]), DeclarationError::Encoding),
        (declare(64, "", "drop", None, &[]), DeclarationError::Over),
        (declare(64, "", "reject", Some("s"), &[]), DeclarationError::By),
        (declare(64, "", "summarize", None, &[]), DeclarationError::By),
        (declare(64, "", "truncate", None, &["a"]), DeclarationError::Fields),
        (declare(64, "", "truncate", None, &["/a"; MAX_FIELDS + 1]), DeclarationError::Fields),
    ] {
        assert_eq!(declared, Err(error));
    }
}

fn any_input() -> impl Strategy<Value = Value> {
    let text =
        prop_oneof![(0..120_usize).prop_map(words), "[a-zé\"\\\\\n ]{0,200}", Just("…\u{1F600}".repeat(30)),];
    let leaf = prop_oneof![4 => text.prop_map(Value::from), 1 => any::<i32>().prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c~/]{1,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn without_texts(value: &Value) -> Value {
    match value {
        Value::String(_) => json!(""),
        Value::Array(items) => items.iter().map(without_texts).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, field)| (key.clone(), without_texts(field))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

proptest! {
    #[test]
    fn what_comes_out_fits_and_only_texts_differ(input in any_input(), max_tokens in FEWEST..400) {
        let json = Json::from(&input);
        match budget(max_tokens, Over::Truncate, &[]).cut(&json, &Words) {
            Ok(fitted) => {
                prop_assert!(Words.count(fitted.input.as_str()) <= max_tokens as usize);
                prop_assert_eq!(without_texts(&fitted.input.value()), without_texts(&input));
                prop_assert_eq!(fitted.cuts.is_empty(), fitted.input.as_str() == json.as_str());
                for cut in &fitted.cuts {
                    let (before, after) = (input.pointer(&cut.pointer).unwrap(), fitted.input.value());
                    let kept = after.pointer(&cut.pointer).unwrap().as_str().unwrap().strip_suffix(MARK).unwrap();
                    prop_assert!(before.as_str().unwrap().starts_with(kept));
                }
            }
            Err(error) => prop_assert!(error.tokens > max_tokens as usize),
        }
    }
}
