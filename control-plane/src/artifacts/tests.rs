use std::time::Duration;

use mainstay_kernel::id::RunId;
use mainstay_store::{Batch, MemoryStore};

use super::*;
use crate::records::{key, loose};

const POLICY: Policy =
    Policy { max_bytes: 8 * PIECE as u64, tenant_bytes: 12 * PIECE as u64, grace: Duration::ZERO };

struct World {
    artifacts: Handle,
    service: Service,
    store: Arc<MemoryStore>,
    blobs: Blobs,
}

fn tenant() -> Name {
    Name::new("acme").unwrap()
}

fn over(store: &Arc<MemoryStore>, blobs: &Blobs, policy: Policy) -> World {
    let state = (Arc::clone(store) as Arc<dyn Store>, blobs.clone());
    let (artifacts, service) = open(Clock::system(), state, policy).unwrap();
    World { artifacts, service, store: Arc::clone(store), blobs: blobs.clone() }
}

fn world() -> World {
    over(&Arc::new(MemoryStore::new()), &Blobs::in_memory(), POLICY)
}

/// Bytes of which no two pieces are alike.
fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|at| (at / PIECE) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

impl World {
    async fn begin(&self, expected: Option<ArtifactId>) -> Result<Upload, PutError> {
        let begun = self.artifacts.put(&tenant(), "text/csv".into(), expected).await?;
        Ok(begun.expect_err("it is not there yet"))
    }

    /// Puts bytes in parts that fit no piece.
    async fn put(&self, bytes: &[u8]) -> Result<Put, PutError> {
        let mut upload = self.begin(None).await?;
        for part in bytes.chunks(700_001) {
            if let Err(error) = upload.write(Bytes::copy_from_slice(part)).await {
                upload.abandon().await;
                return Err(error);
            }
        }
        upload.finish().await
    }

    async fn get(&self, id: ArtifactId, offset: u64) -> Result<Vec<u8>, GetError> {
        let mut reading = self.artifacts.get(&tenant(), id, offset)?;
        let mut read = Vec::new();
        while let Some(part) = reading.next().await? {
            read.extend_from_slice(&part);
        }
        Ok(read)
    }

    /// Removes what is noted as loose, as the retention of runs does; how many blobs are left.
    fn blobs_left(&self) -> usize {
        for (key, entry) in self.store.scan(&loose::prefix(), None, 1000).unwrap().entries {
            for blob in loose::decode(&entry.value).unwrap() {
                self.blobs.remove(blob).unwrap();
            }
            self.store.commit(Batch::new().delete(key)).wait().unwrap();
        }
        (0..=255).map(|first| self.blobs.ids(first).unwrap().len()).sum()
    }

    fn uploads_left(&self) -> usize {
        self.store.scan(&artifact::uploads("acme"), None, 1000).unwrap().entries.len()
    }

    /// Two looks: as often as it takes.
    fn look(&mut self) {
        self.service.look().unwrap();
        self.service.look().unwrap();
    }
}

#[tokio::test]
async fn what_is_put_in_any_parts_is_read_whole_and_from_any_place() {
    let world = world();
    for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5] {
        let given = bytes(count, 1);
        let put = world.put(&given).await.unwrap();
        assert_eq!(put.id, ArtifactId::from_bytes(*blake3::hash(&given).as_bytes()));
        assert_eq!((put.created, put.stored.bytes), (true, count as u64));
        assert_eq!(put.stored.pieces.len(), count.div_ceil(PIECE));
        for offset in [0, count / 2, PIECE.min(count), count] {
            assert_eq!(
                world.get(put.id, offset as u64).await.unwrap(),
                given[offset..],
                "{count} from {offset}"
            );
        }
        let beyond = world.get(put.id, count as u64 + 1).await;
        assert!(matches!(beyond, Err(GetError::Offset { .. })));
    }
    let elsewhere = Name::new("other").unwrap();
    let id = world.put(b"x").await.unwrap().id;
    assert!(matches!(world.artifacts.get(&elsewhere, id, 0), Err(GetError::NotFound(_))));
    assert_eq!((world.uploads_left(), world.artifacts.0.under_way.lock().len()), (0, 0));
}

#[tokio::test]
async fn equal_bytes_are_one_artifact_and_the_second_upload_leaves_nothing() {
    let world = world();
    let given = bytes(PIECE + 9, 2);
    let first = world.put(&given).await.unwrap();
    let (blobs, usage) = (world.blobs_left(), world.artifacts.usage(&tenant()));
    let second = world.put(&given).await.unwrap();
    assert_eq!((second.id, second.created, &second.stored.pieces), (first.id, false, &first.stored.pieces));
    assert_eq!((world.blobs_left(), world.uploads_left()), (blobs, 0));
    assert_eq!(world.artifacts.usage(&tenant()), usage);
    let known = world.artifacts.put(&tenant(), "text/csv".into(), Some(first.id)).await.unwrap();
    assert!(known.is_ok_and(|known| !known.created), "whoever knows the name sends nothing");
}

#[tokio::test]
async fn too_much_is_refused_and_gives_everything_back() {
    let world = world();
    let large = world.put(&bytes(9 * PIECE, 3)).await.unwrap_err();
    assert!(matches!(large, PutError::Refused(Refused::TooLarge { .. })), "{large}");
    world.put(&bytes(8 * PIECE, 4)).await.unwrap();
    let over = world.put(&bytes(5 * PIECE, 5)).await.unwrap_err();
    assert!(matches!(over, PutError::Refused(Refused::OverQuota { .. })), "{over}");
    assert_eq!(world.artifacts.usage(&tenant()), Usage { count: 1, bytes: 8 * PIECE as u64 });
    assert_eq!((world.blobs_left(), world.uploads_left()), (8, 0));
    let again = over_again(&world);
    assert_eq!(again.artifacts.usage(&tenant()), world.artifacts.usage(&tenant()), "also after a restart");
}

fn over_again(world: &World) -> World {
    over(&world.store, &world.blobs, POLICY)
}

#[tokio::test]
async fn other_bytes_than_announced_are_refused() {
    let world = world();
    let other = ArtifactId::from_bytes([7; 32]);
    let mut upload = world.begin(Some(other)).await.unwrap();
    upload.write(Bytes::from_static(b"not those")).await.unwrap();
    let refused = upload.finish().await.unwrap_err();
    assert!(matches!(refused, PutError::Mismatch { expected, .. } if expected == other), "{refused}");
    assert_eq!((world.blobs_left(), world.uploads_left()), (0, 0));
    assert!(world.artifacts.list(&tenant(), None, 10).unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_artifact_is_not_served_and_put_again_it_is_whole() {
    let world = world();
    let given = bytes(2 * PIECE, 6);
    let put = world.put(&given).await.unwrap();
    world.blobs.remove(put.stored.pieces[1]).unwrap();
    let refused = world.get(put.id, 0).await.unwrap_err();
    assert!(matches!(refused, GetError::Damaged(_)), "{refused}");
    let again = world.put(&given).await.unwrap();
    assert_eq!((again.id, again.created), (put.id, true));
    assert_eq!(world.get(put.id, 0).await.unwrap(), given);
    assert_eq!(world.artifacts.usage(&tenant()).bytes, given.len() as u64, "counted once");
    assert_eq!(world.blobs_left(), 2);
}

#[tokio::test]
async fn what_an_upload_left_that_was_killed_is_found_and_removed() {
    let world = world();
    let mut upload = world.begin(None).await.unwrap();
    upload.write(bytes(3 * PIECE, 7).into()).await.unwrap();
    let mut same = over_again(&world);
    assert_eq!((world.uploads_left(), world.blobs_left()), (1, 3));
    let mut own = World { service: Service::new(world.artifacts.clone()), ..over_again(&world) };
    own.look();
    assert_eq!(world.uploads_left(), 1, "one that goes on is left alone");
    // Killed: another process looks, which knows of no upload.
    same.look();
    assert_eq!((world.uploads_left(), world.blobs_left()), (0, 0));
    drop(upload);
    assert_eq!(world.artifacts.usage(&tenant()), Usage::default());
}

#[tokio::test]
async fn an_artifact_stays_while_a_run_names_it_and_goes_on_the_second_look_after() {
    let mut world = world();
    let (named, unnamed) = (world.put(b"named").await.unwrap().id, world.put(b"unnamed").await.unwrap().id);
    let run = RunId::from_bytes([1; 16]);
    let at = artifact::named_key("acme", run, 1);
    let record = artifact::encode_named(&[named]).unwrap();
    world.store.commit(Batch::new().put(at.clone(), record)).wait().unwrap();
    let ids = |world: &World| {
        let listed = world.artifacts.list(&tenant(), None, 10).unwrap();
        listed.into_iter().map(|(id, _)| id).collect::<HashSet<_>>()
    };
    world.service.look().unwrap();
    assert_eq!(ids(&world), HashSet::from([named, unnamed]), "the first look only finds");
    world.service.look().unwrap();
    assert_eq!(ids(&world), HashSet::from([named]));
    world.store.commit(Batch::new().delete(at)).wait().unwrap();
    world.look();
    assert!(ids(&world).is_empty());
    assert_eq!((world.blobs_left(), world.artifacts.usage(&tenant())), (0, Usage::default()));
}

#[tokio::test]
async fn within_its_time_of_grace_nothing_goes_and_an_unreadable_name_keeps_everything() {
    let graceful = Policy { grace: Duration::from_secs(3600), ..POLICY };
    let mut world = over(&Arc::new(MemoryStore::new()), &Blobs::in_memory(), graceful);
    world.put(b"fresh").await.unwrap();
    world.look();
    assert_eq!(world.blobs_left(), 1);
    let mut late = over_again(&world);
    let at = key::of_run("acme", RunId::from_bytes([1; 16]), key::NAMED);
    late.store.commit(Batch::new().put(at.clone(), b"?".to_vec())).wait().unwrap();
    assert!(late.service.look().is_err());
    assert_eq!(late.blobs_left(), 1, "who knows what it names");
}
