//! JSON lines on stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs the program's own lines from `level` on. Libraries log at most warnings at any level, because their debug
/// output may contain secrets.
pub fn start(level: LevelFilter) {
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("quorum_operator", level)
        .with_target("quorum_guard", level);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(ours).with(lines).init();
}
