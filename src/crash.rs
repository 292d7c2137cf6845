//! Named points at which a test may let the process crash, as a power cut would: nothing is cleaned up.
//!
//! `TAILWATER_CRASH_AT=after_offsets_before_commit:3` aborts the process when it comes to that point for the third
//! time. Without the variable a point costs a look at a static.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

/// The points there are.
pub const POINTS: [&str; 9] = [
    "before_produce",
    "after_produce_before_offsets",
    "after_offsets_before_commit",
    "after_commit",
    "mid_snapshot",
    "snapshot_file_before_rename",
    "after_init_before_state",
    "mid_restore",
    "after_restore",
];

/// The point to crash at, and how often it is to be passed before.
static CRASH_AT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
    let text = std::env::var("TAILWATER_CRASH_AT").ok()?;
    let (point, count) = text.split_once(':').unwrap_or((&text, "1"));
    let count = count.parse::<u64>().ok().filter(|count| *count > 0)?;
    POINTS.contains(&point).then(|| (point.to_owned(), AtomicU64::new(count)))
});

/// Crashes if this is the point, and the time, to do so.
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "an unknown point: {name}");
    if let Some((point, left)) = &*CRASH_AT
        && point == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}
