use mainstay_proto::fault::Fault;
use tonic::transport::Endpoint;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn registration(seed: u64) -> Registration {
    let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    Registration::new(channel, "there".to_owned(), pb::RegisterRequest::default(), Dice::seeded(seed))
}

fn refusal(reason: Reason) -> Status {
    Fault::new(reason, "no").into()
}

fn granted() -> pb::RegisterResponse {
    let lease_id = format!("lse_{:032x}", 7);
    let renew_every = Some(time::duration(4 * SECOND));
    pb::RegisterResponse { lease_id, renew_every, ..Default::default() }
}

#[tokio::test]
async fn waits_for_an_absent_control_plane_grow_up_to_a_ceiling_and_are_spread_below_it() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut registration = registration(seed);
        let away = Status::unavailable("gone");
        waits.push((0..10).map(|_| registration.failed(&away)).collect::<Vec<_>>());
    }
    for attempt in 0..10_u32 {
        let ceiling = (FIRST_WAIT * 2_u32.pow(attempt)).min(LONGEST_WAIT);
        let nth: Vec<Duration> = waits.iter().map(|waits| waits[attempt as usize]).collect();
        assert!(nth.iter().all(|wait| *wait < ceiling), "attempt {attempt} waits below {ceiling:?}");
        let late = nth.iter().filter(|wait| **wait > ceiling / 2).count();
        assert!(
            (60..140).contains(&late),
            "full jitter: about half of them in the upper half, but {late} of 200"
        );
    }
}

#[tokio::test]
async fn the_server_s_own_delay_is_added_to_the_wait() {
    let busy = Fault::new(Reason::Overloaded, "herd").retry_after(3 * SECOND).into();
    let wait = registration(1).failed(&busy);
    assert!((3 * SECOND..3 * SECOND + FIRST_WAIT).contains(&wait), "{wait:?}");
}

#[tokio::test]
async fn success_forgets_the_failures_and_renewals_come_a_little_early() {
    for seed in 0..50 {
        let mut registration = registration(seed);
        for _ in 0..9 {
            let _ = registration.failed(&Status::unavailable("gone"));
        }
        let wait = registration.registered(granted());
        assert!((3 * SECOND..=4 * SECOND).contains(&wait), "{wait:?}");
        assert!(registration.failed(&Status::unavailable("gone")) < FIRST_WAIT);
    }
}

#[tokio::test]
async fn what_only_time_or_a_person_can_mend_is_tried_again_slowly() {
    let mut registration = registration(1);
    let held = registration.failed(&refusal(Reason::InstanceHeld));
    assert!((HELD_WAIT / 2..HELD_WAIT).contains(&held), "{held:?}");
    assert_eq!(registration.mood, Mood::Held);
    for reason in [Reason::AgentInvalid, Reason::AddressRefused, Reason::NameInvalid] {
        let refused = registration.failed(&refusal(reason));
        assert!((REFUSED_WAIT / 2..REFUSED_WAIT).contains(&refused), "{refused:?}");
        assert_eq!(registration.mood, Mood::Refused);
    }
}

#[tokio::test]
async fn an_outage_is_one_mood_however_many_failures_it_has() {
    let mut registration = registration(1);
    let _ = registration.failed(&Status::unavailable("gone"));
    let mood = registration.mood;
    assert!(matches!(mood, Mood::Away(_)));
    let _ = registration.failed(&Status::deadline_exceeded("slow"));
    registration.lost(&Status::unavailable("gone"));
    assert_eq!(registration.mood, mood, "nothing is told twice");
    let _ = registration.registered(granted());
    assert_eq!(registration.mood, Mood::Registered);
}

#[tokio::test]
async fn a_lost_lease_is_presented_at_the_next_registration() {
    let mut registration = registration(1);
    let _ = registration.registered(granted());
    registration.lost(&refusal(Reason::LeaseUnknown));
    assert!(registration.lease.is_none());
    assert_eq!(registration.request.lease_id, granted().lease_id);
    assert_eq!(registration.mood, Mood::Registered, "a restarted control plane is not an outage");
}

#[tokio::test]
async fn a_malformed_lease_or_interval_does_no_harm() {
    let mut registration = registration(1);
    let _ = registration.registered(pb::RegisterResponse { lease_id: "mine".to_owned(), ..granted() });
    assert!(registration.lease.is_none());
    let zero = pb::RegisterResponse { renew_every: Some(time::duration(Duration::ZERO)), ..granted() };
    assert!(registration.registered(zero) >= FASTEST_RENEWAL / 2);
}
