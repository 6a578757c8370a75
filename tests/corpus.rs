//! Replays the inputs in `fuzz/corpus` and `fuzz/regressions` on stable Rust, see `fuzz/README.md`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

#[path = "../fuzz/checks/mod.rs"]
mod checks;

/// Maximum number of files in the corpus; more would be slow to replay.
const MAX_FILES: usize = 700;
/// Maximum size of a file in bytes.
const MAX_FILE_SIZE: u64 = 4096;

macro_rules! targets {
    ($($target:ident)+) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),+];

        $(
            #[test]
            fn $target() {
                replay(stringify!($target), checks::$target);
            }
        )+
    };
}

targets! {
    frames handshake embedded options publish consumer_session lookup snappy_reader inflate_reader
}

/// Runs a check with every input, and fails with the names of those that violate it.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = files(&fuzz().join("corpus").join(target));
    let regressions = files(&fuzz().join("regressions").join(target));
    assert!(!corpus.is_empty(), "{target} has no corpus");
    println!(
        "{target}: {} inputs, {} regressions",
        corpus.len(),
        regressions.len()
    );
    let all = regressions.into_iter().chain(corpus);
    let failed: Vec<PathBuf> = all
        .filter(|file| {
            let input = fs::read(file).expect("an input can be read");
            catch_unwind(AssertUnwindSafe(|| check(&input))).is_err()
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{target} fails for {failed:#?}; to debug: cargo fuzz run -s none {target} FILE"
    );
}

/// fault: X3
#[test]
fn target_has_a_check_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|&name| name.to_owned()).collect();
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the fuzz crate");
    let programs = manifest.split("[[bin]]").skip(1).map(|program| {
        let name = program.split('"').nth(1).expect("a name");
        assert!(
            program.contains(&format!("\"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        name.to_owned()
    });
    assert_eq!(programs.collect::<BTreeSet<_>>(), targets);
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(fuzz().join(folder)).expect("a folder of the fuzz crate");
        let names = files.map(|file| file.expect("an entry").path());
        names
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    assert!(names("regressions").is_subset(&targets));
    let checks: String = files(&fuzz().join("checks"))
        .iter()
        .map(|file| fs::read_to_string(file).expect("a check"))
        .collect();
    for target in targets {
        assert!(checks.contains(&format!("\npub fn {target}(")), "{target}");
    }
}

#[test]
fn corpus_is_small() {
    let all: Vec<PathBuf> = TARGETS
        .iter()
        .flat_map(|target| files(&fuzz().join("corpus").join(target)))
        .collect();
    assert!(all.len() <= MAX_FILES, "{} files", all.len());
    for file in all {
        let size = fs::metadata(&file).expect("a file").len();
        assert!(size <= MAX_FILE_SIZE, "{}: {size} bytes", file.display());
    }
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a folder in alphabetical order; none if the folder does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|file| file.expect("an entry").path())
        .collect();
    files.sort();
    files
}
