//! Recorded answers of the real client. They keep its stand-in correct where the client is not built.

use super::standin::answers::{Answer, Call, read, reply};
use super::standin::wire::{Dialect, answer, fragments};

fn said(body: &str) -> String {
    let mut run = |call: &Call<'_>| match call.method.as_str() {
        "eth_chainId" => Answer::Result("\"0x539\"".into()),
        method => Answer::unknown(method),
    };
    String::from_utf8(reply(&read(body.as_bytes()), &mut run).unwrap_or_default()).unwrap()
}

#[test]
fn a_batch_is_answered_in_the_order_of_its_calls() {
    let said = said(
        r#" [{"id" : 2,"method":"eth_nope"}, {"method":"eth_chainId"},1, {"id":"1" ,"method":"eth_chainId"}] "#,
    );
    // as go-ethereum 1.10.3 answers
    let wanted = concat!(
        r#"[{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"the method eth_nope does not exist/is not available"}},"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request"}},"#,
        r#"{"jsonrpc":"2.0","id":"1","result":"0x539"}]"#,
        "\n"
    );
    assert_eq!(said, wanted);
}

#[test]
fn ids_are_given_back_as_they_were_written_but_for_what_is_special_to_html() {
    for (id, wanted) in [
        ("1.50e+3", "1.50e+3"),
        ("null", "null"),
        (r#""\u003c\/é""#, r#""\u003c\/é""#),
        (r#""<a>&""#, r#""\u003ca\u003e\u0026""#),
    ] {
        let wanted = format!("{{\"jsonrpc\":\"2.0\",\"id\":{wanted},\"result\":\"0x539\"}}\n");
        assert_eq!(said(&format!(r#"{{"id":{id},"method":"eth_chainId"}}"#)), wanted);
    }
}

#[test]
fn notifications_and_answers_have_no_answer() {
    for body in [r#"{"method":"eth_chainId"}"#, r#"[{"method":"eth_nope"}]"#, r#"{"id":9,"result":1}"#, ""] {
        assert_eq!(said(body), "", "{body}");
    }
}

#[test]
fn answers_of_more_than_2048_bytes_are_one_chunk() {
    let sent = |bytes| String::from_utf8(answer(Dialect::default(), &vec![b'x'; bytes])).unwrap();
    assert!(sent(2048).contains("\r\nContent-Length: 2048\r\n\r\nxx"));
    let chunked = sent(2049);
    assert!(chunked.contains("\r\nTransfer-Encoding: chunked\r\n\r\n801\r\nxx"));
    assert!(chunked.ends_with("xx\r\n0\r\n\r\n"));
}

#[test]
fn messages_of_more_than_1024_bytes_are_fragments() {
    for (bytes, wanted) in
        [(42, vec![42]), (1024, vec![1024]), (2076, vec![1024, 1024, 28]), (2077, vec![2077, 0])]
    {
        let text = vec![b'x'; bytes];
        let lengths: Vec<_> = fragments(&text).iter().map(|fragment| fragment.len()).collect();
        assert_eq!(lengths, wanted);
    }
}
