//! The store in a directory, by itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use midil_auth::store::{EncryptionKey, FileStore, Store, StoreErrorKind, StoreKey};
use tokio::task::JoinSet;

use super::{Dir, record};

fn key(name: &str) -> StoreKey {
    StoreKey::of_source(name)
}

fn path(dir: &Dir, key: &StoreKey) -> PathBuf {
    dir.0.join(key.to_string())
}

async fn version(store: &FileStore, key: &StoreKey) -> Option<u64> {
    let loaded = store.load(key).await.expect("loaded");
    loaded.map(|record| record.version())
}

async fn refusal(store: &FileStore, key: &StoreKey) -> StoreErrorKind {
    store.load(key).await.expect_err("of no use").kind()
}

#[tokio::test]
async fn what_is_saved_is_loaded_by_the_next_process() {
    let dir = Dir::new("saved");
    let ours = key("ours");
    assert_eq!(version(&dir.store(), &ours).await, None);
    dir.store()
        .save(&ours, record(1, 5, 10))
        .await
        .expect("saved");
    let loaded = dir.store().load(&ours).await.expect("loaded");
    assert_eq!(loaded, Some(record(1, 5, 10)));
    assert_eq!(version(&dir.store(), &key("other")).await, None);
    dir.store().remove(&ours, 1).await.expect("removed");
    assert_eq!(version(&dir.store(), &ours).await, None);
    dir.store()
        .remove(&ours, 1)
        .await
        .expect("nothing to remove");
}

#[tokio::test]
async fn an_older_record_never_takes_the_place_of_a_newer_one() {
    let dir = Dir::new("older");
    let (store, ours) = (dir.store(), key("ours"));
    for (saved, there) in [(5, 5), (3, 5), (5, 5), (6, 6), (1, 6)] {
        store.save(&ours, record(saved, 0, 1)).await.expect("saved");
        assert_eq!(version(&store, &ours).await, Some(there));
    }
    store.remove(&ours, 5).await.expect("not ours to remove");
    assert_eq!(version(&store, &ours).await, Some(6));
    store.remove(&ours, 6).await.expect("removed");
    assert_eq!(version(&store, &ours).await, None);
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new("mode");
    let store = FileStore::new(dir.0.join("a/b"), EncryptionKey::from_bytes([1; 32]));
    let store = store.expect("made with its parents");
    store
        .save(&key("ours"), record(1, 0, 1))
        .await
        .expect("saved");
    let mode = |path: PathBuf| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(dir.0.join("a/b")), 0o700);
    let files = fs::read_dir(dir.0.join("a/b")).expect("a directory");
    let files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 2, "the record and the lock: {files:?}");
    assert!(files.into_iter().all(|file| mode(file) == 0o600));

    for (mode, problem) in [
        (0o777, Some("by others")),
        (0o720, Some("by others")),
        (0o755, None),
    ] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("set");
        let made = FileStore::new(&dir.0, EncryptionKey::from_bytes([1; 32]));
        assert_eq!(made.is_err(), problem.is_some(), "{mode:o}");
        if let (Err(error), Some(problem)) = (made, problem) {
            assert_eq!(error.field(), "store directory");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
    let file = dir.0.join("file");
    fs::write(&file, "").expect("written");
    for place in [file.clone(), file.join("below")] {
        let made = FileStore::new(place, EncryptionKey::from_bytes([1; 32]));
        assert!(made.is_err());
    }
}

#[tokio::test]
async fn a_torn_file_is_refused_at_every_length_and_overwritten() {
    let dir = Dir::new("torn");
    let (store, ours) = (dir.store(), key("ours"));
    store.save(&ours, record(9, 7, 40)).await.expect("saved");
    let whole = fs::read(path(&dir, &ours)).expect("read");
    for length in 0..whole.len() {
        fs::write(path(&dir, &ours), &whole[..length]).expect("torn");
        assert_eq!(
            refusal(&store, &ours).await,
            StoreErrorKind::Corrupt,
            "{length}"
        );
    }
    // What cannot be read stands in nobody's way, however old the newcomer is.
    store.save(&ours, record(1, 7, 40)).await.expect("saved");
    assert_eq!(version(&store, &ours).await, Some(1));
    fs::write(path(&dir, &ours), b"").expect("torn");
    store.remove(&ours, 0).await.expect("removed");
    assert_eq!(version(&store, &ours).await, None);
}

#[tokio::test]
async fn a_draft_that_a_killed_process_left_is_neither_read_nor_in_the_way() {
    let dir = Dir::new("draft");
    let (store, ours) = (dir.store(), key("ours"));
    store.save(&ours, record(1, 1, 40)).await.expect("saved");
    let whole = fs::read(path(&dir, &ours)).expect("read");
    for length in [0, 1, whole.len() / 2, whole.len()] {
        fs::write(path(&dir, &ours).with_extension("tmp"), &whole[..length]).expect("a draft");
        assert!(version(&store, &ours).await.is_some());
        let newer = u64::try_from(length).expect("small") + 2;
        store
            .save(&ours, record(newer, 1, 40))
            .await
            .expect("saved");
        assert_eq!(version(&store, &ours).await, Some(newer));
        assert_eq!(dir.files().len(), 1, "no draft is left");
    }
}

#[tokio::test]
async fn another_key_and_another_credential_are_told_from_a_torn_file() {
    let dir = Dir::new("foreign");
    let (ours, theirs) = (key("ours"), key("theirs"));
    dir.store()
        .save(&ours, record(1, 0, 9))
        .await
        .expect("saved");
    dir.store()
        .save(&theirs, record(2, 0, 9))
        .await
        .expect("saved");
    assert_eq!(
        refusal(&dir.store_with(2), &ours).await,
        StoreErrorKind::WrongKey
    );
    fs::copy(path(&dir, &theirs), path(&dir, &ours)).expect("swapped");
    assert_eq!(refusal(&dir.store(), &ours).await, StoreErrorKind::Corrupt);
    let mut newer = fs::read(path(&dir, &theirs)).expect("read");
    newer[7] += 1;
    fs::write(path(&dir, &theirs), newer).expect("written");
    assert_eq!(
        refusal(&dir.store(), &theirs).await,
        StoreErrorKind::UnknownFormat
    );
    fs::write(path(&dir, &theirs), vec![0; 18 * 1024 * 1024]).expect("written");
    assert_eq!(
        refusal(&dir.store(), &theirs).await,
        StoreErrorKind::Corrupt
    );
    // The next process with that key goes on with a record of its own.
    dir.store_with(2)
        .save(&ours, record(1, 0, 9))
        .await
        .expect("saved");
    assert_eq!(version(&dir.store_with(2), &ours).await, Some(1));
}

#[tokio::test]
async fn a_record_that_is_too_large_or_a_directory_that_is_gone_is_an_error() {
    let dir = Dir::new("large");
    let (store, ours) = (dir.store(), key("ours"));
    let error = store.save(&ours, record(1, 0, 18 * 1024 * 1024)).await;
    assert!(error.expect_err("too large").to_string().contains("larger"));
    fs::remove_dir_all(&dir).expect("removed");
    assert_eq!(version(&store, &ours).await, None);
    let error = store.save(&ours, record(1, 0, 1)).await.expect_err("gone");
    assert!(error.is_transient() && std::error::Error::source(&error).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_concurrent_saves_the_newest_stays() {
    let dir = Dir::new("crowd");
    let ours = key("ours");
    let mut saves = JoinSet::new();
    for n in 1..=100_u8 {
        // Half of them by stores that know nothing of each other, as processes do not.
        let (store, ours) = (dir.store(), ours.clone());
        let version = u64::from(n.reverse_bits());
        saves.spawn(async move { store.save(&ours, record(version, n, 2000)).await });
    }
    while let Some(saved) = saves.join_next().await {
        saved.expect("no panic").expect("saved");
    }
    let newest = (1..=100_u8).max_by_key(|n| n.reverse_bits()).expect("some");
    let loaded = dir.store().load(&ours).await.expect("loaded");
    assert_eq!(
        loaded,
        Some(record(u64::from(newest.reverse_bits()), newest, 2000))
    );
    assert_eq!(dir.files().len(), 1);
}

/// Where a process that this test starts is to write; absent in the test itself.
const WRITE_TO: &str = "MIDIL_STORE_TEST_DIR";

#[tokio::test]
async fn whoever_is_killed_while_writing_leaves_a_whole_record() {
    let (length, ours) = (200_000, key("ours"));
    if let Ok(dir) = std::env::var(WRITE_TO) {
        let store = FileStore::new(dir, EncryptionKey::from_bytes([1; 32])).expect("a store");
        let first = version(&store, &ours).await.unwrap_or_default() + 1;
        // Long enough to be killed, and not for ever if nobody does.
        for n in first..first + 50_000 {
            let [fill, ..] = n.to_le_bytes();
            store
                .save(&ours, record(n, fill, length))
                .await
                .expect("saved");
        }
    }
    let dir = Dir::new("killed");
    let store = dir.store();
    let mut last = 0;
    for round in 0..12_u64 {
        let mut writer = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "files::whoever_is_killed_while_writing_leaves_a_whole_record",
            ])
            .env(WRITE_TO, &dir.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a writer");
        let begun = version(&store, &ours).await;
        while version(&store, &ours).await == begun {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        writer.kill().expect("killed");
        writer.wait().expect("gone");
        let left = store.load(&ours).await.expect("whole").expect("there");
        let [fill, ..] = left.version().to_le_bytes();
        assert!(left.version() > last);
        assert_eq!(left, record(left.version(), fill, length));
        last = left.version();
    }
    // Its turn to write died with it.
    store
        .save(&ours, record(last + 1, 0, 1))
        .await
        .expect("saved");
    assert_eq!(version(&store, &ours).await, Some(last + 1));
    assert_eq!(dir.files().len(), 1);
}
