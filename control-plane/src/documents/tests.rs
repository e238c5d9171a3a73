use mainstay_kernel::time::Wall;
use mainstay_kernel::workflow::Workflow;
use mainstay_store::MemoryStore;

use super::*;
use crate::testbed::name;

fn document(name: &str, version: u32) -> String {
    format!("name: {name}\nversion: {version}\nsteps:\n  - id: a\n    call: {{ capability: work }}\n")
}

struct Shelf(MemoryStore, Blobs);

impl Shelf {
    /// A catalogue that has read nothing yet.
    fn open(&self) -> Handle<Workflow> {
        Handle::new(Clock::anchored(Wall::default(), 1), Arc::new(self.0.clone()), self.1.clone())
    }
}

fn shelf() -> Shelf {
    Shelf(MemoryStore::new(), Blobs::in_memory())
}

async fn put(catalog: &Handle<Workflow>, version: u32) -> Result<Put, PutError> {
    catalog.put(&name("default"), &document("w", version)).await
}

fn newest(catalog: &Handle<Workflow>) -> u32 {
    catalog.resolve(&name("default"), &name("w"), None).unwrap().version()
}

#[tokio::test]
async fn a_version_is_stored_once_and_never_changes() {
    let shelf = shelf();
    let catalog = shelf.open();
    assert!(put(&catalog, 1).await.unwrap().created);
    assert!(!put(&catalog, 1).await.unwrap().created, "the very same again");
    let other = document("w", 1).replace("work", "rest");
    let taken = catalog.put(&name("default"), &other).await;
    assert!(matches!(taken, Err(PutError::VersionTaken { version: 1, .. })));
    let stored = shelf.open().stored(&name("default"), &name("w"), Some(1)).unwrap();
    assert_eq!(shelf.open().document(&stored).unwrap(), document("w", 1));
}

#[tokio::test]
async fn the_newest_version_is_the_highest_whichever_was_put_last() {
    let shelf = shelf();
    let catalog = shelf.open();
    put(&catalog, 5).await.unwrap();
    assert_eq!(newest(&catalog), 5);
    put(&catalog, 3).await.unwrap();
    assert_eq!(newest(&catalog), 5);
    put(&catalog, 7).await.unwrap();
    assert_eq!(newest(&catalog), 7);
    // After a restart, with an old version put before anything was asked for.
    let catalog = shelf.open();
    put(&catalog, 6).await.unwrap();
    assert_eq!(newest(&catalog), 7);
}

#[tokio::test]
async fn what_is_in_memory_needs_no_disk_and_what_is_not_is_read() {
    let shelf = shelf();
    put(&shelf.open(), 1).await.unwrap();
    let catalog = shelf.open();
    let cached = |version| catalog.cached(&name("default"), &name("w"), version);
    assert!(cached(None).is_none() && cached(Some(1)).is_none());
    assert_eq!(newest(&catalog), 1);
    assert!(cached(None).is_some() && cached(Some(1)).is_some());
    let missing = catalog.resolve(&name("default"), &name("w"), Some(2));
    assert!(matches!(missing, Err(CatalogError::NotFound { version: Some(2), .. })));
}

#[tokio::test]
async fn a_damaged_version_is_named_as_such_and_hides_no_other_workflow() {
    let shelf = shelf();
    let catalog = shelf.open();
    for name_of in ["a", "b", "c"] {
        catalog.put(&name("default"), &document(name_of, 1)).await.unwrap();
    }
    shelf.0.damage(&Workflow::KIND.keys.key("default", "b", 1));
    let catalog = shelf.open();
    let listed = catalog.list(&name("default"), None, 10).unwrap();
    assert_eq!(listed.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let damaged = catalog.resolve(&name("default"), &name("b"), None);
    assert!(matches!(damaged, Err(CatalogError::Damaged(_))));
}

#[tokio::test]
async fn a_list_goes_on_behind_a_name() {
    let shelf = shelf();
    let catalog = shelf.open();
    for name_of in ["a", "a.b", "b"] {
        for version in 1..=3 {
            catalog.put(&name("default"), &document(name_of, version)).await.unwrap();
        }
    }
    let names = |after, limit| {
        let listed = catalog.list(&name("default"), after, limit).unwrap();
        listed.iter().map(|w| (w.name.to_string(), w.version)).collect::<Vec<_>>()
    };
    let all = [("a".to_owned(), 3), ("a.b".to_owned(), 3), ("b".to_owned(), 3)];
    assert_eq!(names(None, 10), all);
    assert_eq!(names(Some("a"), 1), all[1..2]);
    assert!(names(Some("b"), 10).is_empty());
}
