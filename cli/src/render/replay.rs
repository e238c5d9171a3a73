//! A replay, as lines.

use mainstay_kernel::replay::Would;
use serde_json::Value;

use super::paint::{Tone, paint};
use super::text::{plain, short};
use crate::console::Style;
use crate::view::replay::{BeyondView, DifferenceView, ReplayView};

/// Most characters of a payload: people look for what differs, programs ask for JSON.
const MAX_CHARS: usize = 400;

/// Whether it is the same, and where not.
#[must_use]
pub fn result(view: &ReplayView, style: Style) -> String {
    let mut text = format!("{}  {}", paint(&plain(&view.run_id), Tone::Strong, style), plain(&view.recorded));
    if view.replayed != view.recorded {
        text += &format!(" replayed with {}", plain(&view.replayed));
    }
    let Some(difference) = &view.difference else {
        return text + &format!("\n{}: all {} events\n", paint("same", Tone::Good, style), view.events);
    };
    text += &format!(
        "\n{} at event {} of {}",
        paint("different", Tone::Bad, style),
        difference.event,
        view.events
    );
    text += &first(difference);
    view.beyond.iter().fold(text, |text, beyond| text + &after(beyond))
}

fn first(it: &DifferenceView) -> String {
    let step = it.step.as_ref().map(|step| format!(", step {}", plain(step))).unwrap_or_default();
    let mut text = format!("{step}, {}\n", it.at);
    if let Some(field) = &it.field {
        text += &format!("  {}\n", plain(&field.path));
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), cut);
        text += &format!("    recorded  {}\n    now       {}\n", value(&field.recorded), value(&field.now));
    } else {
        text += &format!("    recorded  {}\n    now       {}\n", side(&it.recorded), side(&it.now));
    }
    text
}

/// A side in words: what kind of event, and what it says.
fn side(side: &Value) -> String {
    let event = side.get("event").and_then(Value::as_object).and_then(|event| event.iter().next());
    match (event, side.get("call"), side.get("nothing").and_then(Value::as_str)) {
        (Some((kind, inside)), ..) => format!("{} {}", plain(kind), cut(inside)),
        (_, Some(call), _) => format!("calls {}", cut(call)),
        (_, _, Some(why)) => plain(why).into_owned(),
        (None, None, None) => cut(side),
    }
}

fn after(beyond: &BeyondView) -> String {
    let mut text = "from there:\n".to_owned();
    for would in &beyond.would {
        text += &match would {
            Would::Call { step, capability, input } => {
                format!(
                    "  would call {capability} ({step}) with {}\n",
                    plain(&short(input.as_str(), MAX_CHARS))
                )
            }
            Would::FindOut { step } => {
                format!("  would find out ({step}): what is offered, or where it goes\n")
            }
            Would::Ask { step, question } => format!("  would ask ({step}): {}\n", plain(question)),
        };
    }
    for step in &beyond.unused {
        text += &format!("  the answer of {} is not asked for\n", plain(step));
    }
    for refused in &beyond.refused {
        text += &format!("  not taken: {}\n", plain(refused));
    }
    match (&beyond.end, &beyond.output) {
        (Some(end), Some(output)) => {
            text + &format!("  ends {end}: {}\n", plain(&short(output.text(), MAX_CHARS)))
        }
        (Some(end), None) => text + &format!("  ends {end}\n"),
        (None, _) => text + "  what follows is not on record\n",
    }
}

fn cut(value: &Value) -> String {
    plain(&short(&value.to_string(), MAX_CHARS)).into_owned()
}
