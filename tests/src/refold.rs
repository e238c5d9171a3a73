//! The journal of a run, folded here once more. A server says what a run is; its journal says how it came to be that. Both
//! must say the same, to the byte, and told the same again the kernel must decide the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_kernel::id::RunId;
use mainstay_kernel::replay::replay;
use mainstay_kernel::run::{Event, Run, Transition, WorkflowRef};
use mainstay_kernel::workflow::{Linked, Workflow};
use mainstay_proto::pb;

/// The workflows that runs are pinned to.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<(String, u32), Arc<Workflow>>);

impl Shelf {
    /// Of these documents.
    ///
    /// # Panics
    /// If one of them cannot be read.
    pub fn of<'d>(documents: impl IntoIterator<Item = &'d str>) -> Self {
        let parse = |document| {
            let workflow = Workflow::parse(document).expect("a good workflow");
            ((workflow.name().to_string(), workflow.version()), Arc::new(workflow))
        };
        Self(documents.into_iter().map(parse).collect())
    }

    /// The run that a journal, the records of a run in their order, adds up to.
    ///
    /// # Errors
    /// What is wrong with the journal: it cannot be read, does not read the same when written again, does not add up, or
    /// is not what is decided when it is told once more.
    pub fn fold(&self, id: &str, records: &[impl AsRef<[u8]>]) -> Result<pb::Run, String> {
        let id: RunId = id.parse().map_err(|error| format!("{id}: {error}"))?;
        let mut journal = Vec::new();
        for record in records.iter().map(AsRef::as_ref) {
            let transition: Transition = serde_json::from_slice(record).map_err(|error| error.to_string())?;
            if serde_json::to_vec(&transition).map_err(|error| error.to_string())? != record {
                return Err(format!("{} is written otherwise", String::from_utf8_lossy(record)));
            }
            journal.push(transition);
        }
        let Some((first, rest)) = journal.split_first() else { return Err("it has no journal".to_owned()) };
        let linked = self.linked(first)?;
        let mut run = Run::begin(first, linked.clone(), id).map_err(|error| error.to_string())?;
        for transition in rest {
            run.fold(transition).map_err(|error| error.to_string())?;
        }
        let again = replay(id, &journal, &linked, None).map_err(|error| error.to_string())?;
        match again.difference {
            Some(difference) => Err(format!("told again, it goes another way: {difference:?}")),
            None => Ok(pb::Run::from(&run)),
        }
    }

    /// The workflows that a journal begins with.
    fn linked(&self, first: &Transition) -> Result<Linked, String> {
        let Some(Event::RunStarted { workflow, subs, .. }) = first.events.first() else {
            return Err("its journal does not begin with its start".to_owned());
        };
        let find = |pin: &WorkflowRef| {
            let found = self.0.get(&(pin.name.to_string(), pin.version));
            found.filter(|found| WorkflowRef::of(found) == *pin).cloned().ok_or(format!("{pin:?} is unknown"))
        };
        Ok(Linked::pinned(find(workflow)?, subs.iter().map(find).collect::<Result<_, _>>()?))
    }
}
