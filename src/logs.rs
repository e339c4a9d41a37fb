//! The operator's log, as JSON lines.

use anyhow::Context as _;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt as _};

/// Subscriber that writes the events that `filter` admits as JSON lines.
///
/// # Errors
/// If the filter is malformed.
pub fn lines<W>(filter: &str, to: W) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?}: write it as info or quorum_operator=debug,info"))?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(to);
    // a separate filter, so that no directive of `filter` can override it
    Ok(tracing_subscriber::registry().with(filter).with(filter_fn(quotes_no_answer)).with(lines))
}

/// Drops events with whole answers: the client library logs an answer that does not decode, which may be a Secret.
fn quotes_no_answer(event: &Metadata<'_>) -> bool {
    *event.level() == Level::ERROR || !event.target().starts_with("kube_client::client")
}
