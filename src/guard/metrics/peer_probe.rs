//! Watches the client's peer connections: reads the peer list and the kernel's connection tables, and dials peers
//! without a connection.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::peer_connections::{Pair, Peers, established};
use crate::protocol::peer_connections::{Connections, ShortId, Trial};

/// Time for one trial.
const TIMEOUT: Duration = Duration::from_secs(3);

/// No ConfigMap is larger than this. A connection table is read up to this size.
const LIST_BYTES: u64 = 1 << 20;
const TABLE_BYTES: u64 = 4 << 20;

/// Connection tables of the pod's network namespace. Without IPv6 the second one does not exist.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Watches the peers of one client.
#[derive(Debug)]
pub struct Meeting {
    /// The client's `static-nodes.json`.
    list: PathBuf,
    began: Instant,
    peers: Mutex<Peers>,
}

impl Meeting {
    /// Creates the watch for a client with this list that listens at this port.
    pub fn of(list: PathBuf, port: u16) -> Meeting {
        Meeting { list, began: Instant::now(), peers: Mutex::new(Peers::of(port)) }
    }

    /// Returns the latest state of the connections.
    pub fn told(&self) -> Option<Connections> {
        self.peers().told(self.began.elapsed())
    }

    /// Checks the connections periodically. Never returns.
    pub async fn watch(&self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_failure = None;
        loop {
            ticks.tick().await;
            let failure = self.look().await.err().map(|why| why.to_string());
            match &failure {
                Some(why) if failure != last_failure => {
                    warn!(%why, "the client's peer connections cannot be checked")
                }
                None if last_failure.is_some() => info!("the client's peer connections are checked again"),
                _ => {}
            }
            last_failure = failure;
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        let seen = async { anyhow::Ok((listed(&self.list).await?, connections().await?)) }.await;
        let now = self.began.elapsed();
        let due = {
            let mut peers = self.peers();
            let (listed, connections) = seen.inspect_err(|_| peers.is_blind())?;
            peers.list(&listed);
            peers.look(connections, now);
            peers.due(now)
        };
        let mut trials: JoinSet<_> =
            due.into_iter().map(|(id, address)| async move { (id, attempt(address).await) }).collect();
        while let Some(ended) = trials.join_next().await {
            let Ok((id, trial)): Result<(ShortId, Trial), _> = ended else { continue };
            self.peers().tried(id, trial, now);
        }
        Ok(())
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listed(list: &Path) -> anyhow::Result<Vec<String>> {
    let text = read(list, LIST_BYTES).await.map_err(|error| anyhow::anyhow!("--peers: {}", error.kind()))?;
    serde_json::from_slice(&text).map_err(|_| anyhow::anyhow!("--peers: not a JSON array of enode URLs"))
}

async fn connections() -> anyhow::Result<Vec<Pair>> {
    let mut all = Vec::new();
    for (at, table) in TABLES.iter().enumerate() {
        match read(Path::new(table), TABLE_BYTES).await {
            Ok(text) => all.extend(established(&String::from_utf8_lossy(&text))),
            Err(error) if at == 0 => return Err(anyhow::anyhow!("{table}: {}", error.kind())),
            Err(_) => {}
        }
    }
    Ok(all)
}

async fn read(file: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    tokio::fs::File::open(file).await?.take(most).read_to_end(&mut content).await?;
    Ok(content)
}

/// Connects, sends nothing and closes the connection.
async fn attempt(address: SocketAddr) -> Trial {
    match timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Trial::Reached,
        Ok(Err(error)) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset => Trial::Refused,
            std::io::ErrorKind::TimedOut => Trial::TimedOut,
            _ => Trial::NoRoute,
        },
        Err(_) => Trial::TimedOut,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn url(key: char, address: SocketAddr) -> String {
        format!("enode://{}@{address}?discport=0", key.to_string().repeat(128))
    }

    /// A listener whose queue is full: it neither accepts nor refuses further connections.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (listener, held, address)
    }

    async fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn what_listens_is_reached_what_does_not_refuses_and_a_black_hole_ends_by_its_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(attempt(listener.local_addr().unwrap()).await, Trial::Reached);
        assert_eq!(attempt(closed().await).await, Trial::Refused);
        let (_listener, _held, hole) = black_hole().await;
        let began = Instant::now();
        assert_eq!(attempt(hole).await, Trial::TimedOut);
        assert!((TIMEOUT..TIMEOUT * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_kernel_shows_whom_the_client_has_called_and_who_has_called_it() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("static-nodes.json");
        // the client has called one peer, another has called it, and the third is absent
        let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpListener::bind("[::1]:0").await.unwrap();
        let called = peer.local_addr().unwrap();
        let port = client.local_addr().unwrap().port();
        let gone = closed().await;
        let urls = [url('a', called), url('b', "192.0.2.7:30303".parse().unwrap()), url('c', gone)];
        std::fs::write(&list, serde_json::to_string(&urls).unwrap()).unwrap();
        let outbound = TcpStream::connect(called).await.unwrap();
        let inbound = TcpStream::connect(client.local_addr().unwrap()).await.unwrap();
        let meeting = Meeting::of(list.clone(), port);
        assert_eq!(meeting.told(), None);
        meeting.look().await.unwrap();
        assert_eq!(meeting.told().unwrap().missing, 3, "no connection is old enough");
        // as if the watch had begun ten seconds earlier
        let later = Meeting { began: meeting.began - Duration::from_secs(10), ..meeting };
        later.look().await.unwrap();
        let told = later.told().unwrap();
        assert_eq!((told.listed, told.missing), (3, 1), "{told:?}");
        let suspects: Vec<_> = told.suspects.iter().map(|suspect| suspect.id.to_string()).collect();
        assert_eq!(suspects, ["b".repeat(16), "c".repeat(16)]);
        drop((outbound, inbound));
        // connections that cannot be read are not reported
        std::fs::write(&list, "{}").unwrap();
        assert!(later.look().await.is_err());
        assert_eq!(later.told(), None);
        std::fs::remove_file(&list).unwrap();
        assert_eq!(later.look().await.unwrap_err().to_string(), "--peers: entity not found");
    }

    #[tokio::test]
    async fn who_is_missing_is_tried_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("static-nodes.json");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = [url('a', listener.local_addr().unwrap()), url('b', closed().await)];
        std::fs::write(&list, serde_json::to_string(&urls).unwrap()).unwrap();
        let meeting = Meeting::of(list, 1);
        meeting.look().await.unwrap();
        assert_eq!(meeting.told().unwrap().suspects[0].trial, Trial::Untried);
        let later = Meeting { began: meeting.began - Duration::from_secs(30), ..meeting };
        later.look().await.unwrap();
        let trials: Vec<_> = later.told().unwrap().suspects.iter().map(|suspect| suspect.trial).collect();
        assert_eq!(trials, [Trial::Refused, Trial::Reached]);
        timeout(TIMEOUT, listener.accept()).await.expect("it was dialled").unwrap();
    }
}
