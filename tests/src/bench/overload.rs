//! Five times as many calls as the agents can do: how many are still done, and whose.
//!
//! The agents sleep for as long as they work, so that the places they declare set the capacity and the cores do not: what is
//! measured is who gets a place, and whether any stands empty or is spent on a caller who has gone. A round first keeps all
//! places taken by as many callers as that needs (the peak), then offers five times what was done, at a fixed pace that
//! does not slacken when calls fail. Callers wait a second and do not ask twice: whoever is sent away is lost.
//!
//! A call is good if its answer came before its caller's deadline. What was begun for a caller in vain counts for nothing, so
//! that goodput falls where a queue is longer than its callers' patience. The first second of an overload is left out: the
//! queue fills then, and everybody still gets in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use hdrhistogram::Histogram;
use mainstay_kernel::priority::Priority;
use mainstay_proto::fault::Seen;
use mainstay_proto::{pb, priority};
use pb::operations_client::OperationsClient;
use pb::orchestrator_client::OrchestratorClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::host;
use super::load::{closed_loop, open_loop};
use super::report::{Goal, Report, median};
use super::rig::{Offer, Rig, http, payload};

/// Bytes of JSON in each direction.
const PAYLOAD: usize = 1024;

/// What everybody asks for.
const WORK: &str = "bench.work";

/// Instances that do it, and calls that each takes at once.
const INSTANCES: u32 = 4;
const PLACES: u32 = 10;

/// How long a call takes an agent. With forty places that makes some four hundred calls a second, and five times as many
/// are still far from what two cores carry.
const TAKES: Duration = Duration::from_millis(100);

/// How long a caller waits: ten times what a call takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many times the peak is offered.
const TIMES: f64 = 5.0;

/// Callers of a peak: twice as many as there are places, so that none stands empty between two calls.
const AT_PEAK: usize = 80;

/// Connections: each carries 128 calls at once, and at most two seconds' worth of capacity waits.
const CONNECTIONS: usize = 16;

/// How urgent each of ten calls is: half of the capacity is asked for by those that must not fail, twice the capacity by what
/// the system is built to carry, and two and a half times by what may be shed.
const MIX: [Priority; 10] = {
    use Priority::{Critical, CriticalPlus, Sheddable, SheddablePlus};
    [
        CriticalPlus,
        Critical,
        Sheddable,
        Critical,
        SheddablePlus,
        Critical,
        Sheddable,
        Critical,
        SheddablePlus,
        Sheddable,
    ]
};

/// How often a second an operator asks for the mode, on a connection of their own.
const OPERATOR: u32 = 20;

/// Measures it.
///
/// # Errors
/// If a process does not start, or an operator is not answered.
pub async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut rig = Rig::with_control_plane().await?;
    let millis = TAKES.as_millis().to_string();
    let at = rig.helper("agent", "bench.work-agent", &[&millis]).await?;
    let adapter = http(at.first().context("an address")?);
    for number in 1..=INSTANCES {
        let name = format!("bench.worker-{number}");
        let offer = Offer { capability: WORK, max_concurrency: PLACES, ..Offer::new(&name, &adapter) };
        rig.sidecar(offer).await?;
    }
    let server = rig.control_plane.as_ref().context("a control plane")?.id();
    let callers = Callers::connect(&rig).await?;
    let (rounds, peak, storm) = if quick { (2, 2, 6) } else { (5, 4, 10) };
    let (peak, storm) = (Duration::from_secs(peak), Duration::from_secs(storm));
    // Warm: connections, what the agents' latencies are known by, and the memory that an overload takes.
    let capacity = callers.peak(peak).await?;
    callers.storm(capacity, storm / 2).await?;
    let (memory, cpu) = (host::resident_mib(server)?, host::cpu(server)?);
    let began = host::now();
    let (mut peaks, mut storms) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let capacity = callers.peak(peak).await?;
        storms.push(callers.storm(capacity, storm).await?);
        peaks.push(capacity);
    }
    let after = host::resident_mib(server)?;
    let mut report = Report::new("overload");
    let goodput = storms.iter().zip(&peaks).map(|(storm, peak)| storm.goodput / peak);
    report.ratio("goodput", median(goodput), Goal::AtLeast(0.9));
    let urgent = storms.iter().map(|storm| storm.tally.served(Priority::CriticalPlus));
    report.ratio("high_priority_served", median(urgent), Goal::AtLeast(0.99));
    let all = Tally::sum(&storms);
    report.ratio("refusals_that_say_when", all.refusals_that_say_when(), Goal::AtLeast(1.0));
    report.ratio("memory", after / memory, Goal::AtMost(1.1));
    report.figure("memory_before_mib", memory);
    report.figure("memory_after_mib", after);
    report.figure("cores", (host::cpu(server)? - cpu).as_secs_f64() / began.elapsed().as_secs_f64());
    report.figure("peak_rps", median(peaks.iter().copied()));
    report.figure("goodput_rps", median(storms.iter().map(|storm| storm.goodput)));
    report.figure("offered_rps", median(storms.iter().map(|storm| storm.offered)));
    report.figure("high_priority_p99_us", median(storms.iter().map(|storm| storm.urgent_p99_micros)));
    report.figure("operator_p99_us", median(storms.iter().map(|storm| storm.operator_p99_micros)));
    for urgency in Priority::ALL {
        report.figure(format!("served_{urgency}"), all.served(urgency));
    }
    for end in End::ALL {
        report.figure(format!("share_{}", end.as_str()), all.share(end));
    }
    Ok(report)
}

/// What one overload came to.
#[derive(Debug)]
struct Storm {
    /// Good answers a second.
    goodput: f64,
    /// Calls a second.
    offered: f64,
    urgent_p99_micros: f64,
    operator_p99_micros: f64,
    tally: Tally,
}

/// What is noted of an overload while it goes on.
struct Book {
    /// Good answers of the time that counts.
    good: u64,
    /// Microseconds that the most urgent took.
    urgent: Histogram<u64>,
    tally: Tally,
}

/// How calls ended, by urgency.
#[derive(Debug, Clone, Default)]
struct Tally(BTreeMap<(Priority, End), u64>);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// With an answer.
    Served,
    /// Sent away, and told when to come again.
    Refused,
    /// Sent away, and not told.
    RefusedWithoutDelay,
    /// After its caller's deadline.
    TooLate,
    /// Otherwise.
    Failed,
}

/// Who calls.
struct Callers {
    clients: Vec<OrchestratorClient<Channel>>,
    operator: OperationsClient<Channel>,
    body: Bytes,
}

impl Callers {
    async fn connect(rig: &Rig) -> anyhow::Result<Self> {
        let clients = try_join_all((0..CONNECTIONS).map(|_| rig.orchestrator())).await?;
        Ok(Self { clients, operator: OperationsClient::new(rig.channel().await?), body: payload(PAYLOAD) })
    }

    /// How many calls a second are done while all places are taken.
    async fn peak(&self, time: Duration) -> anyhow::Result<f64> {
        let next = RefCell::new(self.clients.iter().cycle());
        let load = closed_loop(AT_PEAK, time, || async {
            let client = next.borrow_mut().next().context("a connection")?.clone();
            let ended = call(client, Priority::default(), &self.body).await;
            anyhow::ensure!(ended == End::Served, "a call at the peak was {}", ended.as_str());
            Ok(())
        });
        Ok(load.await?.per_second)
    }

    /// Offers [`TIMES`] as many as can be done.
    async fn storm(&self, capacity: f64, time: Duration) -> anyhow::Result<Storm> {
        let began = host::now();
        let counts = (began + PATIENCE, began + time);
        let book = RefCell::new(Book::new()?);
        let mut calls = self.clients.iter().cycle().zip(MIX.into_iter().cycle());
        let offered = open_loop((TIMES * capacity) as u32, time, || {
            let next = calls.next();
            let book = &book;
            async move {
                let (client, urgency) = next.context("a connection")?;
                let started = host::now();
                let end = call(client.clone(), urgency, &self.body).await;
                book.borrow_mut().note(urgency, end, started, counts)
            }
        });
        let operator = open_loop(OPERATOR, time, || async {
            let mut request = Request::new(pb::GetModeRequest {});
            request.set_timeout(PATIENCE);
            self.operator.clone().get_mode(request).await.context("an operator is not answered")?;
            Ok(())
        });
        let (offered, operator) = try_join(offered, operator).await?;
        let Book { good, urgent, tally } = book.into_inner();
        Ok(Storm {
            goodput: good as f64 / (time - PATIENCE).as_secs_f64(),
            offered: offered.per_second,
            urgent_p99_micros: urgent.value_at_quantile(0.99) as f64,
            operator_p99_micros: operator.p99_micros,
            tally,
        })
    }
}

async fn call(mut client: OrchestratorClient<Channel>, urgency: Priority, body: &Bytes) -> End {
    let request =
        pb::InvokeRequest { capability: WORK.to_owned(), input: body.clone(), ..Default::default() };
    let mut request = Request::new(request);
    request.set_timeout(PATIENCE);
    priority::set(&mut request, urgency);
    match client.invoke(request).await {
        Ok(_) => End::Served,
        Err(status) => End::of(&status),
    }
}

impl Book {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { good: 0, urgent: Histogram::new(3)?, tally: Tally::default() })
    }

    /// A call ended; good is what ends between the two `counts`.
    fn note(
        &mut self,
        urgency: Priority,
        end: End,
        started: Instant,
        counts: (Instant, Instant),
    ) -> anyhow::Result<()> {
        let ended = host::now();
        *self.tally.0.entry((urgency, end)).or_default() += 1;
        if end == End::Served && (counts.0..counts.1).contains(&ended) {
            self.good += 1;
        }
        if end == End::Served && urgency == Priority::CriticalPlus {
            self.urgent.record(u64::try_from((ended - started).as_micros())?)?;
        }
        Ok(())
    }
}

impl Tally {
    fn sum(storms: &[Storm]) -> Self {
        let mut sum = Self::default();
        for (key, count) in storms.iter().flat_map(|storm| &storm.tally.0) {
            *sum.0.entry(*key).or_default() += count;
        }
        sum
    }

    /// The share that was served, of the calls so urgent.
    fn served(&self, urgency: Priority) -> f64 {
        self.part(|(of, _)| *of == urgency, |(_, end)| *end == End::Served)
    }

    /// The share of all calls that ended so.
    fn share(&self, ended: End) -> f64 {
        self.part(|_| true, |(_, end)| *end == ended)
    }

    fn refusals_that_say_when(&self) -> f64 {
        let refused = |end: End| matches!(end, End::Refused | End::RefusedWithoutDelay);
        self.part(|(_, end)| refused(*end), |(_, end)| *end == End::Refused)
    }

    fn part(&self, whole: impl Fn(&(Priority, End)) -> bool, part: impl Fn(&(Priority, End)) -> bool) -> f64 {
        let count = |of: &dyn Fn(&(Priority, End)) -> bool| -> u64 {
            self.0.iter().filter(|(key, _)| of(key)).map(|(_, count)| *count).sum()
        };
        count(&|key| whole(key) && part(key)) as f64 / count(&whole).max(1) as f64
    }
}

impl End {
    const ALL: [Self; 5] =
        [Self::Served, Self::Refused, Self::RefusedWithoutDelay, Self::TooLate, Self::Failed];

    fn of(status: &Status) -> Self {
        match status.code() {
            Code::ResourceExhausted if Seen::of(status).retry_after.is_some() => Self::Refused,
            Code::ResourceExhausted => Self::RefusedWithoutDelay,
            // The transport says "cancelled" of a request whose deadline it saw pass itself.
            Code::DeadlineExceeded | Code::Cancelled => Self::TooLate,
            Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Self::Failed,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Refused => "refused",
            Self::RefusedWithoutDelay => "refused_without_delay",
            Self::TooLate => "too_late",
            Self::Failed => "failed",
        }
    }
}
