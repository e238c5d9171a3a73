//! Whom a caller that makes its calls itself is told of.

use mainstay_kernel::breaker::State as Breaker;
use mainstay_kernel::pause::Target;

use super::*;

fn echoes(bed: &Bed, count: usize) -> Result<Vec<String>, Unresolved> {
    let found = bed.registry.resolve(&name("default"), &name("text.echo"), None, count)?;
    let mut names: Vec<_> = found.iter().map(|candidate| candidate.instance.name.to_string()).collect();
    names.sort();
    Ok(names)
}

#[tokio::test(start_paused = true)]
async fn only_the_healthy_the_closed_and_those_in_service_are_told_of() {
    let bed = Bed::new().await;
    assert!(matches!(echoes(&bed, 1), Err(Unresolved::Nobody)));
    let mut ids = Vec::new();
    for instance in ["well", "sick", "tripped", "paused"] {
        ids.push(bed.registry.register(echo(instance)).await.unwrap().id);
    }
    let Err(Unresolved::NoneReady(reasons)) = echoes(&bed, 9) else { panic!("nobody was polled yet") };
    assert_eq!(reasons.len(), 4);
    for at in [0, 2, 3] {
        bed.healthy(ids[at]);
    }
    let which = Which {
        tenant: name("default"),
        agent: None,
        instance: Some(name("tripped")),
        capability: Some(name("text.echo")),
    };
    let turn = bed.registry.turn_breakers(&which, &Hand::Trip("x".into())).await;
    assert_eq!((turn.breakers.len(), turn.breakers[0].snapshot.state), (1, Breaker::Open));
    let pause = |target| mainstay_kernel::pause::Pause {
        target,
        reason: "x".into(),
        by: String::new(),
        since: bed.clock.wall(),
    };
    let target = Target::Instance { agent: name("echo"), instance: name("paused") };
    bed.registry.pause(&name("default"), pause(target)).await.unwrap();
    assert_eq!(echoes(&bed, 9).unwrap(), ["well"]);
    let other = bed.registry.resolve(&name("default"), &name("text.echo"), Some(&name("other")), 1);
    assert!(matches!(other, Err(Unresolved::Nobody)));
    bed.registry.pause(&name("default"), pause(Target::Agent(name("echo")))).await.unwrap();
    assert!(matches!(echoes(&bed, 9), Err(Unresolved::Paused(_))));
}
