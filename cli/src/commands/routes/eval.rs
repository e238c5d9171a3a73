//! `mainstay routes eval`: scores a routing document by a labelled set.

use clap::Args;
use mainstay_proto::pb;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{Client, within};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::evaluation::EvaluationView;
use crate::{input, render};

/// Requests sent in one message; as many as the server takes.
const BATCH: usize = 1_000;
/// How long all of it may take: a hundred thousand requests, and a classifier to be learned before.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// Flags of `routes eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The labelled set, one JSON object a line: `{"text": "…", "expect": "CAPABILITY"}`; - is standard input
    pub(crate) file: String,
    /// The routing document
    #[arg(long, value_name = "NAME")]
    route: String,
    /// Its version [default: the newest]
    #[arg(long = "version", value_name = "N", default_value_t = 0, hide_default_value = true)]
    revision: u32,
    /// Exit with 1 if a smaller share of all requests is decided rightly, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_accuracy: Option<f64>,
}

/// A line of the set. What a request is, `input` says, or `text` for `{"text": …}`; `expect` is `null` where no capability is
/// meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    text: Option<String>,
    input: Option<Box<RawValue>>,
    #[serde(default)]
    labels: std::collections::HashMap<String, String>,
    #[serde(deserialize_with = "Option::deserialize")]
    expect: Option<String>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "is no number from 0 to 1".to_owned())
}

/// The labelled requests in a file.
pub(crate) fn read(file: &str) -> Result<Vec<pb::LabelledRequest>, Failure> {
    let text = input::document(file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| labelled(line).map_err(|why| refused(file, at + 1, &why))).collect()
}

fn labelled(line: &str) -> Result<pb::LabelledRequest, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let input = match (line.input, line.text) {
        (Some(input), None) => input.get().to_owned(),
        (None, Some(text)) => serde_json::json!({ "text": text }).to_string(),
        _ => return Err("needs either `text` or `input`".to_owned()),
    };
    Ok(pb::LabelledRequest {
        input: input.into(),
        labels: line.labels,
        expected: line.expect.unwrap_or_default(),
    })
}

fn refused(file: &str, line: usize, why: &str) -> Failure {
    Failure::new(Exit::Refused, format!("{file}:{line}: {why}"))
        .hint("write one JSON object a line, like {\"text\": \"where is my parcel\", \"expect\": \"shipping.track\"}")
}

pub(crate) async fn run(
    args: EvalArgs,
    labelled: Vec<pb::LabelledRequest>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    if labelled.is_empty() {
        return Err(Failure::new(Exit::Refused, format!("{}: holds no request", args.file)));
    }
    let (tenant, route) = (client.tenant(), args.route.clone());
    let messages: Vec<_> = labelled
        .chunks(BATCH)
        .map(|requests| pb::EvaluateRoutesRequest {
            tenant: tenant.clone(),
            route: route.clone(),
            version: args.revision,
            requests: requests.to_vec(),
        })
        .collect();
    let answer = client.routes().evaluate_routes(within(futures::stream::iter(messages), PATIENCE)).await;
    let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
    let view = EvaluationView::from(answer);
    console.show(&view, render::evaluation::table)?;
    match args.min_accuracy {
        Some(least) if view.accuracy < least => Err(Failure::silent(Exit::Badly)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_and_where_it_belongs() {
        let read = labelled(r#"{"text": "where is it", "expect": "shipping.track"}"#).unwrap();
        assert_eq!((&read.input[..], &*read.expected), (&br#"{"text":"where is it"}"#[..], "shipping.track"));
        let read = labelled(r#"{"input": {"amount": 1.0}, "labels": {"a": "b"}, "expect": null}"#).unwrap();
        assert_eq!((&read.input[..], &*read.expected), (&br#"{"amount": 1.0}"#[..], ""));
        for (bad, why) in [
            ("{\"text\": \"a\"}", "expect"),
            ("{\"expect\": null}", "either `text` or `input`"),
            (r#"{"text": "a", "intent": "b", "expect": null}"#, "intent"),
        ] {
            let refused = labelled(bad).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
