//! Tests of the debounce of status updates that change only messages.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{World, client, object};

/// Time until the status reports this trouble of the client's pod.
async fn told_after(world: &World, trouble: &str) -> Duration {
    world.server.edit(&object("v1", "pods", "alice-client-0"), "kubelet", |pod| {
        pod["status"]["containerStatuses"] = json!([{"name": "client", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "lastState": {}, "state": {"waiting": {"reason": trouble}}}]);
    });
    let began = Instant::now();
    let told =
        || world.condition("alice", "ClientAvailable").is_some_and(|(.., said)| said.contains(trouble));
    while !told() {
        assert!(began.elapsed() < Duration::from_secs(20), "{trouble}: {:#?}", world.recent());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    began.elapsed()
}

/// An earlier message does not make the next one due at once.
#[tokio::test(start_paused = true)]
async fn words_wait_anew_after_each_status_that_was_written() {
    let mut world = World::new();
    world.server.start_slowly(true);
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    for trouble in ["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"] {
        let took = told_after(&world, trouble).await;
        assert!((2..4).contains(&took.as_secs()), "{trouble} was told after {took:?}");
        // longer than the debounce: the next message must not count as overdue
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
}
