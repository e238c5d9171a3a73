use super::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn the_agent_is_cut_at_its_promise_or_a_little_before_its_caller_gives_up() {
    let now = Instant::now();
    let cut_after =
        |sla: Duration, deadline: Option<Duration>| cut_at(now, sla, deadline.map(|d| now + d)) - now;
    assert_eq!(cut_after(500 * MS, None), 500 * MS, "nobody gives up");
    assert_eq!(cut_after(500 * MS, Some(10_000 * MS)), 500 * MS, "the promise comes first");
    assert_eq!(cut_after(500 * MS, Some(100 * MS)), 90 * MS, "a tenth is for the way back");
    assert_eq!(cut_after(60_000 * MS, Some(10_000 * MS)), 9_800 * MS, "but at most 200 ms");
}
