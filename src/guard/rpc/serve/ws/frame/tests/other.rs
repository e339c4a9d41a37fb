//! Tests against another implementation as the client.

use std::io::{Cursor, Read, Write};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::*;

type Client = WebSocketStream<DuplexStream>;

/// A client of the other implementation and frames under test, with a buffer of this many bytes between them.
async fn both(between: usize) -> (Client, Frames<DuplexStream>) {
    let (theirs, ours) = duplex(between);
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    (
        WebSocketStream::from_raw_socket(theirs, Role::Client, Some(config)).await,
        Frames::new(ours, Bytes::new(), 1 << 20),
    )
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at * 31 % 26) as u8).collect()
}

/// Echoes messages in fragments of this size, and answers pings, until the client closes.
async fn echo(mut frames: Frames<DuplexStream>, fragment: usize) -> Frames<DuplexStream> {
    let mut message = Vec::new();
    loop {
        match frames.progress(true).await.unwrap() {
            Progress::Written => {}
            Progress::Read(Some(Event::Piece(piece))) => message.extend_from_slice(&piece),
            Progress::Read(Some(Event::Ping(payload))) => frames.pong(payload),
            Progress::Read(Some(Event::Pong)) => {}
            Progress::Read(Some(Event::End)) => {
                let mut message = Bytes::from(std::mem::take(&mut message));
                let mut is_first = true;
                while message.len() > fragment {
                    frames.fragment(message.split_to(fragment), is_first, false);
                    is_first = false;
                }
                frames.fragment(message, is_first, true);
            }
            Progress::Read(Some(Event::Close(close))) => {
                let (code, reason) = close.unwrap_or((1005, String::new()));
                frames.close(code, &reason);
                frames.leave().await.unwrap();
                return frames;
            }
            Progress::Read(None) => return frames,
        }
    }
}

#[tokio::test]
async fn messages_of_every_size_go_there_and_back() {
    for fragment in [5000, 65_535, 65_536, usize::MAX] {
        let (client, frames) = both(50_000).await;
        let serves = tokio::spawn(echo(frames, fragment));
        let (mut writes, mut reads) = client.split();
        let lengths = [0, 1, 124, 125, 126, 127, 4096, 16_384, 65_535, 65_536, 65_537, 300_000, 1 << 20];
        let sends = tokio::spawn(async move {
            for length in lengths {
                let text = String::from_utf8(payload(length)).unwrap();
                writes.send(Message::text(text)).await.unwrap();
                writes.send(Message::Ping(payload(length % 126).into())).await.unwrap();
                writes.send(Message::binary(payload(length))).await.unwrap();
            }
            writes
        });
        for length in lengths {
            for _ in 0..2 {
                let text = loop {
                    match reads.next().await.unwrap().unwrap() {
                        Message::Text(text) => break text,
                        Message::Pong(_) => {}
                        other => panic!("{other:?}"),
                    }
                };
                assert!(text.as_bytes() == payload(length), "{length} in {fragment}");
            }
        }
        let mut client = sends.await.unwrap().reunite(reads).unwrap();
        let close = CloseFrame { code: 4001.into(), reason: "enough".into() };
        client.close(Some(close.clone())).await.unwrap();
        let closed = loop {
            match client.next().await.unwrap().unwrap() {
                Message::Pong(_) => {}
                other => break other,
            }
        };
        assert_eq!(closed, Message::Close(Some(close)));
        assert!(client.next().await.is_none());
        drop(client);
        serves.await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_is_closed_sees_why_though_it_was_sending() {
    let (mut client, mut frames) = both(1000).await;
    frames.set_most(100);
    let leaves = tokio::spawn(async move {
        let Err(Fault::Breach(breach)) = frames.next().await else { panic!("taken") };
        frames.close(breach.code, breach.reason);
        frames.leave().await.unwrap();
    });
    client.send(Message::text("x".repeat(20_000))).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else { panic!("not closed") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1009, "the message is too large"));
    drop(client);
    leaves.await.unwrap();
}

#[tokio::test]
async fn a_caller_that_closes_or_is_closed_in_good_order_is_left_at_once() {
    let (mut client, mut frames) = both(1000).await;
    frames.text("last".into());
    frames.written().await.unwrap();
    frames.close(1001, "the guard ends");
    let leaves = tokio::spawn(async move { frames.leave().await.unwrap() });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("last"));
    let close = CloseFrame { code: 1001.into(), reason: "the guard ends".into() };
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(close)));
    assert!(client.next().await.is_none());
    drop(client);
    leaves.await.unwrap();
}

#[tokio::test]
async fn who_does_not_stop_sending_is_not_read_for_ever() {
    let (mut client, mut frames) = both(1 << 16).await;
    let sends = tokio::spawn(async move {
        let mut sent = 0;
        while client.send(Message::binary(payload(10_000))).await.is_ok() {
            sent += 10_000;
        }
        sent
    });
    frames.close(1008, "enough");
    frames.leave().await.unwrap();
    drop(frames);
    let sent = tokio::time::timeout(Duration::from_secs(5), sends).await.unwrap().unwrap();
    assert!((LEAVING..2 * LEAVING).contains(&sent), "{sent}");
}

/// Fragments of a message, with pings before some of them.
fn fragments() -> impl Strategy<Value = (Vec<(usize, bool)>, bool)> {
    let length = prop_oneof![0..300_usize, Just(125), Just(126), Just(65_535), Just(65_536), 0..20_000_usize];
    (prop::collection::vec((length, any::<bool>()), 1..6), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn messages_in_any_fragments_go_there_and_back(
        messages in prop::collection::vec(fragments(), 1..4),
        between in 1..100_000_usize,
        fragment in 1..100_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (client, frames) = both(between.max(50)).await;
            let fragment = fragment.max(500);
            let serves = tokio::spawn(echo(frames, fragment));
            let (mut writes, mut reads) = client.split();
            let (mut expected, mut sent) = (Vec::new(), Vec::new());
            for (fragments, is_text) in messages {
                let (count, mut message) = (fragments.len(), Vec::new());
                for (at, (length, is_pinged)) in fragments.into_iter().enumerate() {
                    if is_pinged {
                        sent.push(Message::Ping(payload(length % 126).into()));
                    }
                    let data = if is_text { Data::Text } else { Data::Binary };
                    let data = OpCode::Data(if at == 0 { data } else { Data::Continue });
                    sent.push(Message::Frame(Frame::message(payload(length), data, at + 1 == count)));
                    message.extend(payload(length));
                }
                expected.push(message);
            }
            let sends = tokio::spawn(async move {
                for frame in sent {
                    writes.send(frame).await.unwrap();
                }
                writes
            });
            for expected in expected {
                let text = loop {
                    match reads.next().await.unwrap().unwrap() {
                        Message::Text(text) => break text,
                        Message::Pong(_) => {}
                        other => panic!("{other:?}"),
                    }
                };
                assert!(text.as_bytes() == expected);
            }
            drop(sends.await.unwrap().reunite(reads).unwrap());
            serves.await.unwrap();
        });
    }
}

/// A stream with given input that discards its output.
struct Given(Cursor<Vec<u8>>);

impl Read for Given {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Given {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the other implementation, as the server, reads from the bytes, and how it ends.
fn theirs(bytes: &[u8]) -> (Vec<Message>, Error) {
    let config = WebSocketConfig::default().max_message_size(Some(1 << 20)).max_frame_size(Some(1 << 20));
    let given = Given(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(given, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(error) => return (messages, error),
        }
    }
}

/// What this implementation reads from them, and the breach, if there is one.
fn ours(bytes: &[u8]) -> (Vec<Message>, Option<Breach>) {
    let mut frames = Frames::new(Stream::new(bytes, usize::MAX, false), Bytes::new(), 1 << 20);
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    loop {
        let Poll::Ready(next) = once(frames.next()) else { panic!("it waits") };
        messages.push(match next {
            Ok(Some(Event::Piece(piece))) => {
                message.extend_from_slice(&piece);
                continue;
            }
            Ok(Some(Event::End)) => Message::binary(std::mem::take(&mut message)),
            Ok(Some(Event::Ping(payload))) => Message::Ping(payload),
            Ok(Some(Event::Pong)) => Message::Pong(Bytes::new()),
            Ok(Some(Event::Close(close))) => Message::Close(
                close.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() }),
            ),
            Ok(None) | Err(Fault::Stream(_)) => return (messages, None),
            Err(Fault::Breach(breach)) => return (messages, Some(breach)),
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_implementations_read_the_same_and_this_one_is_the_stricter(bytes in super::read::hostile()) {
        let ((theirs, error), (ours, breach)) = (theirs(&bytes), ours(&bytes));
        let theirs: Vec<Message> = theirs
            .into_iter()
            .map(|message| match message {
                Message::Text(text) => Message::Binary(text.into()),
                Message::Pong(_) => Message::Pong(Bytes::new()),
                message => message,
            })
            .collect();
        // this implementation detects text that is not UTF-8 later
        let is_text = matches!(error, Error::Utf8(_));
        // the other implementation does not check for the shortest length, the length of control frames and close codes
        let is_stricter = breach.is_some_and(|breach| {
            ["shortest", "125", "close"].iter().any(|lax| breach.reason.contains(lax))
        });
        let both = theirs.len().min(ours.len());
        prop_assert_eq!(&theirs[..both], &ours[..both], "{:?}, {:?}", error, breach);
        prop_assert!(theirs.len() == both || is_stricter, "{:?} but {:?}", error, breach);
        prop_assert!(ours.len() == both || is_text, "{:?} but {:?}", error, breach);
    }
}
